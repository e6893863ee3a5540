namespace QuantBuild.Cuda.Emulator;

/// <summary>A context: everything in it goes when it goes.</summary>
internal sealed class DriverContext(EmulatedDevice device)
{
    public nint Handle { get; set; }

    public EmulatedDevice Device => device;

    public int References { get; set; }

    public HashSet<nint> Owned { get; } = [];

    public HashSet<ulong> Allocations { get; } = [];

    /// <summary>Captures that are under way.</summary>
    public List<StreamCapture> Captures { get; } = [];
}

internal sealed class DriverStream(DriverContext context)
{
    public DriverContext Context => context;

    public StreamCapture? Capture { get; set; }

    /// <summary>Whether a captured stream did something that no other stream of the capture waits for.</summary>
    public bool Unjoined { get; set; }
}

/// <summary>Work recorded instead of run.</summary>
internal sealed class StreamCapture(DriverStream origin, int mode)
{
    public DriverStream Origin => origin;

    /// <summary>0 global, 1 thread-local, 2 relaxed.</summary>
    public int Mode => mode;

    public int Thread { get; } = Environment.CurrentManagedThreadId;

    public bool Invalid { get; set; }

    public List<Func<CuResult>> Work { get; } = [];

    public List<DriverStream> Streams { get; } = [origin];
}

internal sealed class DriverEvent(DriverContext context, uint flags)
{
    public DriverContext Context => context;

    public bool HasTime => (flags & 2) == 0;

    public long Recorded { get; set; }

    public StreamCapture? Capture { get; set; }

    public DriverStream? CapturedOn { get; set; }
}

internal sealed record DriverGraph(List<Func<CuResult>> Work);

/// <summary>An instance of a graph: a copy of the graph's work as it was.</summary>
internal sealed record DriverGraphInstance(DriverContext Context, List<Func<CuResult>> Work);

internal sealed class DriverModule(DriverContext context)
{
    public DriverContext Context => context;

    public Dictionary<string, Allocation> Variables { get; } = [];

    public Dictionary<string, DriverFunction> Functions { get; } = [];
}

internal sealed class DriverFunction(DriverContext context, KernelProgram program, int binaryVersion)
{
    public DriverContext Context => context;

    public KernelProgram Program => program;

    public int BinaryVersion => binaryVersion;

    public int MaxDynamicShared { get; set; } = (48 << 10) - program.StaticShared;
}
