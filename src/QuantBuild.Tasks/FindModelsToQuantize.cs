using Microsoft.Build.Framework;

namespace QuantBuild.Tasks;

/// <summary>
/// Finds the declared models that neither <c>obj</c>, nor the cache, nor the team's remote cache has, and fetches what the last has: only for the others a worker's
/// libraries are needed.
/// </summary>
public sealed class FindModelsToQuantize : WorkerTask
{
    /// <summary>Full path of the project file.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>The models that a worker must quantize.</summary>
    [Output]
    public ITaskItem[] Missing { get; private set; } = [];

    /// <inheritdoc/>
    public override bool Execute()
    {
        List<ITaskItem> missing = [];
        ItemPosition project = new(ProjectFile, 0, 0);
        try
        {
            BuildMode mode = BuildModes.Read(Mode);
            foreach (ITaskItem item in Models)
            {
                DeclaredModel model = DeclaredModel.FromItem(item);
                if (mode == BuildMode.Force || !IsMade(model, mode)) missing.Add(item);
            }
        }
        catch (QuantBuildException e)
        {
            Log.ErrorAt(e, project);
        }
        catch (OperationCanceledException)
        {
            Log.LogMessage(MessageImportance.High, "cancelled; what was fetched is kept, and the next build goes on from there.");
            return false;
        }

        Missing = [.. missing];
        return !Log.HasLoggedErrors;
    }

    /// <summary>Whether there is an artifact now. Where a mode allows no other, an error says that there is none.</summary>
    private bool IsMade(DeclaredModel model, BuildMode mode)
    {
        try
        {
            CacheEntry entry = Cache.Entry(model.Fingerprint);
            if (ArtifactLink.IsCurrent(model) || IsWhole(entry)) return true;
            if (entry.Exists && entry.Damage(HashOf) is { } damage)
            {
                Warn(model, DiagnosticIds.CacheDamaged, $"The artifact {entry.ArtifactPath} in the cache is damaged: {damage}. It is fetched or made again.");
            }

            if (Fetch(model, entry)) return true;
            if (mode != BuildMode.CacheOnly) return false;
            string remote = RemoteCache.Length > 0 ? $" nor the remote cache {RemoteCache}" : "; QuantBuildRemoteCache names no other";
            throw new QuantBuildException(
                DiagnosticIds.ArtifactNotCached,
                $"{model.ClassName} is to come from a cache (QuantBuildMode is CacheOnly), and neither the cache {Cache.Root} has it{remote}. Its fingerprint is {model.Fingerprint}. " +
                "Build it with QuantBuildMode=Auto on a machine that quantizes and writes to the remote cache; if that was done, its inputs or its version of QuantBuild were other ones.");
        }
        catch (QuantBuildException e)
        {
            Log.ErrorAt(e, model.Position);
            return true;
        }
    }

    /// <summary>Fetches an artifact from the remote cache, unless another build does so meanwhile.</summary>
    private bool Fetch(DeclaredModel model, CacheEntry entry)
    {
        if (RemoteCache.Length == 0) return false;
        void Waiting() => Log.LogMessage(MessageImportance.High, $"{model.ClassName}: another build fetches or quantizes it; waiting for that.");
        using (Cache.Lock(model.Fingerprint, Waiting, CancellationToken))
        {
            if (!IsWhole(entry)) RunVerb(model, ["fetch", model.Fingerprint, "--from", RemoteCache], () => true);
            return IsWhole(entry);
        }
    }
}
