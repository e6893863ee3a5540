namespace QuantBuild.Quantization;

/// <summary>What quantizing a decoder layer made.</summary>
/// <param name="Linears">In the order of <see cref="DecoderConfig.Linears"/>; <see langword="null"/> where the model's own weight stays.</param>
/// <param name="Vectors">Norms and biases that a method changed, by tensor name: they take the place of the model's.</param>
internal sealed record FinishedLayer(IReadOnlyList<QuantizedLinear?> Linears, IReadOnlyDictionary<string, float[]> Vectors);
