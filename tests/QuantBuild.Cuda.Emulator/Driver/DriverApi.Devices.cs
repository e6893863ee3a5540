using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text;

namespace QuantBuild.Cuda.Emulator;

internal sealed unsafe partial class DriverApi
{
    private static readonly ConcurrentDictionary<string, nint> s_texts = [];

    private void ExportDevices()
    {
        Export("cuInit", flags =>
        {
            if ((uint)flags != 0) return CuResult.InvalidValue;
            if (_machine.Options.FailInit is { } failure) return (CuResult)failure;
            if (_machine.Devices.Count == 0) return CuResult.NoDevice;
            _initialised = true;
            return CuResult.Success;
        });
        Export("cuDriverGetVersion", version =>
        {
            Need(version);
            *(int*)version = _machine.Options.DriverVersion;
            return CuResult.Success;
        });
        Export("cuDeviceGetCount", count =>
        {
            Initialised();
            *(int*)count = _machine.Devices.Count;
            return CuResult.Success;
        });
        Export("cuDeviceGet", (device, ordinal) =>
        {
            *(int*)device = Device(ordinal).Ordinal;
            return CuResult.Success;
        });
        Export("cuDeviceGetName", (name, length, device) =>
        {
            byte[] text = Encoding.UTF8.GetBytes(Device(device).Options.Name);
            int bytes = Math.Min(text.Length, (int)length - 1);
            text.AsSpan(0, bytes).CopyTo(new((void*)name, bytes));
            ((byte*)name)[bytes] = 0;
            return CuResult.Success;
        });
        Export("cuDeviceGetAttribute", (value, attribute, device) => GetAttribute((int*)value, (int)attribute, Device(device).Options));
        Export("cuDeviceTotalMem_v2", (bytes, device) =>
        {
            *(ulong*)bytes = (ulong)Device(device).Options.TotalMemory;
            return CuResult.Success;
        });
        Export("cuDeviceGetUuid_v2", (uuid, device) =>
        {
            int ordinal = Device(device).Ordinal;
            for (int i = 0; i < 16; i++) ((byte*)uuid)[i] = (byte)(i == 0 ? ordinal + 1 : 0x40 + i);
            return CuResult.Success;
        });
        Export("cuDeviceGetPCIBusId", (text, length, device) =>
        {
            byte[] id = Encoding.ASCII.GetBytes($"0000:{Device(device).Ordinal + 1:X2}:00.0\0");
            if ((int)length < id.Length) return CuResult.InvalidValue;
            id.CopyTo(new Span<byte>((void*)text, id.Length));
            return CuResult.Success;
        });
        Export("cuDevicePrimaryCtxRetain", (context, device) =>
        {
            EmulatedDevice found = Device(device);
            lock (_lock)
            {
                if (_primary[found.Ordinal] is not { } primary)
                {
                    _primary[found.Ordinal] = primary = new(found);
                    primary.Handle = Add(primary, null);
                }
                primary.References++;
                *(nint*)context = primary.Handle;
            }
            return CuResult.Success;
        });
        Export("cuDevicePrimaryCtxRelease_v2", device =>
        {
            EmulatedDevice found = Device(device);
            if (_primary[found.Ordinal] is not { } primary) return CuResult.InvalidContext;
            if (--primary.References == 0) Destroy(primary);
            return CuResult.Success;
        });
        Export("cuDevicePrimaryCtxReset_v2", device =>
        {
            if (_primary[Device(device).Ordinal] is { } primary) Destroy(primary);
            return CuResult.Success;
        });
        Export("cuCtxCreate_v2", (context, flags, device) =>
        {
            DriverContext created = new(Device(device));
            created.Handle = Add(created, null);
            _current.Value!.Push(created);
            *(nint*)context = created.Handle;
            return CuResult.Success;
        });
        Export("cuCtxDestroy_v2", context =>
        {
            Initialised();
            DriverContext destroyed = Get<DriverContext>(context);
            if (_current.Value!.TryPeek(out DriverContext? top) && top == destroyed) _current.Value.Pop();
            Destroy(destroyed);
            return CuResult.Success;
        });
        Export("cuCtxSetCurrent", context =>
        {
            Initialised();
            DriverContext? found = context == 0 ? null : Get<DriverContext>(context);
            _current.Value!.TryPop(out _);
            if (found is not null) _current.Value.Push(found);
            return CuResult.Success;
        });
        Export("cuCtxGetCurrent", context =>
        {
            Initialised();
            *(nint*)context = _current.Value!.TryPeek(out DriverContext? top) && top is not null ? top.Handle : 0;
            return CuResult.Success;
        });
        Export("cuCtxPushCurrent_v2", context =>
        {
            Initialised();
            _current.Value!.Push(Get<DriverContext>(context));
            return CuResult.Success;
        });
        Export("cuCtxPopCurrent_v2", context =>
        {
            Initialised();
            if (!_current.Value!.TryPop(out DriverContext? top)) return CuResult.InvalidContext;
            if (context != 0) *(nint*)context = top?.Handle ?? 0;
            return CuResult.Success;
        });
        Export("cuCtxSynchronize", () =>
        {
            DriverContext context = Current();
            Unsafe(context, true);
            return CuResult.Success;
        });
        Export("cuGetErrorName", (result, text) => Text(ErrorName((CuResult)(int)result), text));
        Export("cuGetErrorString", (result, text) => Text(ErrorName((CuResult)(int)result)?["CUDA_".Length..].Replace('_', ' ').ToLowerInvariant(), text));
    }

