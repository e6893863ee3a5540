using System.Diagnostics;
using System.Globalization;
using Microsoft.Build.Framework;
using MSBuildTask = Microsoft.Build.Utilities.Task;

namespace QuantBuild.Tasks;

/// <summary>A task that runs the worker on declared models, one after the other, and shows what it says.</summary>
public abstract class WorkerTask : MSBuildTask, ICancelableTask, IDisposable
{
    // What the worker ends with when it was told to stop: 128 + SIGINT.
    private const int Interrupted = 130;

    private readonly CancellationTokenSource cancellation = new();

    /// <summary>What <see cref="DeclareModels"/> gave.</summary>
    [Required]
    public ITaskItem[] Models { get; set; } = [];

    /// <summary>Where to quantize, as <see cref="DeviceName"/> has it.</summary>
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

    /// <summary>Folders of libtorch, each full or relative to a package folder; empty where the worker knows better.</summary>
    public string[] LibTorchFolders { get; set; } = [];

    /// <summary>What to do about models that are not made yet: <c>Auto</c>, <c>CacheOnly</c> or <c>Force</c>; empty is <c>Auto</c>.</summary>
    public string Mode { get; set; } = "";

    /// <summary>The team's cache: a folder, <c>http(s)://…</c> or <c>azure://…</c>; empty where there is none.</summary>
    public string RemoteCache { get; set; } = "";

    /// <summary>The user's cache.</summary>
    private protected ModelCache Cache { get; } = ModelCache.Default();

    /// <summary>The hash of a file in the cache.</summary>
    private protected string HashOf(string path) => Log.HashOf(path, new FileHash(Cache.HashFolder));

    /// <summary>Cancelled when the build is.</summary>
    protected CancellationToken CancellationToken => cancellation.Token;

