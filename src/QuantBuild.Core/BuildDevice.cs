using System.Runtime.InteropServices;

namespace QuantBuild;

/// <summary>Where a machine quantizes, and why there. Decided by the driver alone, before any library of torch is restored: which of them are needed depends on it.</summary>
/// <param name="Gpus">The numbers of the GPUs; none for the CPU.</param>
/// <param name="Reason">Why, as a part of a sentence.</param>
public sealed record BuildDevice(IReadOnlyList<int> Gpus, string Reason)
{
    /// <summary>The version of CUDA that the libraries of torch are built with.</summary>
    public static readonly Version CudaVersion = new(12, 8);

    /// <summary>The oldest of NVIDIA's generations for which they have kernels: Volta.</summary>
    public static readonly Version LeastCapability = new(7, 0);

    // Those that have a package libtorch-cuda-12.8-<platform>.
    private static readonly string[] Platforms = ["linux-x64", "win-x64"];

    /// <summary>The portable runtime identifier of this machine: .NET's own names the distribution, where one built it.</summary>
    public static string Platform
    {
        get
        {
            string system = RuntimeInformation.IsOSPlatform(OSPlatform.Windows) ? "win" : RuntimeInformation.IsOSPlatform(OSPlatform.OSX) ? "osx" : "linux";
            return $"{system}-{RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant()}";
        }
    }

    /// <summary><c>cpu</c>, <c>cuda:N</c>, or <c>cuda:N+M</c>.</summary>
    public string Device => IsCuda ? DeviceName.Of(Gpus) : DeviceName.Cpu;

    /// <summary>Whether it is a GPU.</summary>
    public bool IsCuda => Gpus.Count > 0;

    /// <summary>Chooses.</summary>
    /// <param name="device">As <see cref="DeviceName"/> has it.</param>
    /// <param name="driver">Asks the driver; not called for <c>cpu</c>.</param>
    /// <param name="platform">The portable runtime identifier of this machine.</param>
    /// <exception cref="QuantBuildException">
    /// QB1006: the spelling. Where a GPU is asked for: QB1001 there is no driver, or it does not start; QB1050 it is too old; QB1051 it has no GPU; QB1052 no GPU of that number;
    /// QB1057 the GPU is too old; QB1053 libtorch is not made with CUDA for this platform.
    /// </exception>
    public static BuildDevice Of(string device, Func<DriverReport> driver, string platform)
    {
        if (!DeviceName.TryRead(device, out string name, out _)) throw Invalid(device);
        if (name == DeviceName.Cpu) return new BuildDevice([], "it is asked for");
        DriverReport? report = Platforms.Contains(platform) ? driver() : null;
        return Hindrance(report, platform) is { } hindrance ? Without(name, hindrance) : Among(device, report!);
    }

    /// <summary>Chooses among the GPUs of a driver that can be used.</summary>
    /// <param name="device">As <see cref="DeviceName"/> has it, but not <c>cpu</c>.</param>
    /// <param name="report">What the driver says.</param>
    /// <exception cref="QuantBuildException">QB1006: the spelling. Where a GPU is asked for: QB1051 there is none; QB1052 none of that number; QB1057 it is too old.</exception>
    public static BuildDevice Among(string device, DriverReport report)
    {
        if (!DeviceName.TryRead(device, out string name, out IReadOnlyList<int> numbers)) throw Invalid(device);
        if (report.Count == 0) return Without(name, NoGpu(report));
        int[] usable = [.. Enumerable.Range(0, report.Count).Where(number => IsUsable(report.Gpus![number]))];
        foreach (int number in numbers)
        {
            if (number >= report.Count)
            {
                string last = DeviceName.Of([report.Count - 1]);
                return Without(name, (DiagnosticIds.GpuNumberInvalid, $"{DeviceName.Of([number])} does not exist: {report.Found}, and numbers begin with 0", $"Say {last}"));
            }

            if (!usable.Contains(number)) return Without(name, TooOld([number], report));
        }

        if (usable.Length == 0) return Without(name, TooOld(Enumerable.Range(0, report.Count), report));
        if (numbers.Count > 0) return new BuildDevice(numbers, "it is asked for");
        if (name == DeviceName.AllCuda) return new BuildDevice(usable, string.Join("; ", usable.Select(number => Described(report, number))));
        string others = usable.Length > 1 ? $" ({DeviceName.AllCuda} takes {(usable.Length == report.Count ? "all" : DeviceName.Of(usable))})" : "";
        return new BuildDevice([usable[0]], name == DeviceName.Auto ? $"{Described(report, usable[0])}; {report.Found}{others}" : "it is asked for");
    }

    /// <summary>The error of a device that is none.</summary>
    public static QuantBuildException Invalid(string device) => new(
        DiagnosticIds.DeviceInvalid,
        $"The device \"{device}\" does not exist.{DeviceName.Hint(device)} It is one of auto, cpu, cuda, cuda:N with the number of a GPU, such as cuda:0, cuda:N+M with those of several, or cuda:all. Set QuantBuildDevice, or --device, to one of them, or leave it out for auto.");

    // A GPU of which the driver does not say what it is has none.
    private static bool IsUsable(Gpu gpu) => gpu.ComputeCapability >= LeastCapability;

    /// <summary>The CPU, where that may be; else the error.</summary>
    private static BuildDevice Without(string name, (string Id, string Found, string Advice) hindrance) => name == DeviceName.Auto
        ? new BuildDevice([], hindrance.Found)
        : throw new QuantBuildException(hindrance.Id, $"The device is to be {name}, and {hindrance.Found}. {hindrance.Advice}, or set the device to auto or cpu.");

    /// <summary>Why no GPU can be used; <see langword="null"/> where some can.</summary>
    private static (string Id, string Found, string Advice)? Hindrance(DriverReport? report, string platform)
    {
        if (report is null)
        {
            return (DiagnosticIds.CudaPlatform, $"libtorch is made with CUDA for {string.Join(" and ", Platforms)}, and this machine is {platform}", "Quantize on one of these and share its cache");
        }

        if (report.State != DriverState.Answers)
        {
            return (
                DiagnosticIds.CudaUnavailable,
                report.Found,
                $"Looked for {string.Join(", ", NvidiaDriver.Places())}. Install the driver (nvidia-smi shows whether it works), pass the GPU on to the container");
        }

        // Asked first: a driver without a GPU is on many machines, and its age is then not what matters.
        if (report.Count == 0) return NoGpu(report);
        return report.Cuda >= CudaVersion
            ? null
            : (DiagnosticIds.DriverTooOld, $"the NVIDIA driver supports CUDA {report.Cuda}, expected {CudaVersion} or later", "Install a driver of version 570 or later");
    }

    private static (string Id, string Found, string Advice) NoGpu(DriverReport report) =>
        (DiagnosticIds.GpuMissing, report.Found, "Look at nvidia-smi and at CUDA_VISIBLE_DEVICES, pass the GPU on to the container");

    private static (string Id, string Found, string Advice) TooOld(IEnumerable<int> numbers, DriverReport report) => (
        DiagnosticIds.GpuTooOld,
        string.Join("; ", numbers.Select(number => $"{DeviceName.Of([number])} is too old: {report.Gpus![number].Name} has compute capability {report.Gpus[number].ComputeCapability}, expected {LeastCapability} or later")),
        "Take another GPU");

    private static string Described(DriverReport report, int number)
    {
        Gpu gpu = report.Gpus![number];
        return $"{gpu.Name}, {MemoryLimit.Text(gpu.Memory)}, compute capability {gpu.ComputeCapability}";
    }
}
