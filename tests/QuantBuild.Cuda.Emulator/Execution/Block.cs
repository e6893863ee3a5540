using System.Numerics;
using System.Runtime.InteropServices;

namespace QuantBuild.Cuda.Emulator;

/// <summary>What a kernel is launched with.</summary>
internal sealed record LaunchShape(int GridX, int GridY, int GridZ, int BlockX, int BlockY, int BlockZ, int DynamicShared)
{
    public int Threads => BlockX * BlockY * BlockZ;

    public long Blocks => (long)GridX * GridY * GridZ;

    /// <summary>Whether it may begin while the kernel before it runs: until a warp has waited for that one, it must not touch what kernels write.</summary>
    public bool Overlaps { get; init; }
}

/// <summary>
/// A block of threads on one of the machine's cores. Its warps run one after another, each until it waits; when a barrier has all its threads they go on. The same object serves many blocks of a launch.
/// </summary>
internal sealed unsafe class Block : IDisposable
{
    public const int Barriers = 16;

    private readonly int[] _expected = new int[Barriers];
    private readonly int[] _arrivedWithoutWaiting = new int[Barriers];
    private readonly (int Held, int Threads)[] _reducing = new (int, int)[Barriers];
    private readonly (int Held, int Threads)[] _reduced = new (int, int)[Barriers];
    private readonly List<(int Slot, int Axis)> _blockIndices = [];

    private readonly List<(int Slot, int Axis)> _gridSizes = [];

    /// <param name="shape">Blocks of one object may be of launches whose grids differ.</param>
    public Block(KernelProgram program, LaunchShape shape, EmulatedDevice device)
    {
        (Program, Shape, Device) = (program, shape, device);
        Near = new Allocation?[program.InstructionCount];
        SharedBytes = program.DynamicSharedStart + shape.DynamicShared;
        Shared = (byte*)NativeMemory.AlignedAlloc((nuint)SharedBytes + 64, 256);
        Warps = new Warp[(shape.Threads + Lanes.Count - 1) / Lanes.Count];
        if (device.Machine.Options.CheckRaces) Races = new(SharedBytes, Warps.Length);
        if (device.Machine.Options.CheckUninitialised) SharedWritten = new byte[SharedBytes];
        for (int i = 0; i < Warps.Length; i++) Warps[i] = NewWarp(i);
    }

    public KernelProgram Program { get; }

    public LaunchShape Shape { get; private set; }

    public byte* Parameters { get; private set; }

    public EmulatedDevice Device { get; }

    public byte* Shared { get; }

    public int SharedBytes { get; }

    /// <summary>Bytes that the object holds, about.</summary>
    public long Bytes => SharedBytes + ((long)Warps.Length * (Program.RegisterBytes + (Program.LocalBytes * Lanes.Count)));

    public Warp[] Warps { get; }

    /// <summary>The allocation that the last access of each instruction fell into: the next one most likely does too.</summary>
    public Allocation?[] Near { get; }

    public RaceDetector? Races { get; }

    /// <summary>A nonzero byte for each byte of shared memory that was written; null where nobody asked.</summary>
    public byte[]? SharedWritten { get; }

    public (int X, int Y, int Z) Index { get; private set; }

    /// <summary>Lane-instructions executed since this was asked last.</summary>
    public long TakeLaneInstructions() => Warps.Sum(w => w.TakeLaneInstructions());

    /// <summary>Makes the object serve a launch.</summary>
    public void Serve(LaunchShape shape, byte* parameters)
    {
        Shape = shape;
        Parameters = parameters;
        foreach (Warp warp in Warps)
        {
            foreach ((int slot, int axis) in _gridSizes) new Span<int>(warp.Registers + slot, Lanes.Count).Fill(axis switch { 0 => shape.GridX, 1 => shape.GridY, _ => shape.GridZ });
        }
    }

    public string ThreadName(int warp, int lane)
    {
        int thread = (warp * Lanes.Count) + lane;
        return $"({thread % Shape.BlockX}, {thread / Shape.BlockX % Shape.BlockY}, {thread / (Shape.BlockX * Shape.BlockY)})";
    }

