using System.Numerics;
using System.Runtime.CompilerServices;

namespace QuantBuild.Cuda.Emulator;

/// <summary>Instructions by which the lanes of a warp see each other's registers. The slot of the member mask is the last of <see cref="Instruction.Slots"/>.</summary>
internal static unsafe class WarpOperations
{
    /// <summary>Whether the named lanes are all here; a lane that runs without being named is a mistake.</summary>
    public static bool Members(Warp w, uint members)
    {
        if ((w.Active & ~members) != 0) throw w.Fault(CuResult.LaunchFailed, $"runs in lanes 0x{w.Active:x8}, but names 0x{members:x8}", BitOperations.TrailingZeroCount(w.Active & ~members));
        return w.Gathered(members);
    }

    private static bool Members(Warp w, Instruction i)
    {
        uint* masks = (uint*)(w.Registers + i.Slots[^1]);
        uint members = 0;
        for (uint left = w.Active; left != 0; left &= left - 1) members |= masks[BitOperations.TrailingZeroCount(left)];
        return Members(w, members);
    }

    /// <summary><c>shfl.sync</c>: Immediate is the mode, up, down, bfly, idx; Slots[0] a predicate or −1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Shuffle(Warp w, Instruction i)
    {
        if (!Members(w, i)) return;
        uint* a = (uint*)(w.Registers + i.A), b = (uint*)(w.Registers + i.B), c = (uint*)(w.Registers + i.C), d = (uint*)(w.Registers + i.D);
        uint* from = stackalloc uint[Lanes.Count];
        Unsafe.CopyBlock(from, a, Lanes.Count * 4);
        uint inside = 0, active = w.Active;
        if (i.Target != 0 && active == uint.MaxValue)
        {
            // A butterfly by a constant over the whole warp, as sums and maxima are made of.
            int distance = (int)(b[0] & 31);
            for (int lane = 0; lane < Lanes.Count; lane++) d[lane] = from[lane ^ distance];
            ControlFlow.SetPredicate(w, i.Slots[0], uint.MaxValue);
            return;
        }
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (((active >> lane) & 1) == 0) continue;
            int count = (int)(b[lane] & 31), clamp = (int)(c[lane] & 31), segment = (int)((c[lane] >> 8) & 31);
            int most = (lane & segment) | (clamp & ~segment), least = lane & segment;
            (int source, bool valid) = i.Immediate switch
            {
                0 => (lane - count, lane - count >= most),
                1 => (lane + count, lane + count <= most),
                2 => (lane ^ count, (lane ^ count) <= most),
                _ => (least | (count & ~segment), (least | (count & ~segment)) <= most),
            };
            if (valid) inside |= 1u << lane;
            else source = lane;
            if (((active >> source) & 1) == 0) throw w.Fault(CuResult.LaunchFailed, $"reads lane {source}, which is not there", lane);
            d[lane] = from[source];
        }
        ControlFlow.SetPredicate(w, i.Slots[0], inside);
    }

    /// <summary><c>vote.sync</c>: Immediate is all, any, uni or ballot.</summary>
    public static void Vote(Warp w, Instruction i)
    {
        if (!Members(w, i)) return;
        uint lanes = ControlFlow.Predicate(w, i.A) & w.Active;
        switch (i.Immediate)
        {
            case 0:
                ControlFlow.SetPredicate(w, i.D, lanes == w.Active ? uint.MaxValue : 0);
                break;
            case 1:
                ControlFlow.SetPredicate(w, i.D, lanes != 0 ? uint.MaxValue : 0);
                break;
            case 2:
                ControlFlow.SetPredicate(w, i.D, lanes == w.Active || lanes == 0 ? uint.MaxValue : 0);
                break;
            default:
                Fill(w, i.D, lanes);
                break;
        }
    }

    public static void ActiveMask(Warp w, Instruction i) => Fill(w, i.D, w.Active);

    private static void Fill(Warp w, int slot, uint value)
    {
        for (uint left = w.Active; left != 0; left &= left - 1) ((uint*)(w.Registers + slot))[BitOperations.TrailingZeroCount(left)] = value;
    }

    /// <summary><c>match.sync</c>: the lanes with a lane's own value (any), or all lanes where all agree (all; Immediate 1).</summary>
    public static void Match(Warp w, Instruction i)
    {
        if (!Members(w, i)) return;
        ulong Value(int lane) => i.Bytes == 8 ? ((ulong*)(w.Registers + i.A))[lane] : ((uint*)(w.Registers + i.A))[lane];
        uint* result = stackalloc uint[Lanes.Count];
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            result[lane] = 0;
            for (int other = 0; other < Lanes.Count; other++)
            {
                if (((w.Active >> other) & 1) != 0 && Value(other) == Value(lane)) result[lane] |= 1u << other;
            }
        }
        bool agree = result[BitOperations.TrailingZeroCount(w.Active)] == w.Active;
        for (uint left = w.Active; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            ((uint*)(w.Registers + i.D))[lane] = i.Immediate == 0 ? result[lane] : agree ? w.Active : 0;
        }
        ControlFlow.SetPredicate(w, i.Slots[0], agree ? uint.MaxValue : 0);
    }

    /// <summary><c>redux.sync</c>: Immediate is add, min, max, and, or, xor; unsigned, or with 8 more signed.</summary>
    public static void Reduce(Warp w, Instruction i)
    {
        if (!Members(w, i)) return;
        uint* a = (uint*)(w.Registers + i.A);
        uint value = a[BitOperations.TrailingZeroCount(w.Active)];
        for (uint left = w.Active & (w.Active - 1); left != 0; left &= left - 1)
        {
            uint next = a[BitOperations.TrailingZeroCount(left)];
            value = i.Immediate switch
            {
                0 or 8 => value + next,
                1 => Math.Min(value, next),
                2 => Math.Max(value, next),
                9 => (uint)Math.Min((int)value, (int)next),
                10 => (uint)Math.Max((int)value, (int)next),
                3 => value & next,
                4 => value | next,
                _ => value ^ next,
            };
        }
        Fill(w, i.D, value);
    }

    /// <summary>Instructions with <c>.aligned</c> that all lanes of a warp run together.</summary>
    public static bool WholeWarp(Warp w)
    {
        if (!w.Gathered(uint.MaxValue)) return false;
        if (w.Active != uint.MaxValue) throw w.Fault(CuResult.LaunchFailed, $"needs all 32 lanes, but runs in 0x{w.Active:x8}");
        return true;
    }
}
