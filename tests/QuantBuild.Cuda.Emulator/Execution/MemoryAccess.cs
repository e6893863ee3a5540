using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace QuantBuild.Cuda.Emulator;

/// <summary>How the addresses of a warp lie.</summary>
internal enum Pattern { Any, OneAddress, Consecutive }

/// <summary>Loads and stores of a warp: addresses, checks, and the moving of bytes.</summary>
internal static unsafe class MemoryAccess
{
    /// <summary>Generic addresses from here on are shared memory; those of local memory begin at <see cref="LocalWindow"/>.</summary>
    public const ulong SharedWindow = 0x0100_0000_0000;
    public const ulong LocalWindow = 0x0200_0000_0000;
    public const ulong WindowBytes = 0x1000_0000;

    /// <summary>Puts the host addresses of the active lanes into <see cref="Warp.Addresses"/>, all checked.</summary>
    public static Pattern Addresses(Warp w, Instruction i, bool write)
    {
        PutAddresses(w, i);
        return Check(w, i, i.Bytes, write);
    }

    /// <summary>Puts the addresses that the program computed into <see cref="Warp.Addresses"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PutAddresses(Warp w, Instruction i)
    {
        ulong* addresses = w.Addresses;
        Vector512<ulong> offset = Vector512.Create((ulong)i.Immediate);
        if (i.A < 0)
        {
            for (int k = 0; k < Lanes.Count; k += 8) offset.Store(addresses + k);
        }
        else if (i.WideAddress)
        {
            ulong* a = (ulong*)(w.Registers + i.A);
            for (int k = 0; k < Lanes.Count; k += 8) (Vector512.Load(a + k) + offset).Store(addresses + k);
        }
        else
        {
            uint* a = (uint*)(w.Registers + i.A);
            for (int k = 0; k < Lanes.Count; k += 8) (Lanes.Extend(Vector256.Load(a + k)) + offset).Store(addresses + k);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Pattern Check(Warp w, Instruction i, int bytes, bool write)
    {
        ulong* addresses = w.Addresses;
        uint active = w.Active;
        ulong first = addresses[BitOperations.TrailingZeroCount(active)];
        if (active != uint.MaxValue)
        {
            ulong* mask = w.Masks<ulong>();
            Vector512<ulong> other = Vector512.Create(first);
            for (int k = 0; k < Lanes.Count; k += 8) Vector512.ConditionalSelect(Vector512.Load(mask + k), Vector512.Load(addresses + k), other).Store(addresses + k);
        }
        Vector512<ulong> least = Vector512.Load(addresses), most = least, bits = least, same = Vector512.Create(first), step = Vector512.Create((ulong)bytes * 8);
        Vector512<ulong> expected = same + (Vector512<ulong>.Indices * (ulong)bytes), unequal = least ^ same, apart = least ^ expected;
        for (int k = 8; k < Lanes.Count; k += 8)
        {
            Vector512<ulong> x = Vector512.Load(addresses + k);
            expected += step;
            (least, most, bits) = (Vector512.Min(least, x), Vector512.Max(most, x), bits | x);
            (unequal, apart) = (unequal | (x ^ same), apart | (x ^ expected));
        }
        Pattern pattern = unequal == Vector512<ulong>.Zero ? Pattern.OneAddress : apart == Vector512<ulong>.Zero && active == uint.MaxValue ? Pattern.Consecutive : Pattern.Any;
        ulong low = first, high = first;
        if (pattern == Pattern.Consecutive)
        {
            high = first + ((ulong)bytes * 31);
        }
        else if (pattern == Pattern.Any)
        {
            for (int k = 0; k < 8; k++) (low, high) = (Math.Min(low, least[k]), Math.Max(high, most[k]));
        }
        ulong union = 0;
        if (bytes > 1)
        {
            Vector256<ulong> half = bits.GetLower() | bits.GetUpper();
            Vector128<ulong> quarter = half.GetLower() | half.GetUpper();
            union = quarter[0] | quarter[1];
            if ((union & (ulong)(bytes - 1)) != 0) throw Misaligned(w, bytes);
        }
        Space space = i.Space;
        if (space == Space.Generic)
        {
            if (low >= SharedWindow && high < SharedWindow + WindowBytes) space = Space.Shared;
            else if (low >= LocalWindow && high < LocalWindow + WindowBytes) space = Space.Local;
            else space = Space.Global;
            if (space != Space.Global)
            {
                ulong window = space == Space.Shared ? SharedWindow : LocalWindow;
                for (int lane = 0; lane < Lanes.Count; lane++) addresses[lane] -= window;
                (low, high) = (low - window, high - window);
            }
        }
        ulong end = high + (ulong)bytes, shift;
        switch (space)
        {
            case Space.Shared:
                if (end > (ulong)w.Block.SharedBytes || end < high) throw OutOfBounds(w, bytes, "shared memory of " + w.Block.SharedBytes + " bytes", (ulong)w.Block.SharedBytes);
                if (w.Block.Races is not null || w.Block.SharedWritten is not null) Watch(w, i, bytes, write);
                shift = (ulong)w.Block.Shared;
                break;
            case Space.Param:
                if (end > (ulong)w.Block.Program.ParameterBytes) throw OutOfBounds(w, bytes, "parameters", (ulong)w.Block.Program.ParameterBytes);
                shift = (ulong)w.Block.Parameters;
                break;
            case Space.Local:
                int size = w.Block.Program.LocalBytes;
                if (end > (ulong)size || end < high) throw OutOfBounds(w, bytes, "local memory of " + size + " bytes", (ulong)size);
                for (int lane = 0; lane < Lanes.Count; lane++) addresses[lane] += (ulong)w.Local + (ulong)(lane * size);
                return Pattern.Any;
            default:
                Allocation? near = w.Block.Near[i.Number];
                if (near is null || !near.Contains(low, end) || near.Device != w.Block.Device.Ordinal)
                {
                    near = w.Block.Device.Machine.Memory.Find(low);
                    if (near is null || !near.Contains(low, end) || (near.Device != w.Block.Device.Ordinal && near.Device >= 0)) return EachLane(w, i, bytes, write);
                    w.Block.Near[i.Number] = near;
                }
                if (near.Written is not null) Watch(w, near, bytes, write);
                if (write) near.IsComputed = true;
                if (w.IsAhead && (write || near.IsComputed)) throw TooEarly(w, write);
                shift = (ulong)near.Host - near.Start;
                break;
        }
        Vector512<ulong> shifts = Vector512.Create(shift);
        for (int k = 0; k < Lanes.Count; k += 8) (Vector512.Load(addresses + k) + shifts).Store(addresses + k);
        return pattern;
    }

    /// <summary>Lanes that do not share an allocation, or fall into none.</summary>
    private static Pattern EachLane(Warp w, Instruction i, int bytes, bool write)
    {
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if (((w.Active >> lane) & 1) == 0) continue;
            ulong address = w.Addresses[lane];
            if (i.Space == Space.Generic && address >= SharedWindow && address + (ulong)bytes <= SharedWindow + (ulong)w.Block.SharedBytes)
            {
                w.Addresses[lane] = (ulong)w.Block.Shared + (address - SharedWindow);
                continue;
            }
            if (i.Space == Space.Generic && address >= LocalWindow && address + (ulong)bytes <= LocalWindow + (ulong)w.Block.Program.LocalBytes)
            {
                w.Addresses[lane] = (ulong)w.Local + (ulong)(lane * w.Block.Program.LocalBytes) + (address - LocalWindow);
                continue;
            }
            Allocation? found = w.Block.Device.Machine.Memory.Find(address);
            if (found is null || !found.Contains(address, address + (ulong)bytes) || (found.Device >= 0 && found.Device != w.Block.Device.Ordinal))
            {
                string where = found switch
                {
                    null => "which was never allocated",
                    { IsLive: false } => $"in memory of {found.FullSize} bytes that was freed",
                    _ when found.Device != w.Block.Device.Ordinal => $"in memory of device {found.Device}",
                    _ when address >= found.Start + found.Size => $"{address - found.Start - found.Size} bytes after the end of an allocation of {found.Size} bytes",
                    _ when address < found.Start => $"{found.Start - address} bytes before an allocation of {found.Size} bytes",
                    _ => $"across the end of an allocation of {found.Size} bytes",
                };
                throw w.Fault(CuResult.IllegalAddress, $"{(write ? "writes" : "reads")} {bytes} bytes at 0x{address:x}, {where}", lane);
            }
            if (found.Written is not null) WatchLane(w, found, address, bytes, write, lane);
            w.Addresses[lane] = (ulong)found.Host + (address - found.Start);
        }
        return Pattern.Any;
    }

    private static KernelFault TooEarly(Warp w, bool write) => w.Fault(
        CuResult.LaunchFailed, $"{(write ? "writes memory" : "reads memory that a kernel wrote")} before it waits for the kernel before it (griddepcontrol.wait)", BitOperations.TrailingZeroCount(w.Active));

    private static KernelFault Misaligned(Warp w, int bytes)
    {
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            if ((w.Addresses[lane] & (ulong)(bytes - 1)) != 0) return w.Fault(CuResult.MisalignedAddress, $"address 0x{w.Addresses[lane]:x} is no multiple of {bytes}", lane);
        }
        throw new InvalidOperationException("no lane is misaligned");
    }

