using Microsoft.Build.Framework;

namespace QuantBuild.Tasks;

/// <summary>
/// Brings what describes the models of the hub into its cache: configuration and tokenizer, not the weights, which only quantizing needs. Where that is there, it asks nobody and starts nothing.
/// </summary>
public sealed class DownloadModels : WorkerTask
{
    /// <summary>Full path of the project file: its folder is what paths are relative to.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>The file that keeps which commit a branch was; see <see cref="DeclareModels.HubRecord"/>.</summary>
    [Required]
    public string HubRecord { get; set; } = "";

    /// <summary>Path of the lock file; empty where models are not locked.</summary>
    public string LockFile { get; set; } = "";

    /// <summary>Whether branches are asked for anew.</summary>
    public bool UpdateModels { get; set; }

    private string ProjectFolder => Path.GetDirectoryName(ProjectFile)!;

    /// <inheritdoc/>
    public override bool Execute()
    {
        HubCommits commits = new(ProjectFolder, Path.Combine(ProjectFolder, HubRecord), LockFile.Length == 0 ? null : Path.Combine(ProjectFolder, LockFile), UpdateModels);
        HashSet<HubModel> updated = [];
        foreach (ITaskItem item in Models)
        {
            if (Read(item, commits) is not { } found) continue;
            (HubModel model, string className) = (found.Key, found.Value);
            try
            {
                Download(model, className, item, commits, isNew: UpdateModels && updated.Add(model));
            }
            catch (QuantBuildException e)
            {
                Log.ErrorAt(e, ItemPosition.Of(item, ProjectFile));
            }
            catch (OperationCanceledException)
            {
                Log.LogMessage(MessageImportance.High, $"{className}: cancelled; what was downloaded is kept, and the next build goes on from there.");
                return false;
            }
        }

        return !Log.HasLoggedErrors;
    }

    private void Download(HubModel model, string className, ITaskItem item, HubCommits commits, bool isNew)
    {
        string? commit = isNew ? null : commits.Find(model, className);
        if (commit is null || !commits.IsReady(model, commit))
        {
            // The worker said why not.
            if (!RunVerb(className, ItemPosition.Of(item, ProjectFile), ["download", model.Id, "--revision", commit ?? model.Revision], () => true)) return;
            commit ??= commits.Cache.Resolve(model);
            if (commit is null) return;
            Log.LogMessage(MessageImportance.High, model.IsPinned ? $"{className}: {model.Id} at {commit}" : $"{className}: {model.Id}, {model.Revision} is {commit}");
        }

        commits.Record(model, commit);
    }

    /// <summary>The model of the hub and the class of an item; <see langword="null"/> where it names a folder. What is wrong with an item, <see cref="DeclareModels"/> says.</summary>
    private KeyValuePair<HubModel, string>? Read(ITaskItem item, HubCommits commits)
    {
        try
        {
            return commits.ModelOf(item) is { } model ? new(model, ModelDeclaration.ClassNameOf(item, ProjectFolder)) : null;
        }
        catch (QuantBuildException)
        {
            return null;
        }
    }
}
