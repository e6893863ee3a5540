namespace QuantBuild.Quantization;

/// <summary>The residual streams of the calibration text.</summary>
/// <param name="Quantized">Through the quantized layers so far.</param>
/// <param name="Float">Through the float layers, where a method compares the two.</param>
internal sealed record CalibrationStreams(HiddenStates Quantized, HiddenStates? Float) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        Quantized.Dispose();
        Float?.Dispose();
    }
}
