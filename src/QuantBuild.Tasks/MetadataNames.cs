namespace QuantBuild.Tasks;

/// <summary>The metadata that a <c>&lt;QuantizedModel&gt;</c> item understands, and near misses of it.</summary>
internal static class MetadataNames
{
    public const string ClassName = "ClassName";
    public const string Namespace = "Namespace";
    public const string CalibrationData = "CalibrationData";
    public const string EvaluationData = "EvaluationData";
    public const string ChatTemplate = "ChatTemplate";

    private static readonly string[] Known =
    [
        ClassName, Namespace, CalibrationData, EvaluationData, ChatTemplate, MemoryLimit.Name, ModelUses.Name, "TargetBitsPerWeight", "TargetSize", "Override", .. QualityGates.Names,
        .. ((QuantizationMethod[])Enum.GetValues(typeof(QuantizationMethod)))
            .SelectMany(method => new QuantizationSpec { Method = method }.ToMetadata()).Select(entry => entry.Key).Distinct(),
    ];

    /// <summary>
    /// The name that a name was probably meant to be, or <see langword="null"/>. An item may carry metadata of the user's own, so only
    /// a name one slip away from one of ours (two, if it is long) is taken for a mistake.
    /// </summary>
    public static string? MeantBy(string name) => MeantBy(name, Known);

    /// <summary>The same for an item that understands other names.</summary>
    public static string? MeantBy(string name, IReadOnlyList<string> names)
    {
        if (names.Contains(name, StringComparer.OrdinalIgnoreCase)) return null;
        int allowed = name.Length >= 8 ? 2 : 1;
        return names.FirstOrDefault(known => EditDistance(name.ToUpperInvariant(), known.ToUpperInvariant()) <= allowed);
    }

    // Levenshtein's: insertions, deletions and replacements.
    private static int EditDistance(string a, string b)
    {
        int[] previous = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int[] current = new int[b.Length + 1];
            current[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int replaced = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                current[j] = Math.Min(replaced, Math.Min(previous[j], current[j - 1]) + 1);
            }

            previous = current;
        }

        return previous[b.Length];
    }
}
