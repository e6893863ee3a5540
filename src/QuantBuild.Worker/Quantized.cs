namespace QuantBuild.Worker;

/// <summary>What came of <c>quantize</c>, for scripts.</summary>
/// <param name="ModelName">The model's own name.</param>
/// <param name="Artifact">Full path of the artifact.</param>
/// <param name="Record">Full path of the record of how it was made.</param>
/// <param name="Report">Full path of the report, a page for a browser.</param>
/// <param name="Fingerprint">The artifact's fingerprint.</param>
/// <param name="OriginalBytes">Bytes of all tensors of the model before.</param>
/// <param name="Bytes">Bytes of the artifact.</param>
/// <param name="Quality">What quantization cost, where it was measured.</param>
internal sealed record Quantized(
    string ModelName, string Artifact, string Record, string? Report, string Fingerprint, long OriginalBytes, long Bytes, QualityFigures? Quality);
