using Microsoft.Build.Framework;
using MSBuildTask = Microsoft.Build.Utilities.Task;

namespace QuantBuild.Tasks;

/// <summary>Finds the declared models that neither <c>obj</c> nor the cache has: only for them a worker, and its libraries, are needed.</summary>
public sealed class FindModelsToQuantize : MSBuildTask
{
    /// <summary>What <see cref="DeclareModels"/> gave.</summary>
    [Required]
    public ITaskItem[] Models { get; set; } = [];

    /// <summary>Full path of the project file.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>Where to quantize: <c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</summary>
    [Required]
    public string Device { get; set; } = "";

    /// <summary>The models that a worker must quantize.</summary>
    [Output]
    public ITaskItem[] Missing { get; private set; } = [];

    /// <inheritdoc/>
    public override bool Execute()
    {
        ModelCache cache = ModelCache.Default();
        Missing = [.. Models.Where(item => DeclaredModel.FromItem(item) is var model && !ArtifactLink.IsCurrent(model) && !ArtifactLink.IsCached(model, cache))];
        if (Missing.Length == 0) return true;
        try
        {
            Tasks.Device.CheckDriver(Device);
        }
        catch (QuantBuildException e)
        {
            Log.ErrorAt(e, new ItemPosition(ProjectFile, 0, 0));
        }

        return !Log.HasLoggedErrors;
    }
}
