using System.ComponentModel;
using System.Globalization;
using System.Runtime.InteropServices;
using QuantBuild.Kernels;
using QuantBuild.Quantization;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>Looks at everything outside of a project that a build or a program can fail for.</summary>
/// <param name="device">Where to quantize: <c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
/// <param name="restores">Whether to restore torch where it is not there yet.</param>
/// <param name="report">Hears of a restore.</param>
/// <param name="cancellationToken">Ends the processes that are started.</param>
internal sealed class DoctorRun(string device, bool restores, IReport report, CancellationToken cancellationToken)
{
    private const long GB = 1_000_000_000;
    private readonly ModelCache cache = ModelCache.Default();

    /// <summary>Looks.</summary>
    public Diagnosis Diagnose()
    {
        Check[] checks =
        [
            new(".NET", CheckStatus.Ok, $"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}, {RuntimeInformation.RuntimeIdentifier}"),
            Sdk(),
            Processor(),
            Memory(),
            .. Torch(),
            Disk("disk of the cache", cache.Root, ModelCache.RootVariable),
            Disk("disk of temporary files", Path.GetTempPath(), OperatingSystem.IsWindows() ? "TEMP" : "TMPDIR"),
            Cache(),
        ];
        return new Diagnosis(Array.TrueForAll(checks, check => check.Status != CheckStatus.Problem), checks);
    }

    private Check Sdk()
    {
        const string name = "SDK";
        const string advice = "Install the .NET 10 SDK, and have dotnet on the PATH. Artifacts that are there can be used without it.";
        if (SdkProcess.Run(Path.GetTempPath(), cancellationToken, "--list-sdks") is not { ExitCode: 0 } listed) return new Check(name, CheckStatus.Warning, "there is no dotnet command: nothing can be built", advice);
        string[] versions = [.. listed.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' ')[0].Trim())];
        bool isNew = versions.Any(version => int.TryParse(version.Split('.')[0], NumberStyles.None, CultureInfo.InvariantCulture, out int major) && major >= Environment.Version.Major);
        return isNew
            ? new Check(name, CheckStatus.Ok, string.Join(", ", versions))
            : new Check(name, CheckStatus.Warning, versions.Length > 0 ? $"{string.Join(", ", versions)}, expected 10 or later" : "none is installed: nothing can be built", advice);
    }

    private static Check Processor()
    {
        string found = $"{Reporting.Processor.Name}, {Environment.ProcessorCount} threads, kernels use {PackedKernels.Instructions}";
        return PackedKernels.Instructions == PackedKernels.PortableInstructions
            ? new Check("processor", CheckStatus.Warning, found, "Text is generated several times faster on a processor with AVX2 or Arm's dot product. Results are the same.")
            : new Check("processor", CheckStatus.Ok, found);
    }

    private static Check Memory()
    {
        long free = FreeMemory.Bytes(), all = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        return Check.Enough(
            "memory",
            free,
            few: 2 * GB,
            tooFew: GB / 2,
            $"{Number.Bytes(free)} free of {Number.Bytes(all)}",
            "Close other programs. A build keeps within what is free and says so beforehand if that is too little; MaxMemory bounds it further.");
    }

    /// <summary>Driver and torch, which belong together: a driver alone is of no use to a libtorch for processors.</summary>
    private IEnumerable<Check> Torch()
    {
        string? driver = NvidiaDriver.Find();
        if (!restores && !TorchLibraries.AreThere)
        {
            yield return new Check("device", CheckStatus.Ok, driver is null ? "no NVIDIA driver: models are quantized on the CPU" : $"NVIDIA driver: {driver}");
            yield return new Check(
                "torch", CheckStatus.Warning, "not restored yet", $"The first {CommandLine.Name} quantize restores it (some 450 MB); {CommandLine.Name} doctor --restore does so now, and checks it.");
            yield break;
        }

        if (restores) TorchLibraries.Use(report, cancellationToken);
        (string? found, Check? problem) = Probe();
        bool isOnGpu = found?.Contains("(cuda", StringComparison.Ordinal) == true;
        yield return driver switch
        {
            null => new Check("device", CheckStatus.Ok, "no NVIDIA driver: models are quantized on the CPU"),
            _ when found is null || isOnGpu || device == "cpu" => new Check("device", CheckStatus.Ok, $"NVIDIA driver: {driver}"),
            _ => new Check(
                "device",
                CheckStatus.Warning,
                $"NVIDIA driver: {driver}, and torch does not use it",
                $"Models are quantized on the CPU. Set {NativeLibraries.FolderVariable} to the folder of a libtorch with CUDA that fits the driver."),
        };
        yield return problem ?? new Check("torch", CheckStatus.Ok, found!);
    }

    private (string? Found, Check? Problem) Probe()
    {
        string? found = null;
        Check? problem = null;
        try
        {
            (int exitCode, string said) = SelfProcess.Run(
                ["probe", device],
                line =>
                {
                    WorkerMessage? message = WorkerMessage.TryParse(line);
                    if (message is { Kind: WorkerMessageKind.Done }) found = message.Text;
                    if (message is { Kind: WorkerMessageKind.Error }) problem = new Check("torch", CheckStatus.Problem, $"{message.Code}: {message.Text}", DiagnosticIds.HelpLink(message.Code!));
                },
                cancellationToken);
            if (found is null && problem is null)
            {
                problem = new Check(
                    "torch",
                    CheckStatus.Problem,
                    $"the process that loads it ended with exit code {exitCode}. {said}".TrimEnd(),
                    "A native library is not for this machine, or damaged. Delete the folders torchsharp and libtorch-cpu-… from the package folder, and restore them again.");
            }
        }
        catch (Win32Exception e)
        {
            problem = new Check("torch", CheckStatus.Problem, $"the process that loads it did not start: {e.Message}", "Install the .NET 10 runtime again.");
        }

        return (problem is null ? found : null, problem);
    }

    private static Check Disk(string name, string folder, string variable)
    {
        long? free = FreeDisk.Bytes(folder);
        return Check.Enough(
            name,
            free,
            few: 5 * GB,
            tooFew: GB / 2,
            $"{(free is null ? "the system does not say what is" : Number.Bytes(free))} free at {folder}",
            $"Make room, or set {variable} to a folder on a disk that has some. An artifact of 4 bits takes some half a byte a weight, and a build as much again while it runs.");
    }

    private Check Cache()
    {
        const string name = "cache";
        string probe = Path.Combine(cache.Root, $"{Guid.NewGuid():N}.tmp");
        try
        {
            Directory.CreateDirectory(cache.Root);
            File.WriteAllText(probe, "");
            File.Delete(probe);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new Check(name, CheckStatus.Problem, cache.NotWritable(e).Message, DiagnosticIds.HelpLink(cache.NotWritable(e).Id));
        }

        return new Check(name, CheckStatus.Ok, $"{cache.Root}, writable, {Number.Bytes(cache.Bytes())}, artifacts: {Number.Count(cache.Entries().Count)}");
    }
}
