using System.Runtime.InteropServices;

namespace QuantBuild.Cuda.Emulator;

internal sealed unsafe partial class DriverApi
{
    private readonly Dictionary<nint, long> _hostAllocations = [];

    private void ExportMemory()
    {
        Export("cuMemGetInfo_v2", (free, total) =>
        {
            EmulatedDevice device = Current().Device;
            *(ulong*)free = (ulong)(device.Options.TotalMemory - device.AllocatedBytes);
            *(ulong*)total = (ulong)device.Options.TotalMemory;
            return CuResult.Success;
        });
        Export("cuMemAlloc_v2", (pointer, bytes) =>
        {
            DriverContext context = Current();
            Unsafe(context, false);
            Need(pointer);
            if (bytes <= 0) return CuResult.InvalidValue;
            lock (_lock)
            {
                if (context.Device.AllocatedBytes + bytes > context.Device.Options.TotalMemory) return CuResult.OutOfMemory;
                Allocation allocation = _machine.Memory.Allocate(context.Device.Ordinal, (ulong)bytes);
                context.Allocations.Add(allocation.Start);
                Account(context, bytes);
                *(ulong*)pointer = allocation.Start;
            }
            return CuResult.Success;
        });
        Export("cuMemFree_v2", pointer =>
        {
            DriverContext context = Current();
            Unsafe(context, false);
            if (pointer == 0) return CuResult.Success;
            lock (_lock)
            {
                if (!context.Allocations.Remove((ulong)pointer) || !_machine.Memory.Free((ulong)pointer, out Allocation? freed))
                {
                    _machine.AddViolation($"cuMemFree of 0x{pointer:x}, which is no live allocation of the current context");
                    return CuResult.InvalidValue;
                }
                Account(context, -(long)freed!.FullSize);
            }
            return CuResult.Success;
        });
        Export("cuMemHostAlloc", (pointer, bytes, flags) =>
        {
            Current();
            if (bytes <= 0) return CuResult.InvalidValue;
            nint host;
            lock (_lock)
            {
                if (bytes > _machine.Options.LockableMemory - _hostAllocations.Values.Sum()) return CuResult.OutOfMemory;
                host = (nint)NativeMemory.AlignedAlloc((nuint)bytes, 4096);
                _hostAllocations.Add(host, bytes);
            }
            _machine.Memory.Pin(host, (ulong)bytes);
            *(nint*)pointer = host;
            return CuResult.Success;
        });
        Export("cuMemFreeHost", pointer =>
        {
            Current();
            lock (_lock)
            {
                if (!_hostAllocations.Remove(pointer)) return CuResult.InvalidValue;
            }
            _machine.Memory.Unpin(pointer);
            NativeMemory.AlignedFree((void*)pointer);
            return CuResult.Success;
        });
        Export("cuMemHostRegister_v2", (pointer, bytes, flags) =>
        {
            Current();
            Need(pointer);
            if (bytes <= 0) return CuResult.InvalidValue;
            if (_machine.Memory.Find((ulong)pointer) is not null) return CuResult.HostMemoryAlreadyRegistered;
            _machine.Memory.Pin(pointer, (ulong)bytes);
            return CuResult.Success;
        });
        Export("cuMemHostUnregister", pointer =>
        {
            Current();
            return _machine.Memory.Unpin(pointer) ? CuResult.Success : CuResult.HostMemoryNotRegistered;
        });
        Export("cuMemcpyHtoD_v2", (to, from, bytes) =>
        {
            Unsafe(Current(), true);
            return ToDevice((ulong)to, from, (ulong)bytes);
        });
        Export("cuMemcpyDtoH_v2", (to, from, bytes) =>
        {
            Unsafe(Current(), true);
            return ToHost(to, (ulong)from, (ulong)bytes);
        });
        Export("cuMemcpyDtoD_v2", (to, from, bytes) =>
        {
            Unsafe(Current(), true);
            return OnDevice((ulong)to, (ulong)from, (ulong)bytes);
        });
        Export("cuMemcpyHtoDAsync_v2", (to, from, bytes, stream) => Enqueue(stream, () => ToDevice((ulong)to, from, (ulong)bytes)));
        Export("cuMemcpyDtoHAsync_v2", (to, from, bytes, stream) => Enqueue(stream, () => ToHost(to, (ulong)from, (ulong)bytes)));
        Export("cuMemcpyDtoDAsync_v2", (to, from, bytes, stream) => Enqueue(stream, () => OnDevice((ulong)to, (ulong)from, (ulong)bytes)));
        Export("cuMemsetD8_v2", (to, value, count) =>
        {
            Unsafe(Current(), true);
            return Set<byte>((ulong)to, (byte)value, (ulong)count);
        });
        Export("cuMemsetD32_v2", (to, value, count) =>
        {
            Unsafe(Current(), true);
            return Set<uint>((ulong)to, (uint)value, (ulong)count);
        });
        Export("cuMemsetD8Async", (to, value, count, stream) => Enqueue(stream, () => Set<byte>((ulong)to, (byte)value, (ulong)count)));
        Export("cuMemsetD32Async", (to, value, count, stream) => Enqueue(stream, () => Set<uint>((ulong)to, (uint)value, (ulong)count)));
    }