    private static KernelFault OutOfBounds(Warp w, int bytes, string what, ulong size)
    {
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            ulong address = w.Addresses[lane];
            if (address + (ulong)bytes > size || address + (ulong)bytes < address) return w.Fault(CuResult.IllegalAddress, $"address 0x{address:x}, {bytes} bytes, is out of the {what}", lane);
        }
        throw new InvalidOperationException("no lane is out of bounds");
    }

    /// <summary>Shared memory under watch; <see cref="Warp.Addresses"/> are offsets into it.</summary>
    private static void Watch(Warp w, Instruction i, int bytes, bool write)
    {
        for (uint left = w.Active; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left), at = (int)w.Addresses[lane];
            WatchShared(w, i, lane, at, bytes, write);
        }
    }

    private static void WatchShared(Warp w, Instruction i, int lane, int at, int bytes, bool write)
    {
        if (!i.Atomic && w.Block.Races is { } races && races.Touch(w.Index, at, bytes, write) is { Warp: >= 0 } other)
        {
            w.Block.Device.Machine.AddViolation(w.Describe($"races with warp {other.Warp}, which {(other.Wrote ? "wrote" : "read")} shared memory at {at} with no barrier between", lane));
        }
        if (w.Block.SharedWritten is not { } written) return;
        if (write) written.AsSpan(at, bytes).Fill(1);
        else if (written.AsSpan(at, bytes).Contains((byte)0)) w.Block.Device.Machine.AddViolation(w.Describe($"reads shared memory at {at} that nobody wrote", lane));
    }

    private static void Watch(Warp w, Allocation allocation, int bytes, bool write)
    {
        for (uint left = w.Active; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            WatchLane(w, allocation, w.Addresses[lane], bytes, write, lane);
        }
    }

    private static void WatchLane(Warp w, Allocation allocation, ulong address, int bytes, bool write, int lane)
    {
        Span<byte> written = allocation.Written.AsSpan((int)(address - allocation.Start), bytes);
        if (write) written.Fill(1);
        else if (written.Contains((byte)0)) w.Block.Device.Machine.AddViolation(w.Describe($"reads device memory at 0x{address:x} that nobody wrote ({address - allocation.Start} bytes into an allocation of {allocation.Size})", lane));
    }

    /// <summary><typeparamref name="T"/> is the type in memory, <typeparamref name="TD"/> what the register holds: it is wider where a narrow number is loaded into a 64-bit register.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Load<T, TD>(Warp w, Instruction i) where T : unmanaged, INumberBase<T> where TD : unmanaged, INumberBase<TD>
    {
        Pattern pattern = Addresses(w, i, false);
        ulong* addresses = w.Addresses;
        for (int v = 0; v < i.Slots.Length; v++)
        {
            if (i.Slots[v] < 0) continue;
            byte* d = w.Registers + i.Slots[v];
            int at = v * sizeof(T);
            if (w.Active == uint.MaxValue)
            {
                if (sizeof(T) >= 4 && sizeof(T) == sizeof(TD) && i.Slots.Length == 1 && pattern == Pattern.Consecutive)
                {
                    Unsafe.CopyBlockUnaligned(d, (void*)addresses[0], (uint)(Lanes.Count * sizeof(T)));
                }
                else if (pattern == Pattern.OneAddress)
                {
                    TD value = TD.CreateTruncating(*(T*)(addresses[0] + (ulong)at));
                    Lanes.Write(d, 0, value);
                    if (Lanes.Stride<TD>() == 8) new Span<ulong>(d, Lanes.Count).Fill(*(ulong*)d);
                    else new Span<uint>(d, Lanes.Count).Fill(*(uint*)d);
                }
                else
                {
                    for (int lane = 0; lane < Lanes.Count; lane++) Lanes.Write(d, lane, TD.CreateTruncating(*(T*)(addresses[lane] + (ulong)at)));
                }
                continue;
            }
            for (uint left = w.Active; left != 0; left &= left - 1)
            {
                int lane = BitOperations.TrailingZeroCount(left);
                Lanes.Write(d, lane, TD.CreateTruncating(*(T*)(addresses[lane] + (ulong)at)));
            }
        }
    }

    /// <summary>Four numbers of 32 bits a lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Load4(Warp w, Instruction i)
    {
        Addresses(w, i, false);
        ulong* addresses = w.Addresses;
        uint* d0 = (uint*)(w.Registers + i.Slots[0]), d1 = (uint*)(w.Registers + i.Slots[1]), d2 = (uint*)(w.Registers + i.Slots[2]), d3 = (uint*)(w.Registers + i.Slots[3]);
        for (uint left = w.Active; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            uint* from = (uint*)addresses[lane];
            // No destination is the address register, but one may appear twice as a sink: order does not matter.
            (d0[lane], d1[lane], d2[lane], d3[lane]) = (from[0], from[1], from[2], from[3]);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Store<T, TS>(Warp w, Instruction i) where T : unmanaged, INumberBase<T> where TS : unmanaged, INumberBase<TS>
    {
        Pattern pattern = Addresses(w, i, true);
        ulong* addresses = w.Addresses;
        if (pattern == Pattern.Consecutive && sizeof(T) >= 4 && sizeof(T) == sizeof(TS) && i.Slots.Length == 1)
        {
            Unsafe.CopyBlockUnaligned((void*)addresses[0], w.Registers + i.Slots[0], (uint)(Lanes.Count * sizeof(T)));
            return;
        }
        for (int v = 0; v < i.Slots.Length; v++)
        {
            byte* s = w.Registers + i.Slots[v];
            int at = v * sizeof(T);
            for (uint left = w.Active; left != 0; left &= left - 1)
            {
                int lane = BitOperations.TrailingZeroCount(left);
                *(T*)(addresses[lane] + (ulong)at) = T.CreateTruncating(Lanes.Read<TS>(s, lane));
            }
        }
    }
}
