using System.ComponentModel;
using System.Globalization;
using System.Runtime.InteropServices;
using QuantBuild.Kernels;
using QuantBuild.Quantization;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>Looks at everything outside of a project that a build or a program can fail for.</summary>
/// <param name="device">Where to quantize, as <see cref="DeviceName"/> has it.</param>
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
            .. Devices(),
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

    /// <summary>The driver, the device that it makes possible, and the libraries of torch for that, which belong together.</summary>
    private IEnumerable<Check> Devices()
    {
        DriverReport driver = NvidiaDriver.Ask();
        yield return Driver(driver);
        (BuildDevice? choice, Check? impossible) = Choose(driver);
        if (choice is null)
        {
            yield return impossible!;
            yield break;
        }

        Check chosen = new("device", CheckStatus.Ok, $"{(choice.IsCuda ? choice.Device : "the CPU")}: {choice.Reason}");
        string libraries = choice.IsCuda ? "torch with CUDA" : "torch";
        if (!restores && !TorchLibraries.AreThere(device))
        {
            yield return chosen;
            yield return new Check(
                "torch",
                CheckStatus.Warning,
                $"{libraries} is not restored yet",
                $"The first {CommandLine.Name} quantize restores it (some {(choice.IsCuda ? "5 GB" : "450 MB")}); {CommandLine.Name} doctor --restore does so now, and checks it.");
            yield break;
        }

        if (restores) TorchLibraries.Use(device, report, cancellationToken);
        (string? found, Check? problem) = Probe();
        bool isUnused = choice.IsCuda && found?.Contains("(cuda", StringComparison.Ordinal) == false;
        yield return !isUnused ? chosen : new Check(
            chosen.Name,
            CheckStatus.Warning,
            $"{chosen.Found}; and torch does not use it",
            $"Models are quantized on the CPU. Set {NativeLibraries.FolderVariable} to the folder of a libtorch with CUDA {BuildDevice.CudaVersion} that fits the driver.");
        yield return problem ?? new Check("torch", CheckStatus.Ok, found!);
    }

    private static Check Driver(DriverReport driver)
    {
        const string name = "driver";
        string gpus = string.Concat((driver.Gpus ?? []).Select((gpu, i) =>
            string.Create(CultureInfo.InvariantCulture, $"; cuda:{i}: {gpu.Name}, {Number.Bytes(gpu.Memory)}, compute capability {gpu.ComputeCapability}")));
        return driver switch
        {
            { State: DriverState.Missing } => new Check(name, CheckStatus.Ok, driver.Found),
            { State: DriverState.Broken } => new Check(name, CheckStatus.Warning, driver.Found, "Look at nvidia-smi, and install the driver again. After an update of the driver the machine has to be started anew."),
            { Count: 0 } => new Check(name, CheckStatus.Ok, driver.Found),
            _ when driver.Cuda < BuildDevice.CudaVersion => new Check(
                name, CheckStatus.Warning, $"{driver.Found}{gpus}", $"Install a driver that supports CUDA {BuildDevice.CudaVersion} (570 or later): till then models are quantized on the CPU."),
            _ => new Check(name, CheckStatus.Ok, driver.Found + gpus),
        };
    }

    private (BuildDevice? Choice, Check? Problem) Choose(DriverReport driver)
    {
        try
        {
            return (BuildDevice.Of(device, () => driver, BuildDevice.Platform), null);
        }
        catch (QuantBuildException e)
        {
            return (null, new Check("device", CheckStatus.Problem, $"{e.Id}: {e.Message}", DiagnosticIds.HelpLink(e.Id)));
        }
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
                    "A native library is not for this machine, or damaged. Delete the folders torchsharp and libtorch-… from the package folder, and restore them again.");
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
