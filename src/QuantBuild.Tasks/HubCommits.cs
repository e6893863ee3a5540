using System.Text;
using Microsoft.Build.Framework;

namespace QuantBuild.Tasks;

/// <summary>
/// Which commits of the hub's models a project is built with. A branch moves on, and a build must not: the commit is what the lock file says, else what the branch was when it was asked
/// for first, which is kept under <c>obj</c>.
/// </summary>
/// <param name="projectFolder">What the items' paths are relative to.</param>
/// <param name="recordPath">The file that keeps the commits, a line for each model.</param>
/// <param name="lockFile">Full path of the lock file; <see langword="null"/> where models are not locked.</param>
/// <param name="update">Whether branches are asked for anew, whatever is locked.</param>
internal sealed class HubCommits(string projectFolder, string recordPath, string? lockFile, bool update)
{
    private readonly ModelCache own = ModelCache.Default();

    /// <summary>The cache of the hub's models.</summary>
    public HubCache Cache { get; } = HubCache.Default();

    /// <summary>The model of the hub that an item names; <see langword="null"/> where it names a folder.</summary>
    /// <exception cref="QuantBuildException">QB0006: its revision is none.</exception>
    public HubModel? ModelOf(ITaskItem item) =>
        HubModel.Of(item.ItemSpec, item.GetMetadata(HubModel.RevisionName) is { Length: > 0 } revision ? revision : null, projectFolder);

    /// <summary>The commit; <see langword="null"/> where nobody has asked for it yet.</summary>
    /// <exception cref="QuantBuildException">QB0011: the lock file cannot be read.</exception>
    public string? Find(HubModel model)
    {
        if (model.IsPinned) return model.Revision;
        return (update ? null : Locked(model)) ?? Recorded(model);
    }

    /// <summary>Whether a build can go on without asking the hub: what describes the model is here, and what the hub has of it is known.</summary>
    public bool IsReady(HubModel model, string commit) =>
        Cache.Has(own, model, commit, withWeights: false) && (HubCache.IsOffline || HubListing.Recall(own, model, commit) is not null);

    /// <summary>The folder of a model with what describes it, or its GGUF file; <see langword="null"/> where it was not downloaded.</summary>
    /// <param name="model">The model.</param>
    /// <param name="designTime">Whether an IDE asks, which takes what there is.</param>
    public string? PathOf(HubModel model, bool designTime) => Downloaded(model, designTime) is { } commit ? Cache.PathOf(model, commit) : null;

    /// <summary>Opens a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="designTime">Whether an IDE asks, which takes what there is.</param>
    /// <returns>The model; <see langword="null"/> where an IDE asks and it was not downloaded yet.</returns>
    /// <exception cref="QuantBuildException">QB2001: it was not downloaded. QB2002 and what follows: it is not one that can be quantized.</exception>
    public ModelFolder? Open(HubModel model, bool designTime)
    {
        if (Downloaded(model, designTime) is { } commit) return ModelFolder.Open(Cache.PathOf(model, commit), HubListing.Recall(own, model, commit));
        if (designTime) return null;
        throw new QuantBuildException(
            DiagnosticIds.ModelMissing,
            $"The model {model.FullName}@{model.Revision} of the hub was not downloaded to {Cache.Root}. The target QuantBuildDownloadModels does that before this one: build the project as a whole.");
    }

    /// <summary>Keeps what a branch was.</summary>
    /// <exception cref="QuantBuildException">QB1003 or QB1004: it cannot be written.</exception>
    public void Record(HubModel model, string commit)
    {
        if (model.IsPinned || Recorded(model) == commit) return;
        string temporary = recordPath + "." + Guid.NewGuid().ToString("N");
        // Two target frameworks may add their models at once.
        using (own.Lock(FileHash.OfText(Path.GetFullPath(recordPath)), () => { }, CancellationToken.None))
        {
            try
            {
                Directory.CreateDirectory(Path.GetDirectoryName(recordPath)!);
                string[] others = [.. Lines().Where(line => !IsOf(line, model))];
                File.WriteAllLines(temporary, [.. others, Prefix(model) + commit], new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
                FileLink.Replace(temporary, recordPath);
            }
            catch (Exception e) when (BuildLog.IsFileError(e))
            {
                throw WriteFailure.Of(recordPath, e);
            }
            finally
            {
                TemporaryFile.Delete(temporary);
            }
        }
    }

    /// <summary>The commit whose description is here; <see langword="null"/> where none is.</summary>
    private string? Downloaded(HubModel model, bool designTime)
    {
        string? commit = designTime ? FindIfReadable(model) ?? Cache.Resolve(model) : Find(model);
        return commit is not null && Cache.Has(own, model, commit, withWeights: false) ? commit : null;
    }

    // A lock file in the middle of a merge is for a build to complain of.
    private string? FindIfReadable(HubModel model)
    {
        try
        {
            return Find(model);
        }
        catch (QuantBuildException)
        {
            return null;
        }
    }

    private static string Prefix(HubModel model) => model.Source + " ";

    private static bool IsOf(string line, HubModel model) => line.StartsWith(Prefix(model), StringComparison.Ordinal);

    private string? Recorded(HubModel model) =>
        Lines().FirstOrDefault(line => IsOf(line, model))?.Substring(Prefix(model).Length) is { } commit && HubModel.IsCommit(commit) ? commit : null;

    private string[] Lines()
    {
        try
        {
            return File.Exists(recordPath) ? File.ReadAllLines(recordPath) : [];
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            return [];
        }
    }

    // By the model and not by the class, whose name may depend on what the model's configuration says.
    private string? Locked(HubModel model) => lockFile is null ? null : LockFile.Read(lockFile).Models.Values.FirstOrDefault(locked => locked.Source == model.Source)?.Commit;
}
