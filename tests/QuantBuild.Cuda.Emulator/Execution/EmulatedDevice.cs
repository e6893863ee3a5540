using System.Runtime.InteropServices;

namespace QuantBuild.Cuda.Emulator;

/// <summary>A device and what it was asked to do. Work runs on the caller's thread, at once.</summary>
internal sealed unsafe class EmulatedDevice(EmulatedGpu machine, int ordinal, EmulatedDeviceOptions options) : IDisposable
{
    private const long MostIdleBytes = 256 << 20;

    private readonly Lock _running = new();

    /// <summary>Blocks that finished launches left, for the next launch of the same kernel: to make one costs more than many kernels run.</summary>
    private readonly Dictionary<(KernelProgram, int, int, int, int), Stack<Block>> _idle = [];
    private long _idleBytes;

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
                    Block work = Rent(program, shape);
                    work.Serve(shape, block);
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
                        machine.CountLaneInstructions(work.TakeLaneInstructions());
                        Return(work);
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

    private static (KernelProgram, int, int, int, int) Key(KernelProgram program, LaunchShape shape) => (program, shape.BlockX, shape.BlockY, shape.BlockZ, shape.DynamicShared);

    private Block Rent(KernelProgram program, LaunchShape shape)
    {
        lock (_idle)
        {
            if (_idle.TryGetValue(Key(program, shape), out Stack<Block>? idle) && idle.TryPop(out Block? block))
            {
                _idleBytes -= block.Bytes;
                return block;
            }
        }
        return new(program, shape, this);
    }

    private void Return(Block block)
    {
        lock (_idle)
        {
            if (_idleBytes + block.Bytes > MostIdleBytes) Forget();
            if (!_idle.TryGetValue(Key(block.Program, block.Shape), out Stack<Block>? idle)) _idle[Key(block.Program, block.Shape)] = idle = new();
            idle.Push(block);
            _idleBytes += block.Bytes;
        }
    }

    private void Forget()
    {
        foreach (Block block in _idle.Values.SelectMany(s => s)) block.Dispose();
        _idle.Clear();
        _idleBytes = 0;
    }

    public void Dispose()
    {
        lock (_idle) Forget();
    }
}
