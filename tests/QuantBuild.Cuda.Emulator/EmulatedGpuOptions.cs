namespace QuantBuild.Cuda.Emulator;

/// <summary>The machine to emulate.</summary>
public sealed record EmulatedGpuOptions
{
    /// <summary>What <c>cuDriverGetVersion</c> says: 12080 for CUDA 12.8.</summary>
    public int DriverVersion { get; init; } = 12080;

    /// <summary>The devices, by ordinal.</summary>
    public IReadOnlyList<EmulatedDeviceOptions> Devices { get; init; } = [new()];

    /// <summary>What <c>cuInit</c> fails with: 100 where there is no device, 803 where driver and library differ; null where it succeeds.</summary>
    public int? FailInit { get; init; }

    /// <summary>Exports that this driver lacks.</summary>
    public IReadOnlyCollection<string> MissingExports { get; init; } = [];

    /// <summary>Bytes of the machine's own memory that can be locked at a time.</summary>
    public long LockableMemory { get; init; } = long.MaxValue;

    /// <summary>Asked before each launch, with its number from 1 and the kernel's name: a result other than 0 loses the device with it (719, 214).</summary>
    public Func<long, string, int>? LaunchFault { get; init; }

    /// <summary>Whether two warps that touch the same shared memory with no barrier between are a violation. Costs time.</summary>
    public bool CheckRaces { get; init; }

    /// <summary>Whether reading device or shared memory that nobody wrote is a violation. Costs time and memory.</summary>
    public bool CheckUninitialised { get; init; }

    /// <summary>Host cores that run blocks; 0 for all.</summary>
    public int Cores { get; init; }

    /// <summary>Lane-instructions after which a core's share of a launch counts as endless.</summary>
    public long MaxLaneInstructions { get; init; } = 2_000_000_000_000;
}

/// <summary>One device.</summary>
public sealed record EmulatedDeviceOptions
{
    /// <summary>Its name.</summary>
    public string Name { get; init; } = "Emulated GPU";

    /// <summary>The compute capability's first number.</summary>
    public int Major { get; init; } = 8;

    /// <summary>The compute capability's second number.</summary>
    public int Minor { get; init; }

    /// <summary>Bytes of device memory.</summary>
    public long TotalMemory { get; init; } = 8L << 30;

    /// <summary>Multiprocessors.</summary>
    public int Multiprocessors { get; init; } = 16;

    /// <summary>Bytes of L2 cache.</summary>
    public int L2CacheSize { get; init; } = 4 << 20;

    /// <summary>Bytes of shared memory that a block may have once a kernel asks for them.</summary>
    public int SharedMemoryPerBlockOptin { get; init; } = 99 << 10;

    /// <summary>Memory clock in kHz.</summary>
    public int MemoryClockRate { get; init; } = 6_000_000;

    /// <summary>Bits of the memory bus.</summary>
    public int MemoryBusWidth { get; init; } = 256;
}
