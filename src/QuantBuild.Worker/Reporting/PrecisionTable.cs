using System.Globalization;

namespace QuantBuild.Worker.Reporting;

/// <summary>What a model takes at one precision, by the arithmetic of the format.</summary>
/// <param name="Name">The precision.</param>
/// <param name="BitsPerWeight">Of the linears.</param>
/// <param name="WeightBytes">Of all tensors but the tokenizer: what a program holds in memory at an empty context.</param>
/// <param name="FileBytes">Of all tensors, the tokenizer among them; a file has its header besides.</param>
/// <param name="FullContextBytes">Weights, and the keys and values of a full context.</param>
internal sealed record PrecisionSize(string Name, double BitsPerWeight, long WeightBytes, long FileBytes, long FullContextBytes);

/// <summary>The memory table of the guide, for one model: sizes by precision.</summary>
internal static class PrecisionTable
{
    /// <summary>The rows for the model of an artifact: what is no linear stays as it is in the artifact, except where all is float.</summary>
    public static IReadOnlyList<PrecisionSize> Of(Artifact artifact)
    {
        DecoderConfig config = artifact.Config;
        IReadOnlyDictionary<string, string> spec = artifact.Manifest.Spec;
        LinearShape[] linears = [.. LinearSizes.All(config)];
        long weights = linears.Sum(LinearSizes.Weights);
        long others = OtherBytes(artifact, linears);
        long tokenizer = artifact.File.Tensors[Artifact.TokenizerName].ByteLength;
        long cache = KvCache(config);
        PrecisionSize Row(string name, long linearBytes, long otherBytes) => new(
            name, 8.0 * linearBytes / weights, linearBytes + otherBytes, linearBytes + otherBytes + tokenizer, linearBytes + otherBytes + cache);

        PrecisionSize Float(string name, int bytes) => Row(name, bytes * weights, bytes * (config.Parameters - weights));
        PrecisionSize Quantized(string name, QuantizationSpec spec) => Row(name, linears.Sum(linear => PackedSize.Of(spec, linear)), others);

        int groupSize = LinearSizes.FittingGroupSize(config, Value(spec, "GroupSize") is { } size ? int.Parse(size, CultureInfo.InvariantCulture) : 128);
        int blockSize = Value(spec, "BlockSize") is { } block ? int.Parse(block, CultureInfo.InvariantCulture) : 64;
        bool doubleQuantized = Value(spec, "DoubleQuantization") is not "false";
        bool symmetric = Value(spec, "Symmetric") is "true";
        bool ordered = artifact.File.Tensors.Keys.Any(name => name.EndsWith(IntAffine.OrderSuffix, StringComparison.Ordinal));
        QuantizationSpec affine = new() { Method = ordered ? QuantizationMethod.Gptq : QuantizationMethod.Rtn, GroupSize = groupSize, Symmetric = symmetric };
        string groups = groupSize == QuantizationSpec.PerChannel ? "a group a row" : string.Create(CultureInfo.InvariantCulture, $"groups of {groupSize}");
        string half = artifact.File.Tensors[DecoderConfig.EmbeddingName].Type == ElementType.BF16 ? "BF16" : "F16";
        return
        [
            Float("F32", 4),
            Float(half, 2),
            Quantized("Int8, LLM.int8()", new QuantizationSpec { Method = QuantizationMethod.Int8 }),
            Quantized(
                string.Create(CultureInfo.InvariantCulture, $"NF4, blocks of {blockSize}{(doubleQuantized ? ", double-quantized" : "")}"),
                new QuantizationSpec { Method = QuantizationMethod.Nf4, BlockSize = blockSize, DoubleQuantization = doubleQuantized }),
            .. QuantizationSpec.SupportedBits.OrderDescending().Select(bits => Quantized(
                string.Create(CultureInfo.InvariantCulture, $"{bits} bits, {groups}"),
                affine with { Bits = bits })),
        ];
    }

    /// <summary>The same for what the artifact is, by its tensors.</summary>
    public static PrecisionSize OfArtifact(Artifact artifact)
    {
        long weights = artifact.File.Tensors.Values.Where(tensor => tensor.Name != Artifact.TokenizerName).Sum(tensor => tensor.ByteLength);
        return new PrecisionSize("This artifact", LinearSizes.Bits(artifact), weights, artifact.Length, weights + KvCache(artifact.Config));
    }

    private static long KvCache(DecoderConfig config) => Decoding.KvPages.BytesPerToken(config, KvPrecision.Float16) * config.UsualContext;

    private static long OtherBytes(Artifact artifact, LinearShape[] linears) =>
        artifact.File.Tensors.Values.Where(tensor => tensor.Name != Artifact.TokenizerName).Sum(tensor => tensor.ByteLength)
        - linears.Sum(linear => LinearSizes.Bytes(artifact, linear));

    private static string? Value(IReadOnlyDictionary<string, string> spec, string name) => spec.GetValueOrDefault(name);
}
