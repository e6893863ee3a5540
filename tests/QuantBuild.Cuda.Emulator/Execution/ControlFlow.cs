using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace QuantBuild.Cuda.Emulator;

/// <summary>Branches, predicates and barriers.</summary>
internal static unsafe class ControlFlow
{
    public static uint Predicate(Warp w, int slot) => *(uint*)(w.Registers + slot);

    public static void SetPredicate(Warp w, int slot, uint lanes)
    {
        if (slot < 0) return;
        uint* predicate = (uint*)(w.Registers + slot);
        *predicate = (*predicate & ~w.Active) | (lanes & w.Active);
    }

    /// <summary><c>griddepcontrol.wait</c>. Launches follow one another here, so there is nothing to wait for; what is checked is that a program does.</summary>
    public static void WaitForPrevious(Warp w, Instruction i) => w.IsAhead = false;

    public static void Jump(Warp w, Instruction i) => w.Pc = i.Target;

    /// <summary><see cref="Instruction.A"/> is the predicate; the immediate is all ones where it is negated.</summary>
    public static void Branch(Warp w, Instruction i)
    {
        uint taken = (Predicate(w, i.A) ^ (uint)i.Immediate) & w.Active;
        if (taken == 0) return;
        if (taken == w.Active) w.Pc = i.Target;
        else w.Diverge(taken, i.Target);
    }

    /// <summary><c>brx.idx</c>: a target for each lane.</summary>
    public static void BranchIndexed(Warp w, Instruction i)
    {
        uint* index = (uint*)(w.Registers + i.A);
        uint left = w.Active;
        while (true)
        {
            int lane = System.Numerics.BitOperations.TrailingZeroCount(left);
            if (index[lane] >= i.Slots.Length) throw w.Fault(CuResult.LaunchFailed, $"index {index[lane]} is beyond {i.Slots.Length} targets", lane);
            uint same = 0;
            for (int l = lane; l < Lanes.Count; l++)
            {
                if (((left >> l) & 1) != 0 && index[l] == index[lane]) same |= 1u << l;
            }
            if (same == left)
            {
                w.Pc = i.Slots[index[lane]];
                return;
            }
            w.Diverge(same, i.Slots[index[lane]]);
            left &= ~same;
        }
    }

    public static void Exit(Warp w, Instruction i)
    {
        AsyncCopies.Finish(w, 0);
        w.Exit();
    }

    public static void Trap(Warp w, Instruction i) => throw w.Fault(CuResult.LaunchFailed, "a trap");

    public static void Nothing(Warp w, Instruction i) { }

    /// <summary>Slots: the barrier and the count of threads, registers; the count is negative for all.</summary>
    public static void Barrier(Warp w, Instruction i) => Arrive(w, i, true);

    public static void BarrierArrive(Warp w, Instruction i) => Arrive(w, i, false);

    private static void Arrive(Warp w, Instruction i, bool wait)
    {
        int lane = System.Numerics.BitOperations.TrailingZeroCount(w.Active);
        uint barrier = ((uint*)(w.Registers + i.A))[lane], count = i.B < 0 ? 0 : ((uint*)(w.Registers + i.B))[lane];
        if (barrier >= Block.Barriers) throw w.Fault(CuResult.LaunchFailed, $"barrier {barrier} does not exist", lane);
        w.Block.Arrive(w, (int)barrier, (int)count, wait);
    }

    public static void BarrierReduce(Warp w, Instruction i)
    {
        int barrier = ((int*)(w.Registers + i.A))[System.Numerics.BitOperations.TrailingZeroCount(w.Active)];
        if ((uint)barrier < Block.Barriers) w.Block.Contribute(barrier, Predicate(w, i.C) & w.Active, w.Active);
        Arrive(w, i, true);
    }

    /// <summary>Immediate: the number of threads whose predicate held, whether all did, whether one did.</summary>
    public static void TakeReduction(Warp w, Instruction i)
    {
        (int held, int threads) = w.Block.Reduced(((int*)(w.Registers + i.A))[System.Numerics.BitOperations.TrailingZeroCount(w.Active)]);
        if (i.Immediate != 0)
        {
            SetPredicate(w, i.D, (i.Immediate == 1 ? held == threads : held > 0) ? uint.MaxValue : 0);
            return;
        }
        for (uint left = w.Active; left != 0; left &= left - 1) ((int*)(w.Registers + i.D))[System.Numerics.BitOperations.TrailingZeroCount(left)] = held;
    }

    public static void WarpBarrier(Warp w, Instruction i)
    {
        uint members = ((uint*)(w.Registers + i.A))[System.Numerics.BitOperations.TrailingZeroCount(w.Active)];
        WarpOperations.Members(w, members);
    }

