using System.Text;

namespace QuantBuild.Cuda.Driver;

/// <summary>
/// A GPU with its memory, one queue of work, and the kernels that were loaded. Several threads may call it; what it computes is in the order of the calls.
/// </summary>
/// <remarks>The device's own context is used (its primary one), which other libraries in the process share; other processes have theirs, and cannot reach into this one's memory.</remarks>
internal sealed unsafe class CudaDevice : IDisposable
{
    private readonly CudaDriver driver;
    private readonly int device;
    private readonly IntPtr context;
    private readonly IntPtr stream;
    private readonly List<IntPtr> modules = [];
    private readonly HashSet<IntPtr> allocations = [];
    private readonly HashSet<IntPtr> hostAllocations = [];
    private readonly HashSet<IntPtr> events = [];
    private readonly List<IntPtr> graphs = [];
    private readonly Lock guard = new();

    // While a thread captures, whatever another one queued would be captured too: it waits.
    private readonly Lock queueing = new();
    private bool disposed;

    /// <exception cref="QuantBuildException">QB1070: there is no such GPU, or it is too old. QB1072: it failed.</exception>
    public CudaDevice(CudaDriver driver, int index)
    {
        this.driver = driver;
        device = driver.Device(index);
        Name = driver.Name(device);
        Capability = (10 * driver.Attribute(DeviceAttribute.ComputeCapabilityMajor, device)) + driver.Attribute(DeviceAttribute.ComputeCapabilityMinor, device);
        if (Capability < OldestCapability)
        {
            throw CudaDriver.Unavailable(
                $"cuda:{index} ({Name}) has the compute capability {Capability / 10}.{Capability % 10}, expected at least {OldestCapability / 10}.{OldestCapability % 10} (Turing, 2018). Choose another");
        }

        Multiprocessors = driver.Attribute(DeviceAttribute.Multiprocessors, device);
        SharedMemoryOfBlock = driver.Attribute(DeviceAttribute.SharedMemoryOfBlock, device);
        IntPtr retained = 0, created = 0;
        driver.Check(driver.ContextRetain(&retained, device), "begin to use the GPU");
        context = retained;
        try
        {
            Use();
            // Not behind the default stream of others in the process.
            const uint nonBlocking = 1;
            driver.Check(driver.StreamCreate(&created, nonBlocking), "make a stream");
            stream = created;
        }
        catch
        {
            driver.ContextRelease(device);
            throw;
        }
    }

    /// <summary>The oldest compute capability that runs the kernels, as 10 major + minor.</summary>
    public const int OldestCapability = 75;

    public string Name { get; }

    /// <summary>10 major + minor.</summary>
    public int Capability { get; }

    public int Multiprocessors { get; }

    /// <summary>Bytes of shared memory that a block may have.</summary>
    public int SharedMemoryOfBlock { get; }

    /// <summary>Bytes that are allocated.</summary>
    public long Allocated { get; private set; }

    /// <summary>Whether work can be captured and launched as one.</summary>
    public bool HasGraphs => driver.GraphInstantiate != null;

    /// <summary>Whether a kernel may begin while the one before it runs, captured ones too (from compute capability 9.0 and CUDA 12.3 on).</summary>
    public bool Overlaps => Capability >= 90 && driver.DriverVersion >= 12030 && driver.LaunchEx != null;

    /// <summary>Makes the calling thread one that may queue work.</summary>
    public void Use() => driver.Check(driver.ContextSetCurrent(context), "use the GPU on this thread");

    /// <summary>Bytes of memory that nobody uses, other processes included.</summary>
    public long FreeMemory()
    {
        Use();
        nuint free = 0, total = 0;
        driver.Check(driver.MemoryInfo(&free, &total), "read how much memory is free");
        return (long)free;
    }

    /// <summary>Memory of the device.</summary>
    /// <exception cref="QuantBuildException">QB1071: there is none left.</exception>
    public IntPtr Allocate(long bytes)
    {
        Use();
        IntPtr memory = 0;
        driver.Check(driver.MemoryAllocate(&memory, (nuint)Math.Max(1, bytes)), $"allocate {bytes} bytes");
        lock (guard)
        {
            allocations.Add(memory);
            Allocated += bytes;
        }

        return memory;
    }

    /// <summary>Gives memory back. What was queued before is done first.</summary>
    /// <param name="memory">What <see cref="Allocate"/> gave.</param>
    /// <param name="bytes">Its size.</param>
    public void Free(IntPtr memory, long bytes)
    {
        lock (guard)
        {
            // Under the lock: the context must not be released meanwhile.
            if (disposed || !allocations.Remove(memory)) return;
            Allocated -= bytes;
            // A device that failed has lost its memory anyway.
            _ = driver.ContextSetCurrent(context);
            _ = driver.MemoryFree(memory);
        }
    }

