using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text;

namespace QuantBuild.Cuda.Emulator;

internal sealed unsafe partial class DriverApi
{
    // To decode a module takes longer than most tests run it. Its kernels are the same on every device, unless they have addresses of variables of its own: those are decoded for each.
    private static readonly ConcurrentDictionary<string, (PtxModule Ptx, Dictionary<string, KernelProgram> Programs)> Decoded = new();

    private void ExportModules()
    {
        Export("cuModuleLoadData", (module, image) => Load(module, image, out _));
        Export("cuModuleLoadDataEx", (module, image, count, options, values) =>
        {
            CuResult result = Load(module, image, out string log);
            WriteLog(log, new((void*)options, (int)(uint)count), new((void*)values, (int)(uint)count));
            return result;
        });
        Export("cuModuleUnload", module =>
        {
            DriverContext context = Current();
            lock (_lock)
            {
                DriverModule removed = Remove<DriverModule>(module, context);
                foreach (nint handle in _objects.Where(o => o.Value is DriverFunction f && removed.Functions.ContainsValue(f)).Select(o => o.Key).ToList()) Remove<DriverFunction>(handle, context);
                Unload(removed);
            }
            return CuResult.Success;
        });
        Export("cuModuleGetFunction", (function, module, name) =>
        {
            DriverContext context = Current();
            if (!Get<DriverModule>(module).Functions.TryGetValue(Marshal.PtrToStringUTF8(name)!, out DriverFunction? found)) return CuResult.NotFound;
            *(nint*)function = Add(found, context);
            return CuResult.Success;
        });
        Export("cuModuleGetGlobal_v2", (address, bytes, module, name) =>
        {
            Current();
            if (!Get<DriverModule>(module).Variables.TryGetValue(Marshal.PtrToStringUTF8(name)!, out Allocation? found)) return CuResult.NotFound;
            if (address != 0) *(ulong*)address = found.Start;
            if (bytes != 0) *(ulong*)bytes = found.Size;
            return CuResult.Success;
        });
        Export("cuFuncGetAttribute", (value, attribute, function) =>
        {
            Current();
            DriverFunction found = Get<DriverFunction>(function);
            int? result = (int)attribute switch
            {
                0 => found.Program.MaxThreads,
                1 => found.Program.StaticShared,
                2 => 0,
                3 => found.Program.LocalBytes,
                4 => found.Program.Registers,
                5 or 6 => found.BinaryVersion,
                7 => 0,
                8 => found.MaxDynamicShared,
                9 => -1,
                _ => null,
            };
            if (result is null) return CuResult.InvalidValue;
            *(int*)value = result.Value;
            return CuResult.Success;
        });
        Export("cuFuncSetAttribute", (function, attribute, value) =>
        {
            DriverContext context = Current();
            DriverFunction found = Get<DriverFunction>(function);
            switch ((int)attribute)
            {
                case 8:
                    if ((int)value < 0 || (int)value + found.Program.StaticShared > context.Device.Options.SharedMemoryPerBlockOptin) return CuResult.InvalidValue;
                    found.MaxDynamicShared = (int)value;
                    return CuResult.Success;
                case 9:
                    return CuResult.Success;
                default:
                    return CuResult.InvalidValue;
            }
        });
        Export("cuOccupancyMaxActiveBlocksPerMultiprocessor", (blocks, function, threads, shared) =>
        {
            EmulatedDeviceOptions device = Current().Device.Options;
            DriverFunction found = Get<DriverFunction>(function);
            if ((int)threads <= 0) return CuResult.InvalidValue;
            int warps = ((int)threads + 31) / 32, bytes = found.Program.StaticShared + (int)shared + 1024;
            *(int*)blocks = Math.Min(16, Math.Min(MaxThreadsPerMultiprocessor(device) / (warps * 32), (device.SharedMemoryPerBlockOptin + 1024) / bytes));
            return CuResult.Success;
        });
        Export("cuLaunchKernelEx", (configuration, function, parameters, extra) =>
        {
            // CUlaunchConfig: three sizes of the grid, three of a block, shared memory, the stream, attributes of 72 bytes each.
            const int serialization = 6;
            Need(configuration);
            uint* sizes = (uint*)configuration;
            bool overlaps = false;
            byte* attributes = *(byte**)(configuration + 40);
            for (uint n = 0; n < *(uint*)(configuration + 48); n++)
            {
                if (*(int*)(attributes + (n * 72)) != serialization) throw new NotSupportedException("an attribute of a launch");
                overlaps = *(int*)(attributes + (n * 72) + 8) != 0;
            }
            return Launch(function, sizes, *(nint*)(configuration + 32), parameters, extra, overlaps);
        });
        Export("cuLaunchKernel", (F11)((function, gridX, gridY, gridZ, blockX, blockY, blockZ, shared, stream, parameters, extra) => Call(() =>
        {
            uint* sizes = stackalloc uint[] { (uint)gridX, (uint)gridY, (uint)gridZ, (uint)blockX, (uint)blockY, (uint)blockZ, (uint)shared };
            return Launch(function, sizes, stream, parameters, extra, false);
        })));
    }