    private Warp NewWarp(int index)
    {
        Warp warp = new(this, index);
        foreach ((int slot, ulong bits, bool wide) in Program.Constants)
        {
            if (wide) new Span<ulong>(warp.Registers + slot, Lanes.Count).Fill(bits);
            else new Span<uint>(warp.Registers + slot, Lanes.Count).Fill((uint)bits);
        }
        foreach ((int slot, bool value) in Program.ConstantPredicates) *(uint*)(warp.Registers + slot) = value ? uint.MaxValue : 0;
        foreach ((int slot, string name) in Program.Specials)
        {
            uint* lanes = (uint*)(warp.Registers + slot);
            if (name.StartsWith("%ctaid", StringComparison.Ordinal))
            {
                if (index == 0) _blockIndices.Add((slot, name[^1] - 'x'));
                continue;
            }
            if (name.StartsWith("%nctaid", StringComparison.Ordinal))
            {
                if (index == 0) _gridSizes.Add((slot, name[^1] - 'x'));
                continue;
            }
            for (int lane = 0; lane < Lanes.Count; lane++)
            {
                int thread = (index * Lanes.Count) + lane;
                lanes[lane] = (uint)(name switch
                {
                    "%tid.x" => thread % Shape.BlockX,
                    "%tid.y" => thread / Shape.BlockX % Shape.BlockY,
                    "%tid.z" => thread / (Shape.BlockX * Shape.BlockY),
                    "%ntid.x" => Shape.BlockX,
                    "%ntid.y" => Shape.BlockY,
                    "%ntid.z" => Shape.BlockZ,
                    "%laneid" => lane,
                    "%warpid" => index,
                    "%nwarpid" => Warps.Length,
                    "%lanemask_eq" => 1 << lane,
                    "%lanemask_lt" => (1 << lane) - 1,
                    "%lanemask_le" => (int)((2u << lane) - 1),
                    "%lanemask_gt" => (int)~((2u << lane) - 1),
                    "%lanemask_ge" => ~((1 << lane) - 1),
                    "%dynamic_smem_size" => Shape.DynamicShared,
                    "%total_smem_size" => SharedBytes,
                    "%nsmid" => Device.Options.Multiprocessors,
                    "WARP_SZ" => Lanes.Count,
                    "%smid" or "%gridid" => 0,
                    _ => throw new InvalidOperationException(name),
                });
            }
        }
        return warp;
    }

    /// <summary>Runs one block from its first instruction to its last thread's end.</summary>
    /// <param name="budget">Lane-instructions that may still be executed.</param>
    public void Run(int x, int y, int z, ref long budget)
    {
        Index = (x, y, z);
        Races?.Reset();
        SharedWritten?.AsSpan().Clear();
        NativeMemory.Fill(Shared, (nuint)SharedBytes, 0xFF);
        Array.Clear(_expected);
        Array.Clear(_arrivedWithoutWaiting);
        Array.Clear(_reducing);
        for (int i = 0; i < Warps.Length; i++)
        {
            int threads = Math.Min(Lanes.Count, Shape.Threads - (i * Lanes.Count));
            Warps[i].Start(threads == Lanes.Count ? uint.MaxValue : (1u << threads) - 1);
            foreach ((int slot, int axis) in _blockIndices) new Span<int>(Warps[i].Registers + slot, Lanes.Count).Fill(axis switch { 0 => x, 1 => y, _ => z });
        }
        while (true)
        {
            bool done = true;
            foreach (Warp warp in Warps)
            {
                if (warp.State == WarpState.Done) continue;
                warp.Run(ref budget);
                done &= warp.State == WarpState.Done;
            }
            if (done)
            {
                // Whoever waits for this kernel must know that the ones before it are done too.
                if (Warps.FirstOrDefault(w => w.IsAhead) is { } ahead) throw ahead.Fault(CuResult.LaunchFailed, "ends before it waits for the kernel before it (griddepcontrol.wait)");
                return;
            }
            if (!ReleaseBarriers()) throw Warps.First(w => w.State == WarpState.Blocked).Fault(CuResult.LaunchFailed, "no thread of the block can go on: " + string.Join("; ", Warps.Where(w => w.State == WarpState.Blocked).Select(w => w.Waiting())));
        }
    }

    /// <summary>Threads arrive at a barrier; <paramref name="count"/> is 0 for all threads of the block.</summary>
    public void Arrive(Warp warp, int barrier, int count, bool wait)
    {
        _expected[barrier] = count;
        if (wait) warp.WaitAt(barrier);
        else _arrivedWithoutWaiting[barrier] += BitOperations.PopCount(warp.Active);
    }

    /// <summary>Threads that arrive at a barrier leave a predicate.</summary>
    public void Contribute(int barrier, uint held, uint lanes) =>
        _reducing[barrier] = (_reducing[barrier].Held + BitOperations.PopCount(held), _reducing[barrier].Threads + BitOperations.PopCount(lanes));

    /// <summary>How many threads' predicates held when the barrier had all of them, of how many.</summary>
    public (int Held, int Threads) Reduced(int barrier) => _reduced[barrier];

    private bool ReleaseBarriers()
    {
        bool any = false;
        int alive = Warps.Sum(w => BitOperations.PopCount(w.Alive));
        for (int barrier = 0; barrier < Barriers; barrier++)
        {
            int waiting = 0;
            foreach (Warp warp in Warps) waiting += warp.WaitingAt(barrier);
            if (waiting == 0) continue;
            int arrived = waiting + _arrivedWithoutWaiting[barrier], expected = _expected[barrier] == 0 ? alive : _expected[barrier];
            if (arrived < expected) continue;
            Races?.Join(Warps.Where(w => w.WaitingAt(barrier) > 0).Select(w => w.Index));
            foreach (Warp warp in Warps) warp.Release(barrier);
            _arrivedWithoutWaiting[barrier] = 0;
            (_reduced[barrier], _reducing[barrier]) = (_reducing[barrier], default);
            any = true;
        }
        return any;
    }

    public void Dispose()
    {
        foreach (Warp warp in Warps) warp.Dispose();
        NativeMemory.AlignedFree(Shared);
    }
}