    /// <summary><c>setp</c>: D, and E in Slots[0], from the comparison and, where C is no register, nothing else; else by <c>.and</c>, <c>.or</c>, <c>.xor</c> (Immediate 0, 1, 2).</summary>
    public static void SetPredicate(Warp w, Instruction i)
    {
        uint lanes = i.Compare(w.Registers + i.A, w.Registers + i.B);
        if (i.Slots.Length == 0)
        {
            uint* predicate = (uint*)(w.Registers + i.D);
            *predicate = (*predicate & ~w.Active) | (lanes & w.Active);
            return;
        }
        uint other = i.C < 0 ? 0 : Predicate(w, i.C);
        uint Join(uint x) => i.C < 0 ? x : i.Immediate switch { 0 => x & other, 1 => x | other, _ => x ^ other };
        (uint d, uint e) = (Join(lanes), Join(~lanes));
        SetPredicate(w, i.D, d);
        SetPredicate(w, i.Slots[0], e);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Select32(Warp w, Instruction i)
    {
        uint lanes = Predicate(w, i.C);
        uint* a = (uint*)(w.Registers + i.A), b = (uint*)(w.Registers + i.B), d = (uint*)(w.Registers + i.D);
        uint* mask = w.Active == uint.MaxValue ? null : w.Masks<uint>();
        for (int k = 0; k < Lanes.Count; k += 16)
        {
            Vector512<uint> bit = Bit16();
            Vector512<uint> chosen = Vector512.Equals(Vector512.Create(lanes >> k) & bit, bit);
            Vector512<uint> value = Vector512.ConditionalSelect(chosen, Vector512.Load(a + k), Vector512.Load(b + k));
            if (mask != null) value = Vector512.ConditionalSelect(Vector512.Load(mask + k), value, Vector512.Load(d + k));
            value.Store(d + k);
        }
    }

    private static Vector512<uint> Bit16() => Vector512.Create(1u, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768);

    public static void Select64(Warp w, Instruction i)
    {
        uint lanes = Predicate(w, i.C);
        ulong* a = (ulong*)(w.Registers + i.A), b = (ulong*)(w.Registers + i.B), d = (ulong*)(w.Registers + i.D);
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (((w.Active >> lane) & 1) != 0) d[lane] = ((lanes >> lane) & 1) != 0 ? a[lane] : b[lane];
        }
    }

    // Predicates among themselves.

    public static void PredicateMove(Warp w, Instruction i) => SetPredicate(w, i.D, Predicate(w, i.A));

    public static void PredicateNot(Warp w, Instruction i) => SetPredicate(w, i.D, ~Predicate(w, i.A));

    public static void PredicateAnd(Warp w, Instruction i) => SetPredicate(w, i.D, Predicate(w, i.A) & Predicate(w, i.B));

    public static void PredicateOr(Warp w, Instruction i) => SetPredicate(w, i.D, Predicate(w, i.A) | Predicate(w, i.B));

    public static void PredicateXor(Warp w, Instruction i) => SetPredicate(w, i.D, Predicate(w, i.A) ^ Predicate(w, i.B));

