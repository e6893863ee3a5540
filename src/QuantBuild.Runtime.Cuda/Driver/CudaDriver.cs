using System.Runtime.InteropServices;
using System.Text;

namespace QuantBuild.Cuda.Driver;

/// <summary>
/// The functions of the CUDA driver API (NVIDIA, CUDA Driver API Reference Manual) that are used, bound by name when the driver is there: nothing is linked, so that a program starts on machines without one.
/// </summary>
internal sealed unsafe class CudaDriver
{
    /// <summary>The oldest driver that takes the kernels: PTX 7.0 came with CUDA 11.0.</summary>
    public const int OldestVersion = 11000;

    private readonly delegate* unmanaged<uint, int> init;
    private readonly delegate* unmanaged<int*, int> driverGetVersion;
    private readonly delegate* unmanaged<int*, int> deviceGetCount;
    private readonly delegate* unmanaged<int*, int, int> deviceGet;
    private readonly delegate* unmanaged<byte*, int, int, int> deviceGetName;
    private readonly delegate* unmanaged<int*, int, int, int> deviceGetAttribute;
    private readonly delegate* unmanaged<int, byte**, int> getErrorName;
    private readonly delegate* unmanaged<int, byte**, int> getErrorString;

    /// <param name="export">The address of a function of the driver by its name; 0 where there is none.</param>
    /// <exception cref="QuantBuildException">QB1070: the driver is too old, does not start, or sees no GPU.</exception>
    public CudaDriver(Func<string, IntPtr> export)
    {
        init = (delegate* unmanaged<uint, int>)Find(export, "cuInit");
        driverGetVersion = (delegate* unmanaged<int*, int>)Find(export, "cuDriverGetVersion");
        deviceGetCount = (delegate* unmanaged<int*, int>)Find(export, "cuDeviceGetCount");
        deviceGet = (delegate* unmanaged<int*, int, int>)Find(export, "cuDeviceGet");
        deviceGetName = (delegate* unmanaged<byte*, int, int, int>)Find(export, "cuDeviceGetName");
        deviceGetAttribute = (delegate* unmanaged<int*, int, int, int>)Find(export, "cuDeviceGetAttribute");
        getErrorName = (delegate* unmanaged<int, byte**, int>)Find(export, "cuGetErrorName");
        getErrorString = (delegate* unmanaged<int, byte**, int>)Find(export, "cuGetErrorString");
        int version = 0;
        CheckStart(driverGetVersion(&version));
        if (version < OldestVersion)
        {
            throw Unavailable($"its driver is for CUDA {version / 1000}.{version % 1000 / 10}, expected at least {OldestVersion / 1000}.{OldestVersion % 1000 / 10} (driver 450). Update the driver");
        }

        DriverVersion = version;
        CheckStart(init(0));
        int count = 0;
        CheckStart(deviceGetCount(&count));
        DeviceCount = count > 0 ? count : throw Unavailable("the driver sees no GPU. In a container, pass it on (docker run --gpus all); CUDA_VISIBLE_DEVICES may hide it");
        ContextRetain = (delegate* unmanaged<IntPtr*, int, int>)Find(export, "cuDevicePrimaryCtxRetain");
        ContextRelease = (delegate* unmanaged<int, int>)Find(export, "cuDevicePrimaryCtxRelease_v2");
        ContextSetCurrent = (delegate* unmanaged<IntPtr, int>)Find(export, "cuCtxSetCurrent");
        MemoryInfo = (delegate* unmanaged<nuint*, nuint*, int>)Find(export, "cuMemGetInfo_v2");
        MemoryAllocate = (delegate* unmanaged<IntPtr*, nuint, int>)Find(export, "cuMemAlloc_v2");
        MemoryFree = (delegate* unmanaged<IntPtr, int>)Find(export, "cuMemFree_v2");
        HostAllocate = (delegate* unmanaged<void**, nuint, uint, int>)Find(export, "cuMemHostAlloc");
        HostFree = (delegate* unmanaged<void*, int>)Find(export, "cuMemFreeHost");
        CopyToDevice = (delegate* unmanaged<IntPtr, void*, nuint, IntPtr, int>)Find(export, "cuMemcpyHtoDAsync_v2");
        CopyToHost = (delegate* unmanaged<void*, IntPtr, nuint, IntPtr, int>)Find(export, "cuMemcpyDtoHAsync_v2");
        CopyOnDevice = (delegate* unmanaged<IntPtr, IntPtr, nuint, IntPtr, int>)Find(export, "cuMemcpyDtoDAsync_v2");
        FillBytes = (delegate* unmanaged<IntPtr, byte, nuint, IntPtr, int>)Find(export, "cuMemsetD8Async");
        StreamCreate = (delegate* unmanaged<IntPtr*, uint, int>)Find(export, "cuStreamCreate");
        StreamDestroy = (delegate* unmanaged<IntPtr, int>)Find(export, "cuStreamDestroy_v2");
        StreamSynchronize = (delegate* unmanaged<IntPtr, int>)Find(export, "cuStreamSynchronize");
        EventCreate = (delegate* unmanaged<IntPtr*, uint, int>)Find(export, "cuEventCreate");
        EventDestroy = (delegate* unmanaged<IntPtr, int>)Find(export, "cuEventDestroy_v2");
        EventRecord = (delegate* unmanaged<IntPtr, IntPtr, int>)Find(export, "cuEventRecord");
        EventSynchronize = (delegate* unmanaged<IntPtr, int>)Find(export, "cuEventSynchronize");
        ModuleLoad = (delegate* unmanaged<IntPtr*, void*, uint, int*, void**, int>)Find(export, "cuModuleLoadDataEx");
        ModuleUnload = (delegate* unmanaged<IntPtr, int>)Find(export, "cuModuleUnload");
        ModuleGetFunction = (delegate* unmanaged<IntPtr*, IntPtr, byte*, int>)Find(export, "cuModuleGetFunction");
        FunctionSetAttribute = (delegate* unmanaged<IntPtr, int, int, int>)Find(export, "cuFuncSetAttribute");
        Launch = (delegate* unmanaged<IntPtr, uint, uint, uint, uint, uint, uint, uint, IntPtr, void**, void**, int>)Find(export, "cuLaunchKernel");
        LaunchEx = (delegate* unmanaged<LaunchConfiguration*, IntPtr, void**, void**, int>)export("cuLaunchKernelEx");
        CaptureBegin = (delegate* unmanaged<IntPtr, int, int>)Find(export, "cuStreamBeginCapture_v2");
        CaptureEnd = (delegate* unmanaged<IntPtr, IntPtr*, int>)Find(export, "cuStreamEndCapture");
        // Its first form has the same parameters as the one with flags has since CUDA 11.4.
        GraphInstantiate = (delegate* unmanaged<IntPtr*, IntPtr, ulong, int>)export("cuGraphInstantiateWithFlags");
        GraphLaunch = (delegate* unmanaged<IntPtr, IntPtr, int>)Find(export, "cuGraphLaunch");
        GraphExecDestroy = (delegate* unmanaged<IntPtr, int>)Find(export, "cuGraphExecDestroy");
        GraphDestroy = (delegate* unmanaged<IntPtr, int>)Find(export, "cuGraphDestroy");
    }

