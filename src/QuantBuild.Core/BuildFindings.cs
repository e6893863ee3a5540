using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>Something that the quantizer found and that should be looked at.</summary>
/// <param name="Id">One of <see cref="DiagnosticIds"/>.</param>
/// <param name="Text">What was found and what to do. Names no file: another project may show it, which has the same texts elsewhere.</param>
public sealed record BuildWarning(string Id, string Text);

/// <summary>
/// What the record of a build says about the artifact to builds that did not make it: what was measured, for their gates, and what was found.
/// </summary>
/// <param name="Quality">What was measured, where anything was.</param>
/// <param name="Warnings">What the quantizer warned of.</param>
public sealed record BuildFindings(QualityFigures? Quality, IReadOnlyList<BuildWarning> Warnings)
{
    /// <summary>Reads them from a build record. One that is not there or is damaged says nothing.</summary>
    /// <param name="path">The <c>.build.json</c> beside the artifact.</param>
    public static BuildFindings Read(string path)
    {
        try
        {
            XElement root = Json.Parse(File.ReadAllText(path));
            return new BuildFindings(root.Member(nameof(Quality)) is { } quality ? ReadQuality(quality) : null, ReadWarnings(root));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or OverflowException or ArgumentException)
        {
            return new BuildFindings(null, []);
        }
    }

    private static QualityFigures ReadQuality(XElement quality)
    {
        double Number(string name) => Parse(Required(quality, name));
        return new QualityFigures(
            Number(nameof(QualityFigures.FloatPerplexity)),
            Number(nameof(QualityFigures.Perplexity)),
            Number(nameof(QualityFigures.KlDivergence)),
            Number(nameof(QualityFigures.Top1Agreement)),
            (long)Number(nameof(QualityFigures.EvaluationTokens)),
            (int)Number(nameof(QualityFigures.EvaluationContext)),
            (EvaluationText)Enum.Parse(typeof(EvaluationText), Required(quality, nameof(QualityFigures.EvaluatedOn)).Value),
            [.. Required(quality, nameof(QualityFigures.LayerErrors)).Elements().Select(Parse)]);
    }

    private static IReadOnlyList<BuildWarning> ReadWarnings(XElement root) =>
        root.Member(nameof(Warnings)) is not { } warnings
            ? []
            : [.. warnings.Elements().Select(w => new BuildWarning(Required(w, nameof(BuildWarning.Id)).Value, Required(w, nameof(BuildWarning.Text)).Value))];

    private static XElement Required(XElement parent, string name) => parent.Member(name) ?? throw new FormatException(name);

    private static double Parse(XElement number) => double.Parse(number.Value, NumberStyles.Float, CultureInfo.InvariantCulture);
}
