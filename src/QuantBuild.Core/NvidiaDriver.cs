using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

[assembly: DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]

namespace QuantBuild;

/// <summary>The driver of NVIDIA GPUs, as its files and its own interface tell. Asking takes milliseconds, makes no context on a GPU, and needs nothing of CUDA but the driver.</summary>
public static class NvidiaDriver
{
    // cuDeviceGetAttribute: compute capability, major and minor.
    private const int MajorCapability = 75;
    private const int MinorCapability = 76;

    private const int NoDevice = 100;

    /// <summary>The files by which the driver is known, on this system.</summary>
    public static IReadOnlyList<string> Places()
    {
        if (RuntimeInformation.IsOSPlatform(OSPlatform.Windows)) return [Path.Combine(Environment.SystemDirectory, "nvcuda.dll")];
        const string library = "libcuda.so.1";
        string[] folders =
        [
            "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib",
            .. (Environment.GetEnvironmentVariable("LD_LIBRARY_PATH") ?? "").Split([':'], StringSplitOptions.RemoveEmptyEntries),
        ];
        return ["/proc/driver/nvidia/version", .. folders.Select(folder => folder.TrimEnd('/') + "/" + library)];
    }

    /// <summary>The first of these files that is there; <see langword="null"/> where there is no driver.</summary>
    public static string? Find() => Places().FirstOrDefault(File.Exists);

    /// <summary>Asks the driver what it supports and which GPUs it has. <c>CUDA_VISIBLE_DEVICES</c> holds here as it does in every program.</summary>
    public static DriverReport Ask()
    {
        try
        {
            return RuntimeInformation.IsOSPlatform(OSPlatform.Windows)
                ? Ask(Windows.Init, Windows.DriverGetVersion, Windows.DeviceGetCount, Windows.DeviceGet, Windows.DeviceGetName, Windows.DeviceTotalMemory, Windows.DeviceGetAttribute)
                : Ask(Unix.Init, Unix.DriverGetVersion, Unix.DeviceGetCount, Unix.DeviceGet, Unix.DeviceGetName, Unix.DeviceTotalMemory, Unix.DeviceGetAttribute);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException or EntryPointNotFoundException)
        {
            return Find() is { } file
                ? new DriverReport(DriverState.Broken, $"there is {file}, and the driver's library does not load: {e.Message}")
                : new DriverReport(DriverState.Missing, "this machine has no NVIDIA driver");
        }
    }

    private delegate int DeviceGetName(byte[] name, int length, int device);

    private delegate int DeviceGetAttribute(out int value, int attribute, int device);

    private delegate int Get<T>(out T value);

    private delegate int GetOf<T>(out T value, int device);

    private static DriverReport Ask(
        Func<uint, int> init, Get<int> version, Get<int> count, GetOf<int> device, DeviceGetName name, GetOf<UIntPtr> memory, DeviceGetAttribute attribute)
    {
        // The version is known even where there is nothing to initialize.
        int supported = version(out int read) == 0 ? read : 0;
        Version cuda = new(supported / 1000, supported % 1000 / 10);
        int result = init(0);
        int gpus = 0;
        if (result == 0) result = count(out gpus);
        if (result is not (0 or NoDevice))
        {
            return new DriverReport(DriverState.Broken, string.Format(CultureInfo.InvariantCulture, "the NVIDIA driver does not start (cuInit gives the error {0})", result), cuda);
        }

        List<Gpu> found = [];
        for (int i = 0; i < gpus; i++)
        {
            byte[] text = new byte[256];
            // One that does not answer keeps its number, which CUDA counts too.
            found.Add(device(out int handle, i) != 0 || name(text, text.Length, handle) != 0 || memory(out UIntPtr bytes, handle) != 0
                || attribute(out int major, MajorCapability, handle) != 0 || attribute(out int minor, MinorCapability, handle) != 0
                    ? new Gpu("a GPU that does not answer", 0, new Version(0, 0))
                    : new Gpu(Encoding.ASCII.GetString(text).TrimEnd('\0'), (long)bytes.ToUInt64(), new Version(major, minor)));
        }

        return new DriverReport(DriverState.Answers, $"the NVIDIA driver supports CUDA {cuda} and has {Count(found.Count)}", cuda, found);
    }