    /// <summary>The newest CUDA that the driver knows, as 1000 major + 10 minor.</summary>
    public int DriverVersion { get; }

    /// <summary>GPUs that it sees; at least one.</summary>
    public int DeviceCount { get; }

    public delegate* unmanaged<IntPtr*, int, int> ContextRetain { get; }

    public delegate* unmanaged<int, int> ContextRelease { get; }

    public delegate* unmanaged<IntPtr, int> ContextSetCurrent { get; }

    public delegate* unmanaged<nuint*, nuint*, int> MemoryInfo { get; }

    public delegate* unmanaged<IntPtr*, nuint, int> MemoryAllocate { get; }

    public delegate* unmanaged<IntPtr, int> MemoryFree { get; }

    public delegate* unmanaged<void**, nuint, uint, int> HostAllocate { get; }

    public delegate* unmanaged<void*, int> HostFree { get; }

    public delegate* unmanaged<IntPtr, void*, nuint, IntPtr, int> CopyToDevice { get; }

    public delegate* unmanaged<void*, IntPtr, nuint, IntPtr, int> CopyToHost { get; }

    public delegate* unmanaged<IntPtr, IntPtr, nuint, IntPtr, int> CopyOnDevice { get; }

    public delegate* unmanaged<IntPtr, byte, nuint, IntPtr, int> FillBytes { get; }

