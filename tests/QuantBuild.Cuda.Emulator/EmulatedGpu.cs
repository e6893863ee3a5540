namespace QuantBuild.Cuda.Emulator;

/// <summary>
/// A machine with an NVIDIA driver, in this process: <see cref="Resolve"/> gives the driver's functions by name, which execute PTX on the CPU and check every access to memory. Instances do not
/// know of each other, so tests may run side by side; the functions of an instance must not be called after it was disposed.
/// </summary>
public sealed class EmulatedGpu : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<string> _violations = [];
    private readonly DriverApi _driver;
    private long _launches, _graphLaunches, _laneInstructions, _bytesToHost, _bytesToDevice;

    /// <summary>A machine, powered on.</summary>
    public EmulatedGpu(EmulatedGpuOptions? options = null)
    {
        Options = options ?? new();
        Memory = new(Options.CheckUninitialised);
        Devices = [.. Options.Devices.Select((device, ordinal) => new EmulatedDevice(this, ordinal, device))];
        _driver = new(this);
    }

    /// <summary>What it was made with.</summary>
    public EmulatedGpuOptions Options { get; }

    /// <summary>Bytes of device memory in use, without the modules' variables.</summary>
    public long AllocatedBytes => Devices.Sum(d => d.AllocatedBytes);

    /// <summary>Pieces of device memory in use, without the modules' variables.</summary>
    public int LiveAllocations => _driver.LiveAllocations;

    /// <summary>Contexts, streams, events, modules, functions and graphs that were made and not destroyed.</summary>
    public int LiveObjects => _driver.LiveObjects;

    /// <summary>Kernels run, those of graphs too.</summary>
    public long Launches => Interlocked.Read(ref _launches);

    /// <summary>Graphs run.</summary>
    public long GraphLaunches => Interlocked.Read(ref _graphLaunches);

    /// <summary>Instructions run, times the lanes that ran them.</summary>
    public long LaneInstructions => Interlocked.Read(ref _laneInstructions);

    /// <summary>Bytes copied from devices to the machine's memory.</summary>
    public long BytesToHost => Interlocked.Read(ref _bytesToHost);

    /// <summary>Bytes copied from the machine's memory to devices.</summary>
    public long BytesToDevice => Interlocked.Read(ref _bytesToDevice);

    /// <summary>What a kernel or a caller did that it must not do, each with the kernel, the instruction and the thread.</summary>
    public IReadOnlyList<string> Violations
    {
        get
        {
            lock (_lock) return [.. _violations];
        }
    }

    internal DeviceMemory Memory { get; }

    internal IReadOnlyList<EmulatedDevice> Devices { get; }

    /// <summary>The address of a driver function with the C calling convention; 0 where this driver lacks it.</summary>
    public nint Resolve(string export) => Options.MissingExports.Contains(export) ? 0 : _driver.Resolve(export);

    internal void AddViolation(string violation)
    {
        lock (_lock)
        {
            // A loop that errs would err for ever.
            if (_violations.Count < 1000) _violations.Add(violation);
        }
    }

    internal long CountLaunch() => Interlocked.Increment(ref _launches);

    internal void CountToHost(ulong bytes) => Interlocked.Add(ref _bytesToHost, (long)bytes);

    internal void CountToDevice(ulong bytes) => Interlocked.Add(ref _bytesToDevice, (long)bytes);

    internal void CountGraphLaunch() => Interlocked.Increment(ref _graphLaunches);

    internal void CountLaneInstructions(long count) => Interlocked.Add(ref _laneInstructions, count);

    /// <inheritdoc/>
    public void Dispose()
    {
        _driver.Dispose();
        foreach (EmulatedDevice device in Devices) device.Dispose();
        Memory.Dispose();
    }
}
