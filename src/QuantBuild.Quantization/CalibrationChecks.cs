using System.Globalization;

namespace QuantBuild.Quantization;

/// <summary>The common mistakes of quantizing, as warnings. None names a file: who takes the artifact from the cache sees them too.</summary>
internal static class CalibrationChecks
{
    /// <summary>Fewer calibration windows than this give a noticeably worse model.</summary>
    public const int WantedWindows = 32;

    // Prose and code repeat one to five of a hundred; lists of one sentence nearly all.
    private const double MostRepeated = 0.25;
    private const int RepeatedTokens = 8;

    // Two genres of prose differ by 1.3 or so, prose and program text by 2 to 3, text and noise by more than 10.
    private const double MostPerplexityRatio = 2;

    /// <summary>What can be seen before the work begins.</summary>
    public static IEnumerable<BuildWarning> Before(QuantizationSpec spec, Texts texts)
    {
        if (LowBits(spec) is { } bits) yield return bits;
        if (texts.Evaluation is null) yield return NoEvaluation(texts);
        if (texts.Calibration is not { } calibration) yield break;
        if (Short(spec, calibration, texts.CalibrationTokens) is { } tooShort) yield return tooShort;
        if (Repetitive(calibration) is { } repetitive) yield return repetitive;
    }

    /// <summary>What is calibrated on, where anything is, for the record of the build.</summary>
    public static CalibrationStatistics? Statistics(Texts texts) => texts.Calibration is { } calibration
        ? new(texts.CalibrationTokens, calibration.Count, calibration.Length, RepeatedShare(calibration.Tokens), FloatPerplexity: null)
        : null;

    /// <summary>2 or 3 bits, without learned rounding.</summary>
    public static BuildWarning? LowBits(QuantizationSpec spec)
    {
        if (spec.Bits > 3 || spec.HasBudget || spec.Method == QuantizationMethod.AutoRound) return null;
        List<string> helps = [$"Method=\"AutoRound\"{(spec.NeedsCalibration ? "" : " with CalibrationData")}", "Bits=\"4\""];
        if (spec.GroupSize is QuantizationSpec.PerChannel or > 32) helps.Add("GroupSize=\"32\"");
        string now = spec.GroupSize == QuantizationSpec.PerChannel ? "PerChannel" : Text($"{spec.GroupSize}");
        return new BuildWarning(
            DiagnosticIds.BitsLow,
            Text($"{spec.Method} with Bits=\"{spec.Bits}\" and GroupSize=\"{now}\" loses much: so few bits need rounding that is learned. ") +
            $"{string.Join(", or ", helps)} helps. Look at the quality that is measured, and set MaxPerplexityIncrease.");
    }

    /// <summary>Experts to which the text sends few tokens.</summary>
    /// <param name="starved">Their names, with their layers.</param>
    public static BuildWarning? Experts(IReadOnlyCollection<string> starved)
    {
        const int shown = 8;
        if (starved.Count == 0) return null;
        string more = starved.Count > shown ? Text($" and {starved.Count - shown} more") : "";
        return new BuildWarning(
            DiagnosticIds.ExpertsStarved,
            Text($"The calibration text sends too few tokens to {starved.Count} experts: {string.Join(", ", starved.Take(shown))}{more}. ") +
            "Each saw less than a quarter of an even share, and was given some of all tokens beside its own. Set CalibrationData to a text of more kinds, or CalibrationSamples to more.");
    }

    /// <summary>Nothing to measure on.</summary>
    public static BuildWarning NoEvaluation(Texts texts)
    {
        string why = texts.CalibrationTokens > 0
            ? Text($"no EvaluationData is declared, and CalibrationData, with {texts.CalibrationTokens:N0} tokens, is too short to hold a tenth of it out")
            : "neither EvaluationData nor CalibrationData is declared";
        return new BuildWarning(
            DiagnosticIds.EvaluationAbsent,
            $"No evaluation: {why}. The build cannot tell what quantization cost. Set EvaluationData to a text of the kind that the model will see.");
    }

    /// <summary>A text that fills few windows. Who asks for few windows gets them without a word.</summary>
    public static BuildWarning? Short(QuantizationSpec spec, TokenWindows calibration, int tokens)
    {
        int wanted = Math.Min(WantedWindows, spec.CalibrationSamples);
        return calibration.Count >= wanted
            ? null
            : new BuildWarning(
                DiagnosticIds.CalibrationShort,
                Text($"CalibrationData is short: {tokens:N0} tokens give {calibration.Count:N0} windows of {calibration.Length:N0}, and {wanted} windows ") +
                Text($"({wanted * calibration.Length:N0} tokens) are wanted at least. The quantized model fits this text rather than what it will see. Give a longer text."));
    }

    /// <summary>A text that says the same again and again.</summary>
    public static BuildWarning? Repetitive(TokenWindows calibration)
    {
        double share = RepeatedShare(calibration.Tokens);
        return share <= MostRepeated
            ? null
            : new BuildWarning(
                DiagnosticIds.CalibrationRepetitive,
                Text($"CalibrationData repeats itself: {100 * share:F0}% of its runs of {RepeatedTokens} tokens came before, and at most {100 * MostRepeated:F0}% are expected. ") +
                "Repetition adds nothing to calibrate on. Give varied text, with each document once.");
    }

    /// <summary>The few windows of a calibration text on which its perplexity is measured; nothing where they would say little.</summary>
    public static TokenWindows? Sample(TokenWindows? calibration)
    {
        const int windows = 8;
        const int leastTokens = 512;
        TokenWindows? sample = calibration?.Sample(windows);
        return sample?.Tokens.Length >= leastTokens ? sample : null;
    }

    /// <summary>A calibration text on which the float model does much better, or much worse, than on the evaluation text.</summary>
    /// <param name="calibrationPerplexity">Of the float model, on windows of the calibration text.</param>
    /// <param name="evaluationPerplexity">Of the float model, on the evaluation text.</param>
    public static BuildWarning? Far(double calibrationPerplexity, double evaluationPerplexity)
    {
        double ratio = Math.Max(calibrationPerplexity / evaluationPerplexity, evaluationPerplexity / calibrationPerplexity);
        return ratio <= MostPerplexityRatio
            ? null
            : new BuildWarning(
                DiagnosticIds.CalibrationFarFromEvaluation,
                Text($"CalibrationData and EvaluationData are of different kinds: the float model's perplexity is {calibrationPerplexity:F1} on the one and ") +
                Text($"{evaluationPerplexity:F1} on the other, {ratio:F1} times apart, and at most {MostPerplexityRatio:F0} times are expected. ") +
                "Calibrate on text of the kind that the model will see, and evaluate on the same kind.");
    }

    /// <summary>The share of the runs of 8 tokens that stood before in the text, from 0 to 1.</summary>
    public static double RepeatedShare(ReadOnlySpan<int> tokens)
    {
        int runs = tokens.Length - RepeatedTokens + 1;
        if (runs <= 0) return 0;
        HashSet<ulong> seen = new(runs);
        for (int start = 0; start < runs; start++)
        {
            ulong hash = 14695981039346656037;
            foreach (int token in tokens.Slice(start, RepeatedTokens)) hash = (hash ^ (uint)token) * 1099511628211;
            seen.Add(hash);
        }

        return 1 - ((double)seen.Count / runs);
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