    /// <summary>Memory of the machine that the device copies from and to by itself; lives as long as this.</summary>
    /// <exception cref="QuantBuildException">QB1071: the machine has none left.</exception>
    public void* AllocateHost(long bytes)
    {
        Use();
        void* memory;
        driver.CheckHost(driver.HostAllocate(&memory, (nuint)Math.Max(1, bytes), 0), bytes);
        lock (guard) hostAllocations.Add((IntPtr)memory);
        return memory;
    }

    public void FreeHost(void* memory)
    {
        lock (guard)
        {
            if (disposed || !hostAllocations.Remove((IntPtr)memory)) return;
            _ = driver.ContextSetCurrent(context);
            _ = driver.HostFree(memory);
        }
    }

    /// <summary>Queues a copy to the device; the source must not change before it is done.</summary>
    public void CopyTo(IntPtr target, void* source, long bytes)
    {
        lock (queueing) Do(driver.CopyToDevice(target, source, (nuint)bytes, stream), "copy to the GPU");
    }

    /// <summary>Queues a copy from the device.</summary>
    public void CopyFrom(void* target, IntPtr source, long bytes)
    {
        lock (queueing) Do(driver.CopyToHost(target, source, (nuint)bytes, stream), "copy from the GPU");
    }

    public void Copy(IntPtr target, IntPtr source, long bytes)
    {
        lock (queueing) Do(driver.CopyOnDevice(target, source, (nuint)bytes, stream), "copy on the GPU");
    }

    public void Clear(IntPtr target, long bytes)
    {
        lock (queueing) Do(driver.FillBytes(target, 0, (nuint)bytes, stream), "clear memory of the GPU");
    }

    /// <summary>Waits for all that is queued.</summary>
    public void Synchronize()
    {
        lock (queueing) Do(driver.StreamSynchronize(stream), "finish what was queued");
    }

    /// <summary>A mark in the queue that can be waited for.</summary>
    public IntPtr CreateEvent()
    {
        Use();
        IntPtr created = 0;
        const uint noTiming = 2;
        driver.Check(driver.EventCreate(&created, noTiming), "make an event");
        lock (guard) events.Add(created);
        return created;
    }

    public void Record(IntPtr mark)
    {
        lock (queueing) Do(driver.EventRecord(mark, stream), "mark the queue");
    }

    public void WaitFor(IntPtr mark)
    {
        lock (queueing) Do(driver.EventSynchronize(mark), "finish what was queued");
    }

    public void DestroyEvent(IntPtr mark)
    {
        lock (guard)
        {
            if (disposed || !events.Remove(mark)) return;
            _ = driver.ContextSetCurrent(context);
            _ = driver.EventDestroy(mark);
        }
    }

    /// <summary>Loads kernels: the driver compiles them for the device, and keeps what it made for the next time.</summary>
    /// <param name="ptx">The kernels, as PTX, ending in a zero.</param>
    /// <param name="name">What to call them in errors.</param>
    /// <exception cref="QuantBuildException">QB1072: the driver refuses them.</exception>
    public IntPtr LoadModule(ReadOnlySpan<byte> ptx, string name)
    {
        // CU_JIT_ERROR_LOG_BUFFER and its size in bytes.
        const int errorLog = 5, errorLogSize = 6, logBytes = 8192;
        Use();
        byte[] log = new byte[logBytes];
        IntPtr module = 0;
        int result;
        fixed (byte* text = ptx, buffer = log)
        {
            int* options = stackalloc int[] { errorLog, errorLogSize };
            void** values = stackalloc void*[] { buffer, (void*)(IntPtr)logBytes };
            result = driver.ModuleLoad(&module, text, 2, options, values);
        }

        if (result != 0)
        {
            string said = Encoding.UTF8.GetString(log.AsSpan(0, Math.Max(0, Array.IndexOf(log, (byte)0)))).Trim();
            driver.Check(result, $"compile the kernels {name}{(said.Length > 0 ? $" (it says: {said})" : "")}");
        }

        lock (guard) modules.Add(module);
        return module;
    }