    /// <inheritdoc/>
    public void Cancel() => cancellation.Cancel();

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Releases what the task holds.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing) cancellation.Dispose();
    }

    /// <summary>Warns at a model's item.</summary>
    private protected void Warn(DeclaredModel model, string id, string text) => Log.WarningAt(id, $"{model.ClassName}: {text}", model.Position);

    /// <summary>Whether the cache has an artifact whose bytes are those that were made.</summary>
    private protected bool IsWhole(CacheEntry entry) => entry.Exists && entry.Damage(HashOf) is null;

    /// <summary>Brings the weights of a model of the hub here: only a run that reads them needs them.</summary>
    /// <returns>Whether they are here; if not, the worker said why.</returns>
    private protected bool DownloadWeights(DeclaredModel model) =>
        model.HubName is null || RunVerb(model, ["download", model.HubName, "--revision", model.Commit, "--weights"], () => true);

    /// <summary>Writes a request file, runs the worker on it, and deletes the file.</summary>
    /// <param name="model">What it is about.</param>
    /// <param name="verb">What the worker is to do.</param>
    /// <param name="save">Writes the request to the path that it is given.</param>
    /// <param name="isMade">Whether there is what the worker was to make.</param>
    /// <returns>Whether it is made; if not, the worker said why.</returns>
    /// <exception cref="QuantBuildException">QB1005: the worker ended without a word. QB1003 or QB1004: the request cannot be written.</exception>
    private protected bool RunRequest(DeclaredModel model, string verb, Action<string> save, Func<bool> isMade)
    {
        string request = model.RequestPath(verb);
        try
        {
            try
            {
                Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(request))!);
                save(request);
            }
            catch (Exception e) when (BuildLog.IsFileError(e))
            {
                throw WriteFailure.Of(request, e);
            }

            return RunVerb(model, [verb, "--request", Path.GetFullPath(request)], isMade);
        }
        finally
        {
            TemporaryFile.Delete(request);
        }
    }

    /// <summary>Runs the worker.</summary>
    /// <param name="model">What it is about.</param>
    /// <param name="arguments">What the worker is to do: a verb and its arguments.</param>
    /// <param name="isMade">Whether there is what the worker was to make.</param>
    /// <returns>Whether it is made; if not, the worker said why.</returns>
    /// <exception cref="QuantBuildException">QB1005: the worker ended without a word.</exception>
    private protected bool RunVerb(DeclaredModel model, IReadOnlyList<string> arguments, Func<bool> isMade) => RunVerb(model.ClassName, model.Position, arguments, isMade);

    /// <summary>Runs the worker.</summary>
    /// <param name="className">The class of the model that it is about.</param>
    /// <param name="position">Where the model's item stands.</param>
    /// <param name="arguments">What the worker is to do: a verb and its arguments.</param>
    /// <param name="isMade">Whether there is what the worker was to make.</param>
    /// <returns>Whether it is made; if not, the worker said why.</returns>
    /// <exception cref="QuantBuildException">QB1005: the worker ended without a word.</exception>
    private protected bool RunVerb(string className, ItemPosition position, IReadOnlyList<string> arguments, Func<bool> isMade)
    {
        List<KeyValuePair<string, string>> environment =
        [
            // Threads that spin while they wait slow everything else down, and themselves: see "Facts about the ground" in the design.
            new("OMP_WAIT_POLICY", "PASSIVE"),
        ];
        if (LibTorchFolders.Length > 0) environment.Add(new("QUANTBUILD_LIBTORCH", string.Join(Path.PathSeparator.ToString(), LibTorchFolders.Select(LibTorchPath))));

        string[] probing = [.. PackageFolders.SelectMany(folder => new[] { "--additionalprobingpath", folder.TrimEnd('/', '\\') })];
        WorkerProcess worker = new(
            DotNetHost.Length > 0 ? DotNetHost : "dotnet",
            ["exec", .. probing, WorkerAssembly, .. arguments],
            environment);

        Log.LogMessage(MessageImportance.Normal, $"{className}: {worker.CommandLine}");
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
                Show(className, position, message, line);
                // The rest only a detailed log shows.
                return message is not null;
            },
            () => Log.LogMessage(
                MessageImportance.High,
                string.Format(CultureInfo.InvariantCulture, "{0}: {1}, {2:F0} s so far", className, step, watch.Elapsed.TotalSeconds)),
            BuildLog.LongestSilence,
            cancellation.Token);

        // A Ctrl+C reaches the worker as well as the build, and may reach it first.
        if (exitCode == Interrupted) throw new OperationCanceledException();

        // An error that the worker sent says it all.
        if (failed) return false;
        if (done && exitCode == 0 && isMade()) return true;
        string said = worker.Errors.Count > 0
            ? "It said: " + string.Join(Environment.NewLine, worker.Errors)
            : "It said nothing.";
        throw new QuantBuildException(
            DiagnosticIds.WorkerFailed,
            $"The worker that was to {arguments[0]} {className} ended with exit code {exitCode} and without a result. " +
            $"Out of memory is a common cause (exit code 137). {said}");
    }

    private void Show(string className, ItemPosition position, WorkerMessage? message, string line)
    {
        switch (message)
        {
            case null:
                Log.LogMessage(MessageImportance.Low, $"{className}: {line}");
                break;
            case { Kind: WorkerMessageKind.Progress, SecondsLeft: { } seconds }:
                Log.LogMessage(MessageImportance.High, $"{className}: {message.Text}, {Duration(seconds)} left");
                break;
            case { Kind: WorkerMessageKind.Warning }:
                Log.WarningAt(message.Code ?? "", $"{className}: {message.Text}", position);
                break;
            case { Kind: WorkerMessageKind.Error }:
                Log.ErrorAt(message.Code ?? DiagnosticIds.WorkerFailed, message.Text, position);
                break;
            default:
                Log.LogMessage(MessageImportance.High, $"{className}: {message.Text}");
                break;
        }
    }

    private static string Duration(double seconds) => seconds < 90
        ? string.Format(CultureInfo.InvariantCulture, "{0:F0} s", seconds)
        : string.Format(CultureInfo.InvariantCulture, "{0:F0} min", seconds / 60);

    private string LibTorchPath(string libTorchFolder)
    {
        string[] places = [.. PackageFolders.Select(folder => Path.GetFullPath(Path.Combine(folder, libTorchFolder))).Distinct()];
        return places.FirstOrDefault(Directory.Exists) ?? throw new QuantBuildException(
            DiagnosticIds.WorkerRestoreFailed,
            $"libtorch was restored and is not where it belongs. Looked for {string.Join(", ", places)}. Delete its package folder and build again.");
    }
}