    private static CuResult Text(string? text, nint to)
    {
        Need(to);
        *(nint*)to = text is null ? 0 : s_texts.GetOrAdd(text, Marshal.StringToCoTaskMemUTF8);
        return text is null ? CuResult.InvalidValue : CuResult.Success;
    }

    /// <summary>CUDA_ERROR_ILLEGAL_ADDRESS for IllegalAddress.</summary>
    private static string? ErrorName(CuResult result)
    {
        if (result == CuResult.Success) return "CUDA_SUCCESS";
        if (!Enum.IsDefined(result)) return null;
        return "CUDA_ERROR" + string.Concat(result.ToString().Select(c => char.IsUpper(c) ? "_" + c : char.ToUpperInvariant(c).ToString()));
    }

    private void Destroy(DriverContext context)
    {
        lock (_lock)
        {
            foreach (nint handle in context.Owned)
            {
                if (_objects.Remove(handle, out object? thing) && thing is DriverModule module) Unload(module);
            }
            foreach (ulong address in context.Allocations)
            {
                if (_machine.Memory.Free(address, out Allocation? freed)) Account(context, -(long)freed!.FullSize);
            }
            context.Allocations.Clear();
            context.Owned.Clear();
            _objects.Remove(context.Handle);
            int primary = Array.IndexOf(_primary, context);
            if (primary >= 0) _primary[primary] = null;
            // A device that was lost serves again in a new context.
            if (!_objects.Values.OfType<DriverContext>().Any(c => c.Device == context.Device)) context.Device.Lost = CuResult.Success;
        }
    }

    private static CuResult GetAttribute(int* value, int attribute, EmulatedDeviceOptions device)
    {
        int shared = device.SharedMemoryPerBlockOptin;
        int? found = attribute switch
        {
            1 or 2 or 3 => 1024,
            4 => 64,
            5 => int.MaxValue,
            6 or 7 => 65535,
            8 => 48 << 10,
            9 => 64 << 10,
            10 => 32,
            11 => int.MaxValue,
            12 or 82 => 64 << 10,
            13 => 1_500_000,
            14 => 512,
            16 => device.Multiprocessors,
            17 or 18 or 20 or 32 or 35 or 95 or 115 => 0,
            19 or 31 or 41 or 78 => 1,
            33 => 1,
            34 or 50 => 0,
            36 => device.MemoryClockRate,
            37 => device.MemoryBusWidth,
            38 => device.L2CacheSize,
            39 => MaxThreadsPerMultiprocessor(device),
            40 => 2,
            75 => device.Major,
            76 => device.Minor,
            81 => shared + 1024,
            83 => 1,
            97 => shared,
            106 => 16,
            111 => 1024,
            _ => null,
        };
        Need((nint)value);
        if (found is null) return CuResult.InvalidValue;
        *value = found.Value;
        return CuResult.Success;
    }

    private static int MaxThreadsPerMultiprocessor(EmulatedDeviceOptions device) => (device.Major, device.Minor) switch { (7, 5) => 1024, (8, 0) or ( >= 9, _) => 2048, _ => 1536 };
}
