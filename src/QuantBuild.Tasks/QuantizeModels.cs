using System.Diagnostics;
using System.Globalization;
using Microsoft.Build.Framework;
using MSBuildTask = Microsoft.Build.Utilities.Task;

namespace QuantBuild.Tasks;

/// <summary>
/// Puts the artifact of each declared model under <c>obj</c>: from the cache where it has it, else by running the worker. What was there stays
/// until the new one is whole.
/// </summary>
public sealed class QuantizeModels : MSBuildTask, ICancelableTask, IDisposable
{
    // Longer without a sign of life, and one wonders whether the build hangs.
    private static readonly TimeSpan LongestSilence = TimeSpan.FromSeconds(10);

    // What the worker ends with when it was told to stop: 128 + SIGINT.
    private const int Interrupted = 130;

    private readonly CancellationTokenSource cancellation = new();

    /// <summary>What <see cref="DeclareModels"/> gave.</summary>
    [Required]
    public ITaskItem[] Models { get; set; } = [];

    /// <summary>Where to quantize: <c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</summary>
    [Required]
    public string Device { get; set; } = "";

    /// <summary>Full path of the worker.</summary>
    [Required]
    public string WorkerAssembly { get; set; } = "";

    /// <summary>The <c>dotnet</c> to run the worker with; empty is the one on the path.</summary>
    public string DotNetHost { get; set; } = "";

    /// <summary>
    /// Folders of NuGet packages that have the worker's libraries, the first to be asked first; empty where they are beside the worker.
    /// </summary>
    public string[] PackageFolders { get; set; } = [];

    /// <summary>Folder of libtorch relative to a package folder; empty where the worker knows better.</summary>
    public string LibTorchFolder { get; set; } = "";

    /// <inheritdoc/>
    public void Cancel() => cancellation.Cancel();

    /// <inheritdoc/>
    public void Dispose() => cancellation.Dispose();

    /// <inheritdoc/>
    public override bool Execute()
    {
        ModelCache cache = ModelCache.Default();
        foreach (DeclaredModel model in Models.Select(DeclaredModel.FromItem))
        {
            try
            {
                bool isCurrent = ArtifactLink.IsCurrent(model);
                bool ran = false;
                // The worker said why there is no artifact. One model that fails keeps no other from its place.
                if (!isCurrent && !ArtifactLink.IsCached(model, cache) && !Quantize(model, cache, out ran)) continue;
                bool accepted = Judge(model, isCurrent ? model.BuildRecordPath : cache.BuildRecordPath(model.Fingerprint), warningsAreShown: ran);
                if (accepted && !isCurrent) ArtifactLink.Create(model, cache);
            }
            catch (QuantBuildException e)
            {
                Log.ErrorAt(e, model.Position);
            }
            catch (OperationCanceledException)
            {
                Log.LogMessage(MessageImportance.High, $"{model.ClassName}: cancelled; what is done is kept, and the next build goes on from there.");
                return false;
            }
        }

        return !Log.HasLoggedErrors;
    }

    /// <summary>
    /// Holds an artifact against the gates, and shows what its quantizer warned of. Both happen in every build, whoever made the artifact and
    /// when: a gate may be new, and a warning that is an error here must not become none because a second build finds the cache filled.
    /// </summary>
    /// <returns>Whether this build accepts the artifact: not where one of the warnings is an error in it.</returns>
    private bool Judge(DeclaredModel model, string buildRecordPath, bool warningsAreShown)
    {
        BuildFindings findings = BuildFindings.Read(buildRecordPath);
        if (!warningsAreShown)
        {
            foreach (BuildWarning warning in findings.Warnings) Warn(model, warning.Id, warning.Text);
        }

        model.Gates.Check(findings.Quality, model.Spec);
        return !findings.Warnings.Any(warning => BuildEngine is IBuildEngine8 engine && engine.ShouldTreatWarningAsError(warning.Id));
    }

    private void Warn(DeclaredModel model, string id, string text) => Log.WarningAt(id, $"{model.ClassName}: {text}", model.Position);

    /// <summary>Runs a worker, unless another build has made the artifact while this one waited for it.</summary>
    /// <returns>Whether there is an artifact now; if not, the worker said why.</returns>
    private bool Quantize(DeclaredModel model, ModelCache cache, out bool ran)
    {
        void Waiting() => Log.LogMessage(MessageImportance.High, $"{model.ClassName}: another build is quantizing it; waiting for that.");
        using (cache.Lock(model.Fingerprint, Waiting, cancellation.Token))
        {
            ran = !ArtifactLink.IsCached(model, cache);
            if (!ran) return true;
            try
            {
                SaveRequest(model, cache);
                return RunWorker(model, cache);
            }
            finally
            {
                TemporaryFile.Delete(model.RequestPath);
            }
        }
    }

