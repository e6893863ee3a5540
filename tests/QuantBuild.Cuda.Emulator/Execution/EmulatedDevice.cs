using System.Runtime.InteropServices;

namespace QuantBuild.Cuda.Emulator;

/// <summary>A device and what it was asked to do. Work runs on the caller's thread, at once.</summary>
internal sealed unsafe class EmulatedDevice(EmulatedGpu machine, int ordinal, EmulatedDeviceOptions options)
{
    private readonly Lock _running = new();

    public EmulatedGpu Machine => machine;

    public int Ordinal => ordinal;

    public EmulatedDeviceOptions Options => options;

    public long AllocatedBytes { get; set; }

    /// <summary>Why the device does nothing any more, until its context is gone.</summary>
    public CuResult Lost { get; set; }

    /// <summary>Runs a kernel's blocks on the machine's cores.</summary>
    public CuResult Launch(KernelProgram program, LaunchShape shape, byte[] parameters)
    {
        lock (_running)
        {
            long number = machine.CountLaunch();
            if (machine.Options.LaunchFault?.Invoke(number, program.Name) is { } injected && injected != 0) return Lost = (CuResult)injected;
            byte* block = (byte*)NativeMemory.AlignedAlloc((nuint)Math.Max(1, parameters.Length), 64);
            parameters.CopyTo(new Span<byte>(block, parameters.Length));
            try
            {
                int cores = (int)Math.Min(machine.Options.Cores > 0 ? machine.Options.Cores : Environment.ProcessorCount, shape.Blocks);
                long next = 0;
                CuResult result = CuResult.Success;
                void Work()
                {
                    using Block work = new(program, shape, block, this);
                    long budget = machine.Options.MaxLaneInstructions;
                    try
                    {
                        for (long index = Interlocked.Increment(ref next) - 1; index < shape.Blocks && result == CuResult.Success; index = Interlocked.Increment(ref next) - 1)
                            work.Run((int)(index % shape.GridX), (int)(index / shape.GridX % shape.GridY), (int)(index / ((long)shape.GridX * shape.GridY)), ref budget);
                    }
                    catch (KernelFault fault)
                    {
                        result = fault.Result;
                        machine.AddViolation(fault.Message);
                    }
                    finally
                    {
                        machine.CountLaneInstructions(work.LaneInstructions);
                    }
                }
                if (cores == 1) Work();
                else Parallel.For(0, cores, new() { MaxDegreeOfParallelism = cores }, _ => Work());
                if (result != CuResult.Success) Lost = result;
                return result;
            }
            finally
            {
                NativeMemory.AlignedFree(block);
            }
        }
    }
}
