namespace QuantBuild.Tasks;

/// <summary>The metadata that a <c>&lt;QuantizedModel&gt;</c> item understands, and near misses of it.</summary>
internal static class MetadataNames
{
    public const string ClassName = "ClassName";
    public const string Namespace = "Namespace";
    public const string CalibrationData = "CalibrationData";
    public const string EvaluationData = "EvaluationData";
    public const string ChatTemplate = "ChatTemplate";

    public const string PackQuantizedModel = "PackQuantizedModel";

    /// <summary>All of them.</summary>
    public static IReadOnlyList<string> Known { get; } =
    [
        ClassName, Namespace, HubModel.RevisionName, CalibrationData, EvaluationData, ChatTemplate, PackQuantizedModel, MemoryLimit.Name, ModelUses.Name, "TargetBitsPerWeight", "TargetSize", "Override", .. QualityGates.Names,
        .. ((QuantizationMethod[])Enum.GetValues(typeof(QuantizationMethod)))
            .SelectMany(method => new QuantizationSpec { Method = method }.ToMetadata()).Select(entry => entry.Key).Distinct(),
    ];

    /// <summary>
    /// The name that a name was probably meant to be, or <see langword="null"/>. An item may carry metadata of the user's own, so only
    /// a name next to one of ours is taken for a mistake.
    /// </summary>
    public static string? MeantBy(string name) => MeantBy(name, Known);

    /// <summary>The same for an item that understands other names.</summary>
    public static string? MeantBy(string name, IReadOnlyList<string> names) => names.Contains(name, StringComparer.OrdinalIgnoreCase) ? null : NearestName.Of(name, names);
}