    private CuResult Launch(nint function, uint* sizes, nint stream, nint parameters, nint extra, bool overlaps)
    {
        DriverContext context = Current();
        DriverFunction found = Get<DriverFunction>(function);
        if (found.Context != context) return CuResult.InvalidHandle;
        KernelProgram program = found.Program;
        if (new ReadOnlySpan<uint>(sizes, 6).Contains(0u) || sizes[0] > int.MaxValue || sizes[1] > 65535 || sizes[2] > 65535 || sizes[3] > 1024 || sizes[4] > 1024 || sizes[5] > 64) return CuResult.InvalidValue;
        LaunchShape shape = new((int)sizes[0], (int)sizes[1], (int)sizes[2], (int)sizes[3], (int)sizes[4], (int)sizes[5], (int)sizes[6]);
        if (shape.Threads > 1024) return CuResult.InvalidValue;
        if (shape.Threads > program.MaxThreads) return CuResult.LaunchOutOfResources;
        if (program.RequiredThreads is { } required && required != (shape.BlockX, shape.BlockY, shape.BlockZ)) return CuResult.InvalidValue;
        if (shape.DynamicShared < 0 || shape.DynamicShared > found.MaxDynamicShared) return CuResult.InvalidValue;
        // The parameters are copied now: a recorded launch keeps them as they are.
        byte[] bytes = new byte[program.ParameterBytes];
        if (program.Parameters.Count > 0)
        {
            if (parameters == 0) return extra == 0 ? CuResult.InvalidValue : throw new NotSupportedException("cuLaunchKernel with extra");
            for (int p = 0; p < program.Parameters.Count; p++)
            {
                nint from = ((nint*)parameters)[p];
                Need(from);
                new Span<byte>((void*)from, program.Parameters[p].Bytes).CopyTo(bytes.AsSpan(program.Parameters[p].Offset));
            }
        }
        return Enqueue(stream, () => context.Device.Launch(program, shape with { Overlaps = overlaps }, bytes));
    }

    private static void WriteLog(string log, Span<int> options, Span<nint> values)
    {
        const int errorLog = 5, errorLogBytes = 6;
        int buffer = options.IndexOf(errorLog), size = options.IndexOf(errorLogBytes);
        if (size < 0) return;
        byte[] text = Encoding.UTF8.GetBytes(log + "\0");
        int room = (int)values[size], length = log.Length == 0 ? 0 : Math.Min(text.Length, room);
        if (buffer >= 0 && length > 0)
        {
            Span<byte> to = new((void*)values[buffer], length);
            text.AsSpan(0, length).CopyTo(to);
            to[^1] = 0;
        }
        values[size] = length;
    }

    private CuResult Load(nint handle, nint image, out string log)
    {
        DriverContext context = Current();
        Unsafe(context, false);
        Need(image);
        log = "";
        DriverModule module = new(context);
        try
        {
            (PtxModule ptx, Dictionary<string, KernelProgram> programs) = Decoded.GetOrAdd(Marshal.PtrToStringUTF8(image)!, text => (PtxParser.Parse(text), []));
            EmulatedDeviceOptions device = context.Device.Options;
            int capability = (device.Major * 10) + device.Minor;
            if (ptx.Target > capability || (ptx.NeedsExactTarget && ptx.Target != capability))
            {
                log = $"ptxas fatal   : PTX was generated for sm_{ptx.Target}, the device is sm_{capability}";
                return CuResult.NoBinaryForGpu;
            }
            // PTX 7.x came with CUDA 11.x, 8.x with 12.x, 9.x with 13.x.
            if (((ptx.Version / 10) + 4) * 1000 + (ptx.Version % 10 * 10) > _machine.Options.DriverVersion)
            {
                log = $"ptxas fatal   : Unsupported .version {ptx.Version / 10}.{ptx.Version % 10}";
                return CuResult.UnsupportedPtxVersion;
            }
            foreach (PtxVariable variable in ptx.Variables.Where(v => v.Space is "global" or "const"))
            {
                Allocation place = _machine.Memory.Allocate(context.Device.Ordinal, (ulong)Math.Max(1, variable.Size));
                module.Variables[variable.Name] = place;
                Span<byte> bytes = new(place.Host, (int)variable.Size);
                bytes.Clear();
                variable.Initial.CopyTo(bytes);
                place.Written?.AsSpan().Fill(1);
            }
            foreach (PtxVariable variable in ptx.Variables)
            {
                foreach ((int at, string symbol, long offset) in variable.Addresses)
                {
                    if (!module.Variables.TryGetValue(symbol, out Allocation? target)) throw new PtxException(0, $"unknown symbol '{symbol}'");
                    *(ulong*)(module.Variables[variable.Name].Host + at) = target.Start + (ulong)offset;
                }
            }
            foreach (PtxFunction entry in ptx.Functions.Values.Where(f => f is { IsEntry: true, Body: not null }))
            {
                KernelProgram? program;
                lock (programs)
                {
                    if (module.Variables.Count > 0 || !programs.TryGetValue(entry.Name, out program))
                    {
                        program = Compiler.Compile(ptx, entry, name => module.Variables.TryGetValue(name, out Allocation? variable) ? variable.Start : null);
                        if (module.Variables.Count == 0) programs[entry.Name] = program;
                    }
                }

                module.Functions[entry.Name] = new(context, program, ptx.Target);
            }
        }
        catch (PtxException error)
        {
            Unload(module);
            log = error.Message;
            return CuResult.InvalidPtx;
        }
        *(nint*)handle = Add(module, context);
        return CuResult.Success;
    }

    private void Unload(DriverModule module)
    {
        foreach (Allocation variable in module.Variables.Values) _machine.Memory.Free(variable.Start, out _);
    }
}