    private void Account(DriverContext context, long bytes)
    {
        context.Device.AllocatedBytes += bytes;
        LiveAllocations += Math.Sign(bytes);
    }

    /// <summary>The host's view of device memory that a copy touches; anything but a live allocation is an invalid value.</summary>
    private byte* Range(ulong address, ulong bytes, string what, out Allocation? allocation)
    {
        byte* host = _machine.Memory.Translate(address, bytes, out allocation);
        if (host != null) return host;
        _machine.AddViolation($"{what} of {bytes} bytes at 0x{address:x}, " + allocation switch
        {
            null => "which was never allocated",
            { IsLive: false } => "which was freed",
            _ => $"beyond the {allocation.Size} bytes allocated at 0x{allocation.Start:x}",
        });
        throw Fail(CuResult.InvalidValue);
    }

    private CuResult ToDevice(ulong to, nint from, ulong bytes)
    {
        if (bytes == 0) return CuResult.Success;
        Need(from);
        byte* host = Range(to, bytes, "a copy to the device", out Allocation? allocation);
        NativeMemory.Copy((void*)from, host, (nuint)bytes);
        _machine.CountToDevice(bytes);
        allocation!.Written?.AsSpan((int)(to - allocation.Start), (int)bytes).Fill(1);
        return CuResult.Success;
    }

    private CuResult ToHost(nint to, ulong from, ulong bytes)
    {
        if (bytes == 0) return CuResult.Success;
        Need(to);
        byte* host = Range(from, bytes, "a copy to the host", out Allocation? allocation);
        if (allocation!.Written is { } written && written.AsSpan((int)(from - allocation.Start), (int)bytes).Contains((byte)0))
            _machine.AddViolation($"a copy to the host of {bytes} bytes at 0x{from:x}, some of which nobody wrote");
        NativeMemory.Copy(host, (void*)to, (nuint)bytes);
        _machine.CountToHost(bytes);
        return CuResult.Success;
    }

    private CuResult OnDevice(ulong to, ulong from, ulong bytes)
    {
        if (bytes == 0) return CuResult.Success;
        byte* source = Range(from, bytes, "a copy on the device", out Allocation? read), target = Range(to, bytes, "a copy on the device", out Allocation? written);
        NativeMemory.Copy(source, target, (nuint)bytes);
        if (written!.Written is { } marks && read!.Written is { } origin) origin.AsSpan((int)(from - read.Start), (int)bytes).CopyTo(marks.AsSpan((int)(to - written.Start)));
        return CuResult.Success;
    }

    private CuResult Set<T>(ulong to, T value, ulong count) where T : unmanaged
    {
        ulong bytes = count * (ulong)sizeof(T);
        if (bytes == 0) return CuResult.Success;
        if (to % (ulong)sizeof(T) != 0) return CuResult.InvalidValue;
        byte* host = Range(to, bytes, "a fill", out Allocation? allocation);
        for (ulong done = 0; done < count;)
        {
            int piece = (int)Math.Min(count - done, 1 << 28);
            new Span<T>((T*)host + done, piece).Fill(value);
            done += (ulong)piece;
        }
        allocation!.Written?.AsSpan((int)(to - allocation.Start), (int)bytes).Fill(1);
        return CuResult.Success;
    }
}
