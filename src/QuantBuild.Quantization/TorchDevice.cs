using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Where torch computes.</summary>
/// <param name="Device">The device.</param>
/// <param name="Description">What to tell the user: which it is, and for <c>auto</c> why.</param>
/// <param name="Gpu">What the driver says of it; <see langword="null"/> where it is the CPU.</param>
public sealed record TorchDevice(torch.Device Device, string Description, Gpu? Gpu = null)
{
    /// <summary>The device of a spelling; loads torch.</summary>
    /// <param name="text"><c>auto</c> (CUDA where it works, else the CPU), <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
    /// <exception cref="QuantBuildException">QB1001 CUDA is asked for and not there, QB1002 torch does not load, QB1006 spelling.</exception>
    public static TorchDevice Choose(string text)
    {
        if (!DeviceName.TryRead(text, out string name, out int index)) throw BuildDevice.Invalid(text);
        NativeLibraries.Load();
        if (name == "cpu") return Cpu("cpu");
        int count = CudaDevices(out string lookedFor);
        if (name == "auto") return count > 0 ? Cuda(0, $"auto took {Label(0)}") : Cpu($"auto took the CPU: {lookedFor}");
        if (index < count) return Cuda(index, Label(index));
        throw new QuantBuildException(
            DiagnosticIds.CudaUnavailable,
            $"The device {name} is not there: {(count > 0 ? string.Create(CultureInfo.InvariantCulture, $"CUDA sees {count} GPU(s), numbered from 0") : lookedFor)}. " +
            "Install the driver and a libtorch with CUDA, or set the device to cpu or auto.");
    }

    private static TorchDevice Cpu(string why) => new(torch.CPU, string.Create(CultureInfo.InvariantCulture, $"{why} ({torch.get_num_threads()} threads)"));

    private static TorchDevice Cuda(int index, string description)
    {
        // Hessians are sums of many products: what TF32 leaves out of each would be in the factor of the sum.
        torch.backends.cuda.matmul.allow_tf32 = false;
        IReadOnlyList<Gpu> gpus = NvidiaDriver.Ask().Gpus ?? [];
        Gpu gpu = index < gpus.Count ? gpus[index] : throw new QuantBuildException(DiagnosticIds.CudaUnavailable, $"Torch uses {Label(index)}, and the NVIDIA driver does not know it. Look at nvidia-smi, or set the device to cpu.");
        return new TorchDevice(torch.device(DeviceType.CUDA, index), $"{description}: {gpu.Name}", gpu);
    }

    private static string Label(int index) => string.Create(CultureInfo.InvariantCulture, $"cuda:{index}");

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
