using System.Globalization;

namespace QuantBuild.Worker.Reporting;

/// <summary>A specification in few words.</summary>
internal static class SpecificationText
{
    /// <summary>Method, bits, and group or block size, by the names that an artifact has them under.</summary>
    public static string Of(IReadOnlyDictionary<string, string> spec)
    {
        string text = $"{spec.GetValueOrDefault("Method", "?")}, {spec.GetValueOrDefault("Bits", "?")} bits";
        if (spec.TryGetValue("GroupSize", out string? group)) return text + (group == PerChannel ? ", a group a row" : $", groups of {group}");
        return spec.TryGetValue("BlockSize", out string? block) ? $"{text}, blocks of {block}" : text;
    }

    /// <summary>The group or block size alone.</summary>
    public static string GroupOf(QuantizationSpec spec) => spec.GroupSize == QuantizationSpec.PerChannel ? "row" : spec.GroupSize.ToString(CultureInfo.InvariantCulture);

    private static string PerChannel { get; } = QuantizationSpec.PerChannel.ToString(CultureInfo.InvariantCulture);
}