    /// <summary>A kernel of a module.</summary>
    /// <param name="module">The module.</param>
    /// <param name="name">The kernel.</param>
    /// <param name="needsShared">Whether its launches say how much shared memory they take, up to <see cref="SharedMemoryOfBlock"/>.</param>
    public IntPtr Function(IntPtr module, string name, bool needsShared = false)
    {
        Use();
        IntPtr function = 0;
        fixed (byte* text = Encoding.UTF8.GetBytes(name + "\0")) driver.Check(driver.ModuleGetFunction(&function, module, text), $"find the kernel {name}");
        // Some take more than the 48 KB that every kernel may have. What a launch asks for is what counts.
        const int largestDynamicShared = 8;
        if (needsShared) driver.Check(driver.FunctionSetAttribute(function, largestDynamicShared, SharedMemoryOfBlock), $"give the kernel {name} shared memory");
        return function;
    }

    /// <summary>Queues a kernel.</summary>
    /// <param name="function">The kernel.</param>
    /// <param name="grid">Blocks.</param>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="parameters">Pointers to its parameters.</param>
    /// <param name="overlaps">Whether it may begin while the kernel before it runs: it waits itself for what that one writes. Only where <see cref="Overlaps"/>.</param>
    /// <param name="sharedBytes">Shared memory of a block, beside what the kernel has anyway; none where it overlaps.</param>
    public void Launch(IntPtr function, (int X, int Y, int Z) grid, int threads, void** parameters, bool overlaps, int sharedBytes = 0)
    {
        const string doing = "run a kernel";
        if (!overlaps)
        {
            lock (queueing) Do(driver.Launch(function, (uint)grid.X, (uint)grid.Y, (uint)grid.Z, (uint)threads, 1, 1, (uint)sharedBytes, stream, parameters, null), doing);
            return;
        }

        LaunchAttribute attribute = new() { Id = LaunchAttribute.MayOverlap, Value = 1 };
        LaunchConfiguration configuration = new()
        {
            GridX = (uint)grid.X,
            GridY = (uint)grid.Y,
            GridZ = (uint)grid.Z,
            BlockX = (uint)threads,
            BlockY = 1,
            BlockZ = 1,
            SharedBytes = (uint)sharedBytes,
            Stream = stream,
            Attributes = &attribute,
            AttributeCount = 1,
        };
        lock (queueing) Do(driver.LaunchEx(&configuration, function, parameters, null), doing);
    }

    /// <summary>What is queued meanwhile, as one piece of work that can be repeated; it is not done yet.</summary>
    /// <returns>A graph, for <see cref="Repeat"/>; lives as long as this.</returns>
    public IntPtr Capture(Action queue)
    {
        lock (queueing) return Captured(queue);
    }

    /// <summary>Queues what was captured.</summary>
    public void Repeat(IntPtr graph)
    {
        lock (queueing) Do(driver.GraphLaunch(graph, stream), "run a graph");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (guard)
        {
            if (disposed) return;
            disposed = true;
        }

        // A device that failed answers all of this with errors, and has nothing left to release.
        _ = driver.ContextSetCurrent(context);
        _ = driver.StreamSynchronize(stream);
        foreach (IntPtr graph in graphs) _ = driver.GraphExecDestroy(graph);
        foreach (IntPtr mark in events) _ = driver.EventDestroy(mark);
        foreach (IntPtr memory in allocations) _ = driver.MemoryFree(memory);
        foreach (IntPtr memory in hostAllocations) _ = driver.HostFree((void*)memory);
        foreach (IntPtr module in modules) _ = driver.ModuleUnload(module);
        _ = driver.StreamDestroy(stream);
        _ = driver.ContextSetCurrent(0);
        _ = driver.ContextRelease(device);
    }

    private IntPtr Captured(Action queue)
    {
        // Other threads go on to use memory.
        const int threadLocal = 1;
        IntPtr graph = 0, executable = 0;
        Do(driver.CaptureBegin(stream, threadLocal), "begin to capture");
        try
        {
            queue();
        }
        catch
        {
            if (driver.CaptureEnd(stream, &graph) == 0 && graph != 0) _ = driver.GraphDestroy(graph);
            throw;
        }

        driver.Check(driver.CaptureEnd(stream, &graph), "end to capture");
        try
        {
            driver.Check(driver.GraphInstantiate(&executable, graph, 0), "make a graph");
        }
        finally
        {
            _ = driver.GraphDestroy(graph);
        }

        lock (guard) graphs.Add(executable);
        return executable;
    }

    // The queue may be used by any thread, and each needs the context.
    private void Do(int result, string doing)
    {
        const int invalidContext = 201;
        if (result == invalidContext) throw new InvalidOperationException($"The GPU was not in use on this thread before it was to {doing}.");
        driver.Check(result, doing);
    }
}
