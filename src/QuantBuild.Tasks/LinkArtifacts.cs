using Microsoft.Build.Framework;
using MSBuildTask = Microsoft.Build.Utilities.Task;

namespace QuantBuild.Tasks;

/// <summary>
/// Puts artifacts into the output folder so that they share their bytes with those under <c>obj</c>; MSBuild, which would copy gigabytes, then finds them up to date.
/// </summary>
public sealed class LinkArtifacts : MSBuildTask
{
    /// <summary>Files to copy to the output, with <c>TargetPath</c>. Those that are no artifacts are left to the copy: metadata of our own does not come as far as here.</summary>
    [Required]
    public ITaskItem[] Artifacts { get; set; } = [];

    /// <summary>The output folder.</summary>
    [Required]
    public string OutputFolder { get; set; } = "";

    /// <inheritdoc/>
    public override bool Execute()
    {
        foreach (ITaskItem artifact in Artifacts)
        {
            FileInfo source = new(artifact.ItemSpec), target = new(Path.Combine(OutputFolder, artifact.GetMetadata("TargetPath")));
            bool isArtifact = source.Exists && File.Exists(DeclaredModel.StampPathOf(source.FullName));
            if (!isArtifact || (target.Exists && target.Length == source.Length && target.LastWriteTimeUtc == source.LastWriteTimeUtc)) continue;
            try
            {
                FileLink.Create(source.FullName, target.FullName);
            }
            catch (Exception e) when (e is QuantBuildException || BuildLog.IsFileError(e))
            {
                // The copy that follows says what hinders it, and tries again.
                Log.LogMessage(MessageImportance.Low, e.Message);
            }
        }

        return true;
    }
}
