namespace QuantBuild;

/// <summary>How fast the runtime decodes what each method makes, on the CPU, against evenly spaced integers of the same width.</summary>
/// <remarks>
/// Measured by <c>dotnet run -c Release --project tests/QuantBuild.Benchmarks -- formats</c>, whose table is in docs/performance.md. A method has the speed of its format: which values it
/// chooses does not matter. At 8 bits all formats are within a tenth of each other; the tables of NF4, FP4 and MXFP4 take twice the arithmetic of evenly spaced integers.
/// </remarks>
internal static class DecodeSpeed
{
    /// <summary>Tokens a second over those of evenly spaced integers.</summary>
    public static double Of(QuantizationSpec spec) => HasTable(spec) ? 0.5 : 1;

    /// <summary>The fastest of the same width.</summary>
    public static QuantizationSpec Fastest(QuantizationSpec spec) => HasTable(spec) ? new() { Method = QuantizationMethod.Rtn, Bits = spec.Bits } : spec;

    private static bool HasTable(QuantizationSpec spec) => spec.Method is QuantizationMethod.Nf4 or QuantizationMethod.Fp4 or QuantizationMethod.Mxfp4;
}