    public delegate* unmanaged<IntPtr*, uint, int> StreamCreate { get; }

    public delegate* unmanaged<IntPtr, int> StreamDestroy { get; }

    public delegate* unmanaged<IntPtr, int> StreamSynchronize { get; }

    public delegate* unmanaged<IntPtr*, uint, int> EventCreate { get; }

    public delegate* unmanaged<IntPtr, int> EventDestroy { get; }

    public delegate* unmanaged<IntPtr, IntPtr, int> EventRecord { get; }

    public delegate* unmanaged<IntPtr, int> EventSynchronize { get; }

    public delegate* unmanaged<IntPtr*, void*, uint, int*, void**, int> ModuleLoad { get; }

    public delegate* unmanaged<IntPtr, int> ModuleUnload { get; }

    public delegate* unmanaged<IntPtr*, IntPtr, byte*, int> ModuleGetFunction { get; }

    public delegate* unmanaged<IntPtr, int, int, int> FunctionSetAttribute { get; }

    public delegate* unmanaged<IntPtr, uint, uint, uint, uint, uint, uint, uint, IntPtr, void**, void**, int> Launch { get; }

    /// <summary>Missing in drivers before CUDA 11.8: there, kernels do not overlap.</summary>
    public delegate* unmanaged<LaunchConfiguration*, IntPtr, void**, void**, int> LaunchEx { get; }

    public delegate* unmanaged<IntPtr, int, int> CaptureBegin { get; }

    public delegate* unmanaged<IntPtr, IntPtr*, int> CaptureEnd { get; }

    /// <summary>Missing in drivers before CUDA 11.4: there, nothing is captured.</summary>
    public delegate* unmanaged<IntPtr*, IntPtr, ulong, int> GraphInstantiate { get; }

    public delegate* unmanaged<IntPtr, IntPtr, int> GraphLaunch { get; }

    public delegate* unmanaged<IntPtr, int> GraphExecDestroy { get; }

    public delegate* unmanaged<IntPtr, int> GraphDestroy { get; }

    /// <summary>The driver of this machine.</summary>
    /// <exception cref="QuantBuildException">QB1070: there is none, or it cannot be used.</exception>
    public static CudaDriver Load()
    {
        string[] names = OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1", "libcuda.so"];
        foreach (string name in names)
        {
            if (NativeLibrary.TryLoad(name, out IntPtr library)) return new CudaDriver(export => NativeLibrary.TryGetExport(library, export, out IntPtr address) ? address : 0);
        }

        throw Unavailable($"it has no NVIDIA driver: {names[0]} was not found. Install the driver");
    }

    /// <summary>A GPU by its number.</summary>
    /// <exception cref="QuantBuildException">QB1070: there is no such one.</exception>
    public int Device(int index)
    {
        if (index >= DeviceCount)
        {
            throw Unavailable($"cuda:{index} does not exist: the driver sees {(DeviceCount == 1 ? "1 GPU, cuda:0" : $"{DeviceCount} GPUs, cuda:0 to cuda:{DeviceCount - 1}")}. Choose one of them");
        }

        int device = 0;
        Check(deviceGet(&device, index), "find the GPU");
        return device;
    }

    /// <summary>What a GPU calls itself.</summary>
    public string Name(int device)
    {
        byte* name = stackalloc byte[256];
        Check(deviceGetName(name, 255, device), "read the name of the GPU");
        return Text(name);
    }

    /// <summary>A property of a GPU, by its number in the driver API.</summary>
    public int Attribute(DeviceAttribute attribute, int device)
    {
        int value = 0;
        Check(deviceGetAttribute(&value, (int)attribute, device), "read the properties of the GPU");
        return value;
    }

