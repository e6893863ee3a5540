namespace QuantBuild;

/// <summary>How fast the runtime decodes what each method makes, on the CPU, against evenly spaced integers of the same width.</summary>
/// <remarks>
/// Measured by <c>dotnet run -c Release --project tests/QuantBuild.Benchmarks -- formats</c>, whose table is in docs/performance.md. A method has the speed of its format: which values it
/// chooses does not matter. At 4 bits all formats are within a tenth of each other.
/// </remarks>
internal static class DecodeSpeed
{
    /// <summary>Tokens a second over those of evenly spaced integers.</summary>
    public static double Of(QuantizationSpec spec) => spec is { Method: QuantizationMethod.Int8 } ? spec.OutlierThreshold > 0 ? 1.2 : 1.26 : 1;

    /// <summary>The fastest of the same width.</summary>
    public static QuantizationSpec Fastest(QuantizationSpec spec) =>
        spec is { Bits: 8, HasBudget: false } ? new() { Method = QuantizationMethod.Int8, OutlierThreshold = 0 } : spec;
}