    private static string Count(int gpus) => gpus switch
    {
        0 => "no GPU",
        1 => "one GPU",
        _ => string.Format(CultureInfo.InvariantCulture, "{0} GPUs", gpus),
    };

    private static class Unix
    {
        private const string Library = "libcuda.so.1";

        [DllImport(Library, EntryPoint = "cuInit")]
        public static extern int Init(uint flags);

        [DllImport(Library, EntryPoint = "cuDriverGetVersion")]
        public static extern int DriverGetVersion(out int version);

        [DllImport(Library, EntryPoint = "cuDeviceGetCount")]
        public static extern int DeviceGetCount(out int count);

        [DllImport(Library, EntryPoint = "cuDeviceGet")]
        public static extern int DeviceGet(out int device, int index);

        [DllImport(Library, EntryPoint = "cuDeviceGetName")]
        public static extern int DeviceGetName([Out] byte[] name, int length, int device);

        [DllImport(Library, EntryPoint = "cuDeviceTotalMem_v2")]
        public static extern int DeviceTotalMemory(out UIntPtr bytes, int device);

        [DllImport(Library, EntryPoint = "cuDeviceGetAttribute")]
        public static extern int DeviceGetAttribute(out int value, int attribute, int device);
    }

    private static class Windows
    {
        private const string Library = "nvcuda";

        [DllImport(Library, EntryPoint = "cuInit")]
        public static extern int Init(uint flags);

        [DllImport(Library, EntryPoint = "cuDriverGetVersion")]
        public static extern int DriverGetVersion(out int version);

        [DllImport(Library, EntryPoint = "cuDeviceGetCount")]
        public static extern int DeviceGetCount(out int count);

        [DllImport(Library, EntryPoint = "cuDeviceGet")]
        public static extern int DeviceGet(out int device, int index);

        [DllImport(Library, EntryPoint = "cuDeviceGetName")]
        public static extern int DeviceGetName([Out] byte[] name, int length, int device);

        [DllImport(Library, EntryPoint = "cuDeviceTotalMem_v2")]
        public static extern int DeviceTotalMemory(out UIntPtr bytes, int device);

        [DllImport(Library, EntryPoint = "cuDeviceGetAttribute")]
        public static extern int DeviceGetAttribute(out int value, int attribute, int device);
    }
}

/// <summary>Whether a machine has an NVIDIA driver that can be asked.</summary>
public enum DriverState
{
    /// <summary>There is none.</summary>
    Missing,

    /// <summary>There is one, and it does not load or does not start.</summary>
    Broken,

    /// <summary>It answers; whether it has a GPU is another question.</summary>
    Answers,
}

/// <summary>What the NVIDIA driver says of itself and of its GPUs.</summary>
/// <param name="State">Whether it can be asked.</param>
/// <param name="Found">What was found, as a part of a sentence.</param>
/// <param name="Cuda">The newest version of CUDA that it supports; 0.0 where it does not say.</param>
/// <param name="Gpus">Its GPUs, by number.</param>
public sealed record DriverReport(DriverState State, string Found, Version? Cuda = null, IReadOnlyList<Gpu>? Gpus = null)
{
    /// <summary>How many GPUs there are.</summary>
    public int Count => Gpus?.Count ?? 0;
}

/// <summary>An NVIDIA GPU.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Memory">Bytes of its memory.</param>
/// <param name="ComputeCapability">Of NVIDIA's generations.</param>
public sealed record Gpu(string Name, long Memory, Version ComputeCapability);