    private void SaveRequest(DeclaredModel model, ModelCache cache)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(model.RequestPath))!);
            new WorkerRequest
            {
                ModelPath = model.ModelPath,
                Spec = model.Spec,
                Gates = model.Gates,
                MaxMemory = model.MaxMemory,
                CalibrationFile = model.CalibrationFile,
                EvaluationFile = model.EvaluationFile,
                Device = Device,
                Fingerprint = model.Fingerprint,
                ArtifactPath = cache.ArtifactPath(model.Fingerprint),
                BuildRecordPath = cache.BuildRecordPath(model.Fingerprint),
            }.Save(model.RequestPath);
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            throw WriteFailure.Of(model.RequestPath, e);
        }
    }

    private bool RunWorker(DeclaredModel model, ModelCache cache)
    {
        List<KeyValuePair<string, string>> environment =
        [
            // Threads that spin while they wait slow everything else down, and themselves: see "Facts about the ground" in the design.
            new("OMP_WAIT_POLICY", "PASSIVE"),
        ];
        if (LibTorchFolder.Length > 0) environment.Add(new("QUANTBUILD_LIBTORCH", LibTorchPath()));

        string[] probing = [.. PackageFolders.SelectMany(folder => new[] { "--additionalprobingpath", folder.TrimEnd('/', '\\') })];
        WorkerProcess worker = new(
            DotNetHost.Length > 0 ? DotNetHost : "dotnet",
            ["exec", .. probing, WorkerAssembly, "quantize", "--request", Path.GetFullPath(model.RequestPath)],
            environment);

        Log.LogMessage(MessageImportance.Normal, $"{model.ClassName}: {worker.CommandLine}");
        bool done = false;
        bool failed = false;
        string step = "starting";
        Stopwatch watch = Stopwatch.StartNew();
        int exitCode = worker.Run(
            line =>
            {
                WorkerMessage? message = WorkerMessage.TryParse(line);
                if (message is { Kind: WorkerMessageKind.Progress }) step = message.Text;
                done |= message is { Kind: WorkerMessageKind.Done };
                failed |= message is { Kind: WorkerMessageKind.Error };
                Show(model, message, line);
            },
            () => Log.LogMessage(
                MessageImportance.High,
                string.Format(CultureInfo.InvariantCulture, "{0}: {1}, {2:F0} s so far", model.ClassName, step, watch.Elapsed.TotalSeconds)),
            LongestSilence,
            cancellation.Token);

        // A Ctrl+C reaches the worker as well as the build, and may reach it first.
        if (exitCode == Interrupted) throw new OperationCanceledException();

        // An error that the worker sent says it all.
        if (failed) return false;
        if (done && exitCode == 0 && ArtifactLink.IsCached(model, cache)) return true;
        string said = worker.Errors.Count > 0
            ? "It said: " + string.Join(Environment.NewLine, worker.Errors)
            : "It said nothing.";
        throw new QuantBuildException(
            DiagnosticIds.WorkerFailed,
            $"The worker that quantizes {model.ClassName} ended with exit code {exitCode} and without a result, expected an artifact. " +
            $"Out of memory is a common cause (exit code 137). {said}");
    }

    private void Show(DeclaredModel model, WorkerMessage? message, string line)
    {
        switch (message)
        {
            case null:
                Log.LogMessage(MessageImportance.Low, $"{model.ClassName}: {line}");
                break;
            case { Kind: WorkerMessageKind.Progress, SecondsLeft: { } seconds }:
                Log.LogMessage(MessageImportance.High, $"{model.ClassName}: {message.Text}, {Duration(seconds)} left");
                break;
            case { Kind: WorkerMessageKind.Warning }:
                Warn(model, message.Code ?? "", message.Text);
                break;
            case { Kind: WorkerMessageKind.Error }:
                Log.ErrorAt(message.Code ?? DiagnosticIds.WorkerFailed, message.Text, model.Position);
                break;
            default:
                Log.LogMessage(MessageImportance.High, $"{model.ClassName}: {message.Text}");
                break;
        }
    }

    private static string Duration(double seconds) => seconds < 90
        ? string.Format(CultureInfo.InvariantCulture, "{0:F0} s", seconds)
        : string.Format(CultureInfo.InvariantCulture, "{0:F0} min", seconds / 60);

    private string LibTorchPath()
    {
        string[] places = [.. PackageFolders.Select(folder => Path.GetFullPath(Path.Combine(folder, LibTorchFolder)))];
        return places.FirstOrDefault(Directory.Exists) ?? throw new QuantBuildException(
            DiagnosticIds.WorkerRestoreFailed,
            $"libtorch was restored and is not where it belongs. Looked for {string.Join(", ", places)}. Delete its package folder and build again.");
    }
}
