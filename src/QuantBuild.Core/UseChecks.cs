using System.Globalization;

namespace QuantBuild;

/// <summary>What the use of a model speaks against. Only who says what the model is for hears of it.</summary>
public static class UseChecks
{
    // Slower than this is no matter of which machine it was measured on.
    private const double Noticeable = 0.9;

    /// <summary>The warnings of a declaration.</summary>
    /// <param name="use">What the model is for, where that is said.</param>
    /// <param name="spec">How it is quantized.</param>
    public static IEnumerable<BuildWarning> Of(ModelUse? use, QuantizationSpec spec)
    {
        if (use == ModelUse.FineTuning && spec.Methods.Any(QuantizationSpec.IsCalibrated)) yield return FittedToText(spec);
        if (use is ModelUse.Production or ModelUse.FastestInference && Slow(use.Value, spec) is { } slow) yield return slow;
    }

    private static BuildWarning FittedToText(QuantizationSpec spec) => new(
        DiagnosticIds.MethodUnfitForFineTuning,
        $"Method=\"{spec.Methods.First(QuantizationSpec.IsCalibrated)}\" with Use=\"{ModelUse.FineTuning}\": its values are fitted to the calibration text as the model reads it now, " +
        "and adapters change what the layers read. Method=\"Nf4\", the base of QLoRA, is fitted to no text and needs none. Set Method to Nf4 or Auto, or Use to what the model is for.");

    private static BuildWarning? Slow(ModelUse use, QuantizationSpec spec)
    {
        QuantizationSpec fastest = DecodeSpeed.Fastest(spec);
        double speed = DecodeSpeed.Of(spec) / DecodeSpeed.Of(fastest);
        if (speed >= Noticeable) return null;
        string percent = (100 * (1 - speed)).ToString("F0", CultureInfo.InvariantCulture);
        return new BuildWarning(
            DiagnosticIds.MethodSlow,
            $"Method=\"{spec.Method}\" with Use=\"{use}\": at {spec.Bits} bits it decodes some {percent}% fewer tokens a second on the CPU than {fastest.Method} does. " +
            $"Set Method to {fastest.Method} or Auto, or Use to what the model is for.");
    }
}
