using System.Globalization;
using System.Runtime.InteropServices;

namespace QuantBuild;

/// <summary>Where a machine quantizes, and why there. Decided by the driver alone, before any library of torch is restored: which of them are needed depends on it.</summary>
/// <param name="Device"><c>cpu</c>, or <c>cuda:N</c>.</param>
/// <param name="Reason">Why, as a part of a sentence.</param>
public sealed record BuildDevice(string Device, string Reason)
{
    /// <summary>The version of CUDA that the libraries of torch are built with.</summary>
    public static readonly Version CudaVersion = new(12, 8);

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

    /// <summary>Whether it is a GPU.</summary>
    public bool IsCuda => Device != "cpu";

    /// <summary>Chooses.</summary>
    /// <param name="device"><c>auto</c> (a GPU where one can be used, else the CPU), <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
    /// <param name="driver">Asks the driver; not called for <c>cpu</c>.</param>
    /// <param name="platform">The portable runtime identifier of this machine.</param>
    /// <exception cref="QuantBuildException">
    /// QB1006: the spelling. Where a GPU is asked for: QB1001 there is no driver, or it does not start; QB1050 it is too old; QB1051 it has no GPU; QB1052 no GPU of that number;
    /// QB1053 libtorch is not made with CUDA for this platform.
    /// </exception>
    public static BuildDevice Of(string device, Func<DriverReport> driver, string platform)
    {
        if (!DeviceName.TryRead(device, out string name, out int index)) throw Invalid(device);
        if (name == "cpu") return new BuildDevice("cpu", "it is asked for");
        bool isAuto = name == "auto";
        DriverReport? report = Platforms.Contains(platform) ? driver() : null;
        if (Hindrance(device, report, index, platform) is { } hindrance)
        {
            return isAuto ? new BuildDevice("cpu", hindrance.Found) : throw new QuantBuildException(hindrance.Id, $"The device is to be {name}, and {hindrance.Found}. {hindrance.Advice}, or set the device to auto or cpu.");
        }

        return new BuildDevice(string.Format(CultureInfo.InvariantCulture, "cuda:{0}", index), isAuto ? Described(report!, index) : "it is asked for");
    }

    /// <summary>The error of a device that is none.</summary>
    public static QuantBuildException Invalid(string device) => new(
        DiagnosticIds.DeviceInvalid,
        $"The device \"{device}\" does not exist.{DeviceName.Hint(device)} It is one of auto, cpu, cuda, or cuda:N with the number of a GPU, such as cuda:0. Set QuantBuildDevice, or --device, to one of them, or leave it out for auto.");

    /// <summary>Why a GPU cannot be used; <see langword="null"/> where it can.</summary>
    private static (string Id, string Found, string Advice)? Hindrance(string device, DriverReport? report, int index, string platform)
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
        if (report.Count == 0) return (DiagnosticIds.GpuMissing, report.Found, "Look at nvidia-smi and at CUDA_VISIBLE_DEVICES, pass the GPU on to the container");
        if (report.Cuda < CudaVersion)
        {
            return (DiagnosticIds.DriverTooOld, $"the NVIDIA driver supports CUDA {report.Cuda}, expected {CudaVersion} or later", "Install a driver of version 570 or later");
        }

        return index < report.Count
            ? null
            : (DiagnosticIds.GpuNumberInvalid, $"{device} does not exist: {report.Found}, and numbers begin with 0", string.Format(CultureInfo.InvariantCulture, "Say cuda:{0}", report.Count - 1));
    }

    private static string Described(DriverReport report, int index)
    {
        Gpu gpu = report.Gpus![index];
        return $"{gpu.Name}, {MemoryLimit.Text(gpu.Memory)}, compute capability {gpu.ComputeCapability}; {report.Found}";
    }
}
