using System.Globalization;

namespace QuantBuild;

/// <summary>
/// How much quality a build may lose before it fails. Gates decide whether an artifact is accepted, never its bytes: they are no part of the
/// fingerprint, and a gate that changes quantizes nothing again.
/// </summary>
public sealed record QualityGates
{
    private const string Percent = "%";

    /// <summary>The names of the gates, as metadata of an item.</summary>
    public static IReadOnlyList<string> Names { get; } = [nameof(MaxPerplexityIncrease), nameof(MaxKlDivergence)];

    /// <summary>By how much the perplexity may rise, as a ratio: 0.02 is 2%. <see langword="null"/> is no gate.</summary>
    public decimal? MaxPerplexityIncrease { get; init; }

    /// <summary>The largest mean KL divergence, in nats. <see langword="null"/> is no gate.</summary>
    public decimal? MaxKlDivergence { get; init; }

    /// <summary>Whether there is any gate.</summary>
    public bool AreDeclared => MaxPerplexityIncrease is not null || MaxKlDivergence is not null;

    /// <summary>The gates that are declared, as <see cref="FromMetadata"/> reads them.</summary>
    public IEnumerable<KeyValuePair<string, string>> ToMetadata()
    {
        if (MaxPerplexityIncrease is { } increase) yield return new(nameof(MaxPerplexityIncrease), Percentage(increase));
        if (MaxKlDivergence is { } divergence) yield return new(nameof(MaxKlDivergence), Text(divergence));
    }

    /// <summary>Reads gates from item metadata (or command-line options of the same names).</summary>
    /// <param name="metadata">The value of a name, or <see langword="null"/> or an empty text where it is not given.</param>
    /// <exception cref="QuantBuildException">QB0006: a value cannot be read.</exception>
    public static QualityGates FromMetadata(Func<string, string?> metadata) => new()
    {
        MaxPerplexityIncrease = ReadIncrease(metadata(nameof(MaxPerplexityIncrease))),
        MaxKlDivergence = ReadDivergence(metadata(nameof(MaxKlDivergence))),
    };

    /// <summary>Checks what was measured.</summary>
    /// <param name="quality">The figures; <see langword="null"/> where nothing was measured.</param>
    /// <param name="spec">How it was quantized: decides what to try.</param>
    /// <exception cref="QuantBuildException">QB3008: a gate is exceeded. QB3009: there is a gate and nothing was measured.</exception>
    public void Check(QualityFigures? quality, QuantizationSpec spec)
    {
        if (!AreDeclared) return;
        if (quality is null) throw NothingMeasured();
        // Written so that what is not a number passes no gate.
        List<string> exceeded = [];
        if (MaxPerplexityIncrease is { } increase && !(quality.Perplexity <= quality.FloatPerplexity * (1 + (double)increase)))
        {
            exceeded.Add(
                $"the perplexity rose by {Number(100 * quality.PerplexityIncrease)}% (from {Number(quality.FloatPerplexity)} to {Number(quality.Perplexity)}), " +
                $"and {nameof(MaxPerplexityIncrease)} allows {Percentage(increase)}");
        }

        if (MaxKlDivergence is { } divergence && !(quality.KlDivergence <= (double)divergence))
        {
            exceeded.Add($"the mean KL divergence is {Number(quality.KlDivergence)} nats, and {nameof(MaxKlDivergence)} allows {Text(divergence)}");
        }

        if (exceeded.Count == 0) return;
        string text = quality.EvaluatedOn == EvaluationText.HeldOut ? "a held-out tenth of CalibrationData" : "EvaluationData";
        throw new QuantBuildException(
            DiagnosticIds.QualityGateExceeded,
            $"Quantization cost more than is allowed: {string.Join("; ", exceeded)}. Measured on {quality.EvaluationTokens.ToString("N0", CultureInfo.InvariantCulture)} " +
            $"tokens of {text}. Try {string.Join(", or ", Advice(spec))}; or allow more. The artifact of the last build that passed is kept.");
    }

    /// <summary>The error of a gate where there is no text to measure on.</summary>
    public QuantBuildException NothingMeasured() => new(
        DiagnosticIds.QualityGateUnmeasured,
        $"{string.Join(" and ", ToMetadata().Select(gate => $"{gate.Key}=\"{gate.Value}\""))} cannot be checked: there is no text to measure quality on. " +
        "Set EvaluationData to a text file, or CalibrationData to one that is long enough to hold a tenth of it out; or remove the gate.");

    private static IEnumerable<string> Advice(QuantizationSpec spec)
    {
        if (spec.HasBudget) yield return $"a larger budget (now {spec.WidthName})";
        else if (spec.Bits < 8) yield return $"more Bits (now {Text(spec.Bits)})";
        if (spec.GroupSize is QuantizationSpec.PerChannel) yield return "a GroupSize (now PerChannel), such as 32";
        else if (spec.GroupSize > 32) yield return $"a smaller GroupSize (now {Text(spec.GroupSize)}), such as 32";
        yield return spec.NeedsCalibration
            ? "more CalibrationData, closer to what the model will see"
            : $"another Method (now {spec.Method}): Gptq, with CalibrationData";
    }

    private static decimal? ReadIncrease(string? text)
    {
        if (string.IsNullOrWhiteSpace(text)) return null;
        string trimmed = text!.Trim();
        bool percent = trimmed.EndsWith(Percent, StringComparison.Ordinal);
        if (TryRead(percent ? trimmed.Substring(0, trimmed.Length - 1) : trimmed, out decimal value))
        {
            if (percent) return value / 100;
            // "2" may mean 2% to one reader and 200% to another.
            if (value <= 1) return value;
        }

        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"{nameof(MaxPerplexityIncrease)}=\"{text}\" is neither a percentage, such as 2%, nor a ratio from 0 to 1, such as 0.02. Set it to one of them; " +
            "a rise of more than 100% is written with the percent sign.");
    }

    private static decimal? ReadDivergence(string? text)
    {
        if (string.IsNullOrWhiteSpace(text)) return null;
        if (TryRead(text!.Trim(), out decimal value)) return value;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"{nameof(MaxKlDivergence)}=\"{text}\" is not a number of nats of at least 0. 0.05 is usual for 4 bits, 0.005 for 8.");
    }

    private static bool TryRead(string text, out decimal value) =>
        decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value) && value >= 0;

    private static string Percentage(decimal ratio) => Text(ratio * 100) + Percent;

    private static string Text(decimal value) => value.ToString("0.############################", CultureInfo.InvariantCulture);

    private static string Number(double value) => value.ToString("0.####", CultureInfo.InvariantCulture);
}
