using System.Globalization;

namespace QuantBuild.Quantization;

/// <summary>The texts of a request as tokens: what to calibrate on, and what to measure quality on.</summary>
/// <param name="Calibration">What the method calibrates on, where it does.</param>
/// <param name="CalibrationTokens">Tokens of the whole calibration text.</param>
/// <param name="Evaluation">What to measure on; <see langword="null"/> where there is nothing.</param>
/// <param name="EvaluatedOn">Which text <paramref name="Evaluation"/> is.</param>
internal sealed record Texts(TokenWindows? Calibration, int CalibrationTokens, TokenWindows? Evaluation, EvaluationText EvaluatedOn)
{
    // One window of a small model. Fewer tokens would give figures that say little.
    private const int LeastHeldOutTokens = 512;

    // A calibration text may be a whole corpus, of which the first windows alone are calibrated on.
    private const int MostHeldOutWindows = 64;

    /// <summary>A few windows of the calibration text that are measured on too, so that the two texts can be compared; nothing where they are one.</summary>
    public TokenWindows? Sample { get; } =
        EvaluatedOn == EvaluationText.EvaluationData && Evaluation is not null ? CalibrationChecks.Sample(Calibration) : null;

    /// <summary>Reads the texts of a request.</summary>
    /// <exception cref="QuantBuildException">
    /// QB3001, QB3002, QB3003, QB3004: the calibration text; QB3005: the evaluation text; QB0006: a window is longer than the model's context.
    /// </exception>
    public static Texts Read(WorkerRequest request, DecoderConfig config, TextTokenizer tokenizer)
    {
        QuantizationSpec spec = request.Spec;
        if (spec.NeedsCalibration && request.CalibrationFile is null)
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationRequired,
                $"{spec.CalibratedBy} needs a calibration text, and none is given. Set CalibrationData to a text file, or {spec.WithoutCalibration}.");
        }

        TokenWindows? evaluation = request.EvaluationFile is { } file ? TokenWindows.ReadEvaluation(file, spec, config, tokenizer) : null;
        bool holdOut = evaluation is null;
        if (request.CalibrationFile is not { } calibrationFile || !(spec.NeedsCalibration || holdOut))
        {
            return new Texts(null, 0, evaluation, EvaluationText.EvaluationData);
        }

        IReadOnlyList<int> tokens = TokenWindows.ReadCalibration(calibrationFile, config, tokenizer);
        // What the method does not read is not in its fingerprint.
        int length = TokenWindows.LengthFor(config, spec.NeedsCalibration ? spec.CalibrationContext : 0, nameof(spec.CalibrationContext));
        if (spec.NeedsCalibration && tokens.Count < length)
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationTooShort,
                $"The calibration file {calibrationFile} has {Number(tokens.Count)} tokens, and one window needs {Number(length)}. Give a longer text " +
                $"({Number(length * CalibrationChecks.WantedWindows)} tokens or more give good results), or set CalibrationContext to a smaller window.");
        }

        (IReadOnlyList<int> kept, TokenWindows? heldOut) = holdOut ? HoldOut(tokens, length, spec, config) : (tokens, null);
        return new Texts(
            spec.NeedsCalibration ? new TokenWindows(kept, length, spec.CalibrationSamples) : null,
            tokens.Count,
            evaluation ?? heldOut,
            holdOut ? EvaluationText.HeldOut : EvaluationText.EvaluationData);
    }

    /// <summary>Splits the last tenth of the windows off, to measure on; nothing where that would be too little.</summary>
    /// <param name="tokens">The calibration text.</param>
    /// <param name="length">Tokens of a calibration window.</param>
    /// <param name="spec">Says how long an evaluation window is.</param>
    /// <param name="config">The decoder.</param>
    internal static (IReadOnlyList<int> Kept, TokenWindows? HeldOut) HoldOut(
        IReadOnlyList<int> tokens, int length, QuantizationSpec spec, DecoderConfig config)
    {
        int windows = tokens.Count / length;
        int held = Math.Min(windows / 10, MostHeldOutWindows);
        int evaluationLength = TokenWindows.LengthFor(config, spec.EvaluationContext, nameof(spec.EvaluationContext));
        if (held * length < Math.Max(LeastHeldOutTokens, evaluationLength) || evaluationLength < 2) return (tokens, null);
        int keptTokens = (windows - held) * length;
        return ([.. tokens.Take(keptTokens)], new TokenWindows([.. tokens.Skip(keptTokens).Take(held * length)], evaluationLength));
    }

    private static string Number(int value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