    /// <summary>Throws what a result means.</summary>
    /// <param name="result">What a function returned.</param>
    /// <param name="doing">What was to be done, such as "copy to the GPU".</param>
    /// <exception cref="QuantBuildException">QB1071: the memory is full. QB1072: anything else.</exception>
    public void Check(int result, string doing)
    {
        if (result == 0) return;
        if (result == OutOfMemory)
        {
            throw new QuantBuildException(
                DiagnosticIds.GpuMemoryFull,
                $"The memory of the GPU is full: the driver could not {doing}. Compute fewer or shorter texts at a time (LoadOptions.MaxConcurrentTexts, PromptCacheTokens, KvCache), end other programs that use it, or set LoadOptions.Device to cpu.");
        }

        throw new QuantBuildException(
            DiagnosticIds.GpuFailed,
            $"The GPU failed: the driver could not {doing} ({Describe(result)}). The model cannot be used any more: dispose it and load it again. If that fails too, look at nvidia-smi and the system's log, or set LoadOptions.Device to cpu.");
    }

    /// <summary>Throws what it means that the machine's own memory could not be locked for the GPU.</summary>
    /// <param name="result">What a function returned.</param>
    /// <param name="bytes">What was to be locked.</param>
    /// <exception cref="QuantBuildException">QB1071: the machine's memory is full. QB1072: anything else.</exception>
    public void CheckHost(int result, long bytes)
    {
        if (result == OutOfMemory)
        {
            throw new QuantBuildException(
                DiagnosticIds.GpuMemoryFull,
                $"The machine has no memory left that a GPU can copy from and to: the driver could not lock {bytes} bytes of it. End other programs, give the machine or the container more memory, or set LoadOptions.Device to cpu.");
        }

        Check(result, $"lock {bytes} bytes of the machine's memory");
    }

    /// <summary>What the driver calls an error.</summary>
    public string Describe(int result)
    {
        byte* name = null, text = null;
        if (getErrorName(result, &name) != 0 || name is null) return $"error {result}";
        return getErrorString(result, &text) == 0 && text is not null ? $"{Text(name)}: {Text(text)}" : Text(name);
    }

    private const int OutOfMemory = 2;

    /// <summary>The error of a machine on which no GPU can be used.</summary>
    /// <param name="reason">Why, and what to do: ends where "or set …" can follow.</param>
    public static QuantBuildException Unavailable(string reason) => new(
        DiagnosticIds.GpuUnavailable, $"No GPU can be used on this machine: {reason}, or set LoadOptions.Device to cpu.");

    private void CheckStart(int result)
    {
        if (result == 0) return;
        throw Unavailable(result switch
        {
            100 => "the driver sees no GPU (CUDA_ERROR_NO_DEVICE). In a container, pass it on (docker run --gpus all); CUDA_VISIBLE_DEVICES may hide it",
            803 => "the library of the driver and the driver itself are of different versions (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH). Restart the machine after an update of the driver, or update the container's image",
            _ => $"the driver does not start ({Describe(result)}). Look at nvidia-smi",
        });
    }

    private static IntPtr Find(Func<string, IntPtr> export, string name) => export(name) is not 0 and IntPtr address
        ? address
        : throw Unavailable($"its driver lacks {name}, which drivers for CUDA {OldestVersion / 1000}.{OldestVersion % 1000 / 10} (450) and newer have. Update the driver");

    private static string Text(byte* text)
    {
        int length = 0;
        while (text[length] != 0) length++;
        return Encoding.UTF8.GetString(text, length);
    }
}

/// <summary>Properties of a GPU, as the driver API numbers them (CUdevice_attribute).</summary>
internal enum DeviceAttribute
{
    Multiprocessors = 16,
    ComputeCapabilityMajor = 75,
    ComputeCapabilityMinor = 76,
    SharedMemoryOfBlock = 97,
}

/// <summary>How a kernel is launched: <c>CUlaunchConfig</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct LaunchConfiguration
{
    public uint GridX;
    public uint GridY;
    public uint GridZ;
    public uint BlockX;
    public uint BlockY;
    public uint BlockZ;
    public uint SharedBytes;
    public IntPtr Stream;
    public LaunchAttribute* Attributes;
    public uint AttributeCount;
}

/// <summary>One thing about a launch: <c>CUlaunchAttribute</c>, whose value has 64 bytes from the eighth on.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal struct LaunchAttribute
{
    /// <summary><c>CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION</c>: whether the kernel may begin while the one before it runs.</summary>
    public const int MayOverlap = 6;

    [FieldOffset(0)]
    public int Id;

    [FieldOffset(8)]
    public int Value;
}
