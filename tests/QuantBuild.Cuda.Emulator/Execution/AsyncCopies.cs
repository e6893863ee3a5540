using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace QuantBuild.Cuda.Emulator;

/// <summary><c>cp.async</c>: nothing arrives in shared memory before the warp waits for it, so that a kernel that forgets to wait reads what was there before.</summary>
internal static unsafe class AsyncCopies
{
    /// <summary>Parts are the two accesses; B is the register of the source's size, or negative where all is read.</summary>
    public static void Issue(Warp w, Instruction i)
    {
        uint active = w.Active;
        Instruction to = i.Parts[0], from = i.Parts[1];
        MemoryAccess.Addresses(w, to, true);
        ulong* places = stackalloc ulong[Lanes.Count];
        Unsafe.CopyBlock(places, w.Addresses, Lanes.Count * 8);
        uint whole = active;
        if (i.B >= 0)
        {
            uint* sizes = (uint*)(w.Registers + i.B);
            whole = 0;
            for (uint left = active; left != 0; left &= left - 1)
            {
                int lane = BitOperations.TrailingZeroCount(left);
                uint size = Math.Min(sizes[lane], (uint)i.Bytes);
                if (size == i.Bytes)
                {
                    whole |= 1u << lane;
                    continue;
                }
                nint source = 0;
                if (size > 0)
                {
                    w.Active = 1u << lane;
                    MemoryAccess.PutAddresses(w, from);
                    ulong last = w.Addresses[lane] + size - 1;
                    MemoryAccess.Check(w, from, 1, false);
                    source = (nint)w.Addresses[lane];
                    w.Addresses[lane] = last;
                    MemoryAccess.Check(w, from, 1, false);
                }
                w.Copies.Enqueue(new((nint)places[lane], source, i.Bytes, (int)size));
            }
        }
        if (whole != 0)
        {
            w.Active = whole;
            MemoryAccess.Addresses(w, from, false);
            for (uint left = whole; left != 0; left &= left - 1)
            {
                int lane = BitOperations.TrailingZeroCount(left);
                w.Copies.Enqueue(new((nint)places[lane], (nint)w.Addresses[lane], i.Bytes, i.Bytes));
            }
        }
        w.Active = active;
    }

    public static void Commit(Warp w, Instruction i)
    {
        w.Copies.Enqueue(new(0, 0, -1, 0));
        w.CopyGroups++;
    }

    /// <summary>Until no more than Immediate groups are under way.</summary>
    public static void WaitGroup(Warp w, Instruction i) => Finish(w, (int)i.Immediate);

    public static void WaitAll(Warp w, Instruction i) => Finish(w, 0, true);

    public static void Finish(Warp w, int groups, bool uncommitted = false)
    {
        while (w.Copies.Count > 0 && (w.CopyGroups > groups || uncommitted))
        {
            AsyncCopy copy = w.Copies.Dequeue();
            if (copy.Bytes < 0)
            {
                w.CopyGroups--;
                continue;
            }
            NativeMemory.Copy((void*)copy.From, (void*)copy.To, (nuint)copy.Source);
            NativeMemory.Clear((byte*)copy.To + copy.Source, (nuint)(copy.Bytes - copy.Source));
        }
    }
}