    /// <summary><c>%clock</c>, <c>%clock64</c> and <c>%globaltimer</c>, in D of the width in Bytes.</summary>
    public static void Clock(Warp w, Instruction i)
    {
        long ticks = Stopwatch.GetTimestamp();
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (((w.Active >> lane) & 1) == 0) continue;
            if (i.Bytes == 8) Lanes.Write(w.Registers + i.D, lane, ticks);
            else Lanes.Write(w.Registers + i.D, lane, (uint)ticks);
        }
    }

    // Packing: Slots are the parts, the low one first, each of Bytes.

    public static void Pack(Warp w, Instruction i)
    {
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (((w.Active >> lane) & 1) == 0) continue;
            ulong value = 0;
            for (int part = 0; part < i.Slots.Length; part++)
            {
                ulong bits = ((uint*)(w.Registers + i.Slots[part]))[lane];
                value |= (i.Bytes == 4 ? bits : bits & ((1ul << (8 * i.Bytes)) - 1)) << (8 * i.Bytes * part);
            }
            if (i.Bytes * i.Slots.Length == 8) ((ulong*)(w.Registers + i.D))[lane] = value;
            else ((uint*)(w.Registers + i.D))[lane] = (uint)value;
        }
    }

    public static void Unpack(Warp w, Instruction i)
    {
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (((w.Active >> lane) & 1) == 0) continue;
            ulong value = i.Bytes * i.Slots.Length == 8 ? ((ulong*)(w.Registers + i.A))[lane] : ((uint*)(w.Registers + i.A))[lane];
            for (int part = 0; part < i.Slots.Length; part++)
            {
                if (i.Slots[part] < 0) continue;
                ulong bits = value >> (8 * i.Bytes * part);
                ((uint*)(w.Registers + i.Slots[part]))[lane] = i.Bytes == 4 ? (uint)bits : (uint)bits & ((1u << (8 * i.Bytes)) - 1);
            }
        }
    }

    /// <summary>A three-input logic function; Immediate is its table.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Logic3(Warp w, Instruction i)
    {
        uint* a = (uint*)(w.Registers + i.A), b = (uint*)(w.Registers + i.B), c = (uint*)(w.Registers + i.C), d = (uint*)(w.Registers + i.D);
        uint* mask = w.Masks<uint>();
        for (int k = 0; k < Lanes.Count; k += 16)
        {
            Vector512<uint> x = Vector512.Load(a + k), y = Vector512.Load(b + k), z = Vector512.Load(c + k), value = Vector512<uint>.Zero;
            for (int row = 0; row < 8; row++)
            {
                if (((i.Immediate >> row) & 1) == 0) continue;
                value |= ((row & 4) != 0 ? x : ~x) & ((row & 2) != 0 ? y : ~y) & ((row & 1) != 0 ? z : ~z);
            }
            Vector512.ConditionalSelect(Vector512.Load(mask + k), value, Vector512.Load(d + k)).Store(d + k);
        }
    }

    /// <summary>Any conversion, one lane at a time; Bytes is the source's width and Target the result's.</summary>
    public static void Convert(Warp w, Instruction i)
    {
        Conversion conversion = i.Conversion!;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (((w.Active >> lane) & 1) == 0) continue;
            ulong bits = i.Bytes == 8 ? ((ulong*)(w.Registers + i.A))[lane] : ((uint*)(w.Registers + i.A))[lane];
            ulong value = conversion.Apply(bits);
            if (i.Target == 8) ((ulong*)(w.Registers + i.D))[lane] = value;
            else ((uint*)(w.Registers + i.D))[lane] = (uint)value;
        }
    }

    /// <summary>Two float32 to a pair of 16-bit floats: A to the upper half, B to the lower.</summary>
    public static void ConvertPair(Warp w, Instruction i)
    {
        Conversion conversion = i.Conversion!;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (((w.Active >> lane) & 1) == 0) continue;
            uint high = (uint)conversion.Apply(((uint*)(w.Registers + i.A))[lane]), low = (uint)conversion.Apply(((uint*)(w.Registers + i.B))[lane]);
            ((uint*)(w.Registers + i.D))[lane] = (high << 16) | (low & 0xFFFF);
        }
    }

    /// <summary><c>bfi</c>: a's low bits into b.</summary>
    public static void InsertBits(Warp w, Instruction i)
    {
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (((w.Active >> lane) & 1) == 0) continue;
            int at = (int)(((uint*)(w.Registers + i.C))[lane] & 0xFF), count = (int)(((uint*)(w.Registers + i.Slots[0]))[lane] & 0xFF), width = i.Bytes * 8;
            ulong a = i.Bytes == 8 ? ((ulong*)(w.Registers + i.A))[lane] : ((uint*)(w.Registers + i.A))[lane];
            ulong b = i.Bytes == 8 ? ((ulong*)(w.Registers + i.B))[lane] : ((uint*)(w.Registers + i.B))[lane];
            ulong field = at >= width || count == 0 ? 0 : (count >= 64 ? ulong.MaxValue : (1ul << count) - 1) << at;
            ulong value = at >= width ? b : (b & ~field) | ((a << at) & field);
            if (i.Bytes == 8) ((ulong*)(w.Registers + i.D))[lane] = value;
            else ((uint*)(w.Registers + i.D))[lane] = (uint)value;
        }
    }

    /// <summary><c>testp</c> of a float32 (Bytes 4) or a float64; Immediate numbers the property.</summary>
    public static void TestProperty(Warp w, Instruction i)
    {
        uint lanes = 0;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            double x = i.Bytes == 8 ? ((double*)(w.Registers + i.A))[lane] : ((float*)(w.Registers + i.A))[lane];
            bool subnormal = i.Bytes == 8 ? double.IsSubnormal(x) : float.IsSubnormal((float)x);
            bool holds = i.Immediate switch
            {
                0 => double.IsFinite(x),
                1 => double.IsInfinity(x),
                2 => !double.IsNaN(x),
                3 => double.IsNaN(x),
                4 => double.IsFinite(x) && !subnormal && x != 0,
                _ => subnormal,
            };
            if (holds) lanes |= 1u << lane;
        }
        SetPredicate(w, i.D, lanes);
    }
}
