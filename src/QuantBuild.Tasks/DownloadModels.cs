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
            if (ModelOf(item, commits) is not { } model) continue;
            try
            {
                Download(model, item, commits, isNew: UpdateModels && updated.Add(model));
            }
            catch (QuantBuildException e)
            {
                Log.ErrorAt(e, ItemPosition.Of(item, ProjectFile));
            }
            catch (OperationCanceledException)
            {
                Log.LogMessage(MessageImportance.High, $"{model.Id}: cancelled; what was downloaded is kept, and the next build goes on from there.");
                return false;
            }
        }

        return !Log.HasLoggedErrors;
    }

    private void Download(HubModel model, ITaskItem item, HubCommits commits, bool isNew)
    {
        // The name of its class may depend on what is downloaded here.
        string name = ClassNames.ModelName(model.FullName);
        string? commit = isNew ? null : commits.Find(model);
        if (commit is null || !commits.IsReady(model, commit))
        {
            // The worker said why not.
            if (!RunVerb(name, ItemPosition.Of(item, ProjectFile), ["download", model.FullName, "--revision", commit ?? model.Revision], () => true)) return;
            commit ??= commits.Cache.Resolve(model);
            if (commit is null) return;
            if (!model.IsPinned) Log.LogMessage(MessageImportance.High, $"{model.Id}: {model.Revision} is {commit}");
        }

        commits.Record(model, commit);
    }

    // What is wrong with an item, the task that declares it says.
    private static HubModel? ModelOf(ITaskItem item, HubCommits commits)
    {
        try
        {
            return commits.ModelOf(item);
        }
        catch (QuantBuildException)
        {
            return null;
        }
    }
}
