using System.Text.Encodings.Web;
using System.Text.Json;

namespace QuantBuild.Quantization;

/// <summary>How large an artifact becomes, before anything of it is made.</summary>
internal static class ArtifactSize
{
    // Of a tensor in the header, beside its name: type, shape, offsets. Names are there twice, and the checksum has 64 digits.
    private const int HeaderBytes = 110;
    private const int ChecksumBytes = 80;

    // The most tensors that a format has.
    private const int PartsOfLinear = 4;
    private const int LongestSuffix = 16;

    private const int Alignment = 64;

    // As many digits as a figure can have.
    private const double Longest = -1.2345678901234567e-300;

    /// <summary>Quality figures of the greatest length in JSON.</summary>
    public static QualityFigures LongestQuality(DecoderConfig config) => new(
        Longest, Longest, Longest, Longest, long.MaxValue, int.MaxValue, EvaluationText.EvaluationData, [.. Enumerable.Repeat(Longest, config.Layers)]);

    /// <summary>Bytes of everything but the quantized linears: the header, the tokenizer, what stays in floating point. An upper bound, closer than a few kilobytes.</summary>
    /// <param name="plan">Says what is quantized.</param>
    /// <param name="weights">The model's weights.</param>
    /// <param name="tokenizerJson">The bytes of <c>tokenizer.json</c>.</param>
    /// <param name="manifest">The manifest with <see cref="LongestQuality"/>.</param>
    public static long BesideLinears(QuantizationPlan plan, ModelWeights weights, byte[] tokenizerJson, ArtifactManifest manifest)
    {
        HashSet<string> quantized = [.. plan.Quantized.Select(linear => linear.WeightName)];
        // A method may change a norm, which is float32 then.
        long floats = plan.Config.Tensors().Where(tensor => !quantized.Contains(tensor.Key))
            .Sum(tensor => tensor.Value.Count == 1 ? tensor.Value[0] * (long)sizeof(float) : weights.Source(tensor.Key).ByteLength);
        long tensors = plan.Config.Tensors().Sum(tensor =>
            (quantized.Contains(tensor.Key) ? PartsOfLinear : 1) * (2L * (tensor.Key.Length + LongestSuffix) + HeaderBytes + ChecksumBytes));
        long header = JsonEncodedText.Encode(manifest.ToJson(), JavaScriptEncoder.UnsafeRelaxedJsonEscaping).EncodedUtf8Bytes.Length;
        return floats + tensors + header + ArtifactWriter.TokenizerTensor(tokenizerJson).ByteLength + HeaderBytes + ChecksumBytes + (2 * Alignment);
    }
}
