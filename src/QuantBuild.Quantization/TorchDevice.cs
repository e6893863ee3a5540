using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Where torch computes.</summary>
/// <param name="Name">As <see cref="DeviceName"/> has it: the CPU, or GPUs by their numbers.</param>
/// <param name="Description">What to tell the user: which it is, and for <c>auto</c> why.</param>
/// <param name="Devices">The devices, which share the work.</param>
/// <param name="Gpus">What the driver says of each; none where it is the CPU.</param>
public sealed record TorchDevice(string Name, string Description, IReadOnlyList<torch.Device> Devices, IReadOnlyList<Gpu> Gpus)
{
    /// <summary>The device of a spelling; loads torch.</summary>
    /// <param name="text">As <see cref="DeviceName"/> has it; <c>auto</c> is CUDA where it works, else the CPU.</param>
    /// <exception cref="QuantBuildException">QB1001 CUDA is asked for and not there, QB1002 torch does not load, QB1006 spelling, QB1051 no GPU, QB1052 none of that number, QB1057 it is too old.</exception>
    public static TorchDevice Choose(string text)
    {
        if (!DeviceName.TryRead(text, out string name, out _)) throw BuildDevice.Invalid(text);
        NativeLibraries.Load();
        if (name == DeviceName.Cpu) return Cpu(name);
        bool isAuto = name == DeviceName.Auto;
        int count = CudaDevices(out string lookedFor);
        if (count == 0 && isAuto) return Cpu($"auto took the CPU: {lookedFor}");
        if (count == 0) throw Unavailable(name, lookedFor);
        DriverReport driver = NvidiaDriver.Ask();
        if (driver.Count != count) throw Unavailable(name, FormattableString.Invariant($"CUDA sees {count} GPUs, and the NVIDIA driver {driver.Count}"));
        BuildDevice choice = BuildDevice.Among(text, driver);
        return choice.IsCuda ? Cuda(choice, driver, isAuto) : Cpu($"auto took the CPU: {choice.Reason}");
    }

    private static TorchDevice Cpu(string why) => new(DeviceName.Cpu, string.Create(CultureInfo.InvariantCulture, $"{why} ({torch.get_num_threads()} threads)"), [torch.CPU], []);

    private static TorchDevice Cuda(BuildDevice choice, DriverReport driver, bool isAuto)
    {
        // Hessians are sums of many products: what TF32 leaves out of each would be in the factor of the sum.
        torch.backends.cuda.matmul.allow_tf32 = false;
        IReadOnlyList<Gpu> gpus = [.. choice.Gpus.Select(number => driver.Gpus![number])];
        string unlike = gpus.Distinct().Count() > 1 ? "; they are not alike, and each gets as much to do: the slowest decides" : "";
        return new TorchDevice(
            choice.Device,
            $"{(isAuto ? "auto took " : "")}{choice.Device}: {string.Join(", ", gpus.Select(gpu => gpu.Name))}{unlike}",
            [.. choice.Gpus.Select(number => torch.device(DeviceType.CUDA, number))],
            gpus);
    }

    private static QuantBuildException Unavailable(string name, string found) => new(
        DiagnosticIds.CudaUnavailable,
        $"The device {name} cannot be used: {found}. Install the driver and a libtorch with CUDA, or set the device to cpu or auto.");

    private static int CudaDevices(out string lookedFor)
    {
        string folder = NativeLibraries.LoadedFrom ?? "";
        string library = NativeLibraries.FileName("torch_cuda");
        if (!File.Exists(Path.Combine(folder, library)))
        {
            lookedFor = $"looked for {library} in {folder}, and this libtorch has none";
            return 0;
        }

        try
        {
            if (torch.cuda.is_available())
            {
                lookedFor = "";
                return torch.cuda.device_count();
            }

            lookedFor = $"{library} is in {folder}, and CUDA found no driver with a GPU that it can use";
        }
        catch (Exception e) when (e is NotSupportedException or DllNotFoundException or ExternalException)
        {
            lookedFor = $"{library} is in {folder}, and does not work: {e.Message}";
        }

        return 0;
    }
}
