namespace QuantBuild;

/// <summary>How fast the runtime decodes what each method makes, on the CPU, against round-to-nearest at the same width.</summary>
/// <remarks>
/// Measured by <c>dotnet run -c Release --project tests/QuantBuild.Benchmarks -- formats</c>, whose table is in docs/performance.md. A method has the speed of its format: which values it
/// chooses does not matter.
/// </remarks>
internal static class DecodeSpeed
{
    /// <summary>Tokens a second over those of round-to-nearest.</summary>
    public static double Of(QuantizationSpec spec) => spec.Method switch
    {
        QuantizationMethod.Nf4 or QuantizationMethod.Fp4 => 0.55,
        QuantizationMethod.Int8 => spec.OutlierThreshold > 0 ? 0.6 : 0.7,
        QuantizationMethod.Gptq when spec is { ActOrder: true, StaticGroups: false } => 0.95,
        _ => 1,
    };

    /// <summary>The fastest of the same width that asks for no more than the specification does, and its speed.</summary>
    public static (QuantizationSpec Spec, double Speed) Fastest(QuantizationSpec spec)
    {
        QuantizationSpec fastest = new() { Method = spec.NeedsCalibration ? QuantizationMethod.Gptq : QuantizationMethod.Rtn, Bits = spec.Bits, StaticGroups = true };
        return (fastest, Of(fastest));
    }
}
