using System.Globalization;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

namespace QuantBuild.Tasks;

/// <summary>A declared model on its way from <see cref="DeclareModels"/> to <see cref="QuantizeModels"/>: an MSBuild item, in C#.</summary>
internal sealed record DeclaredModel
{
    /// <summary>Name of the generated class, and of the files.</summary>
    public required string ClassName { get; init; }

    /// <summary>Full path of the model's folder or GGUF file.</summary>
    public required string ModelPath { get; init; }

    /// <summary>Its name on the hub, where it comes from there: then the folder is named by its commit, and the weights may not be in it yet.</summary>
    public string? HubName { get; init; }

    /// <summary>How to quantize it.</summary>
    public required QuantizationSpec Spec { get; init; }

    /// <summary>How much quality may be lost.</summary>
    public required QualityGates Gates { get; init; }

    /// <summary>Bytes of memory that the worker may use, where a limit is declared.</summary>
    public long? MaxMemory { get; init; }

    /// <summary>Full path of the calibration text, where one is declared.</summary>
    public string? CalibrationFile { get; init; }

    /// <summary>Full path of the evaluation text, where one is declared.</summary>
    public string? EvaluationFile { get; init; }

    /// <summary>Identity of the artifact; empty where a design-time build does not know it.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>The artifact under <c>obj</c>.</summary>
    public required string ArtifactPath { get; init; }

    /// <summary>Whether the artifact goes into the project's NuGet package.</summary>
    public bool IsPacked { get; init; }

    /// <summary>Where the item stands.</summary>
    public required ItemPosition Position { get; init; }

    /// <summary>The commit of a model of the hub.</summary>
    public string Commit => Path.GetFileName(GgufFile.IsGguf(ModelPath) ? Path.GetDirectoryName(ModelPath) : ModelPath);

    /// <summary>The record of how the artifact was made, under <c>obj</c>.</summary>
    public string BuildRecordPath => Path.ChangeExtension(ArtifactPath, ".build.json");

    /// <summary>The report on the artifact, under <c>obj</c>.</summary>
    public string ReportPath => Path.ChangeExtension(ArtifactPath, ".html");

    /// <summary>Says which artifact the one under <c>obj</c> is.</summary>
    public string StampPath => StampPathOf(ArtifactPath);

    /// <summary>The comparison of methods under <c>obj</c>, without the endings of its files.</summary>
    public string ComparisonPath => Path.ChangeExtension(ArtifactPath, ".compare");

    /// <summary>The request to the worker; there only while it runs.</summary>
    /// <param name="verb">What it is to do.</param>
    public string RequestPath(string verb) => $"{ArtifactPath}.{verb}-request.xml";

    /// <summary>What lies beside every artifact under <c>obj</c>, and beside nothing else.</summary>
    public static string StampPathOf(string artifactPath) => artifactPath + ".stamp";

    /// <summary>The item. Its identity is the artifact's path.</summary>
    public ITaskItem ToItem()
    {
        TaskItem item = new(ArtifactPath);
        void Set(string name, string? value)
        {
            // Literally: a percent sign in a path is no escape.
            if (value is not null) ((ITaskItem2)item).SetMetadataValueLiteral(name, value);
        }

        Set(nameof(ClassName), ClassName);
        Set(nameof(ModelPath), ModelPath);
        Set(nameof(HubName), HubName);
        foreach (KeyValuePair<string, string> entry in Spec.ToMetadata()) Set(entry.Key, entry.Value);
        foreach (KeyValuePair<string, string> entry in Gates.ToMetadata()) Set(entry.Key, entry.Value);
        Set(nameof(MaxMemory), MaxMemory?.ToString(CultureInfo.InvariantCulture));
        Set(nameof(CalibrationFile), CalibrationFile);
        Set(nameof(EvaluationFile), EvaluationFile);
        Set(nameof(Fingerprint), Fingerprint);
        Set(nameof(BuildRecordPath), BuildRecordPath);
        Set(nameof(ReportPath), ReportPath);
        Set(nameof(StampPath), StampPath);
        Set(MetadataNames.PackQuantizedModel, IsPacked ? "true" : "false");
        Set("PositionFile", Position.File);
        Set("PositionLine", Position.Line.ToString(CultureInfo.InvariantCulture));
        Set("PositionColumn", Position.Column.ToString(CultureInfo.InvariantCulture));
        return item;
    }

    /// <summary>Reads what <see cref="ToItem"/> made.</summary>
    public static DeclaredModel FromItem(ITaskItem item)
    {
        string? Optional(string name) => item.GetMetadata(name) is { Length: > 0 } value ? value : null;
        int Number(string name) => int.Parse(item.GetMetadata(name), CultureInfo.InvariantCulture);
        return new DeclaredModel
        {
            ClassName = item.GetMetadata(nameof(ClassName)),
            ModelPath = item.GetMetadata(nameof(ModelPath)),
            HubName = Optional(nameof(HubName)),
            Spec = QuantizationSpec.FromMetadata(item.GetMetadata),
            Gates = QualityGates.FromMetadata(item.GetMetadata),
            MaxMemory = MemoryLimit.Read(item.GetMetadata(nameof(MaxMemory))),
            CalibrationFile = Optional(nameof(CalibrationFile)),
            EvaluationFile = Optional(nameof(EvaluationFile)),
            Fingerprint = item.GetMetadata(nameof(Fingerprint)),
            ArtifactPath = item.ItemSpec,
            IsPacked = item.GetMetadata(MetadataNames.PackQuantizedModel) == "true",
            Position = new(item.GetMetadata("PositionFile"), Number("PositionLine"), Number("PositionColumn")),
        };
    }
}
