using System.Xml.Linq;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;
using MSBuildTask = Microsoft.Build.Utilities.Task;

namespace QuantBuild.Tasks;

/// <summary>
/// Finds what a library's NuGet package needs so that those who reference it get the weights with the class: the artifacts, and targets that copy them beside a program.
/// </summary>
public sealed class PackModels : MSBuildTask
{
    private const string Runtime = "QuantBuild.Runtime";

    /// <summary>What <see cref="DeclareModels"/> gave.</summary>
    [Required]
    public ITaskItem[] Models { get; set; } = [];

    /// <summary>The project's packages.</summary>
    public ITaskItem[] PackageReferences { get; set; } = [];

    /// <summary>Full path of the project file.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>Id of the package.</summary>
    [Required]
    public string PackageId { get; set; } = "";

    /// <summary>The target framework, as NuGet names its folder.</summary>
    [Required]
    public string FrameworkFolder { get; set; } = "";

    /// <summary>Folder of the artifacts, under <c>obj</c>.</summary>
    [Required]
    public string OutputFolder { get; set; } = "";

    /// <summary>The files for the package, each with its <c>PackagePath</c>; none where no model is packed.</summary>
    [Output]
    public ITaskItem[] Files { get; private set; } = [];

    /// <inheritdoc/>
    public override bool Execute()
    {
        DeclaredModel[] packed = [.. Models.Select(DeclaredModel.FromItem).Where(model => model.IsPacked)];
        if (packed.Length == 0) return true;
        foreach (DeclaredModel model in packed.Where(model => !File.Exists(model.ArtifactPath)))
        {
            Log.ErrorAt(
                DiagnosticIds.ArtifactNotBuilt,
                $"The package {PackageId} cannot have the weights of {model.ClassName}: {Path.GetFullPath(model.ArtifactPath)} does not exist, because the project was not built since the model was declared. " +
                "Build it, or pack without --no-build.",
                model.Position);
        }

        if (LacksRuntime())
        {
            // No error: another package that this one depends on may bring it.
            Log.WarningAt(
                DiagnosticIds.PackageLacksRuntime,
                $"The package {PackageId} does not depend on {Runtime}, which its classes need: the reference to QuantBuild is private, and there is none to {Runtime}. " +
                $"Add <PackageReference Include=\"{Runtime}\" Version=\"…\" /> with the version of QuantBuild.",
                new ItemPosition(ProjectFile, 0, 0));
        }

        string targets = Path.Combine(OutputFolder, PackageId + ".targets");
        try
        {
            File.WriteAllText(targets, Targets(packed));
        }
        catch (Exception e) when (BuildLog.IsFileError(e))
        {
            Log.ErrorAt(WriteFailure.Of(targets, e), new ItemPosition(ProjectFile, 0, 0));
        }

        // buildTransitive: for programs that reference the package through another as well.
        Files = [.. packed.Select(model => InPackage(model.ArtifactPath, "quantbuild")), InPackage(targets, "build"), InPackage(targets, "buildTransitive")];
        return !Log.HasLoggedErrors;
    }

    private bool LacksRuntime() =>
        !PackageReferences.Any(reference => Is(reference, Runtime))
        && PackageReferences.Any(reference => Is(reference, "QuantBuild") && string.Equals(reference.GetMetadata("PrivateAssets"), "all", StringComparison.OrdinalIgnoreCase));

    private static bool Is(ITaskItem reference, string id) => string.Equals(reference.ItemSpec, id, StringComparison.OrdinalIgnoreCase);

    private TaskItem InPackage(string file, string folder)
    {
        TaskItem item = new(file);
        item.SetMetadata("PackagePath", $"{folder}/{FrameworkFolder}/");
        return item;
    }

    /// <summary>The targets of the package: as <c>QuantBuildDeclare</c> has the artifacts copied in a project of its own. IfDifferent: those of another version may be older.</summary>
    private string Targets(IEnumerable<DeclaredModel> packed) => new XElement(
        "Project",
        new XElement("ItemGroup", packed.Select(model => Path.GetFileName(model.ArtifactPath)).Select(name => new XElement(
            "None",
            new XAttribute("Include", $"$(MSBuildThisFileDirectory)../../quantbuild/{FrameworkFolder}/{name}"),
            new XAttribute("Link", name),
            new XAttribute("Visible", "false"),
            new XAttribute("CopyToOutputDirectory", "IfDifferent"),
            new XAttribute("CopyToPublishDirectory", "IfDifferent"),
            new XAttribute("ExcludeFromSingleFile", "true"),
            new XAttribute("Pack", "false"))))).ToString();
}
