using System.Globalization;

namespace QuantBuild.Worker.Tests;

/// <summary>An artifact of random bytes, two layers of 64, in which each linear has the format that a test gives it; floating point where it gives none.</summary>
internal static class SmallArtifact
{
    public const string Config = """
        { "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 32, "tie_word_embeddings": true, "bos_token_id": 0 }
        """;

    /// <summary>The same with four experts in each layer.</summary>
    public const string ConfigOfExperts = """
        { "architectures": ["MixtralForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 32, "tie_word_embeddings": true, "bos_token_id": 0,
          "num_local_experts": 4, "num_experts_per_tok": 2 }
        """;

    public static readonly string Fingerprint = new('c', 64);

    /// <summary>What was measured, where a test wants figures.</summary>
    public static QualityFigures Quality { get; } = new(14.5, 14.79, 0.0123, 0.925, 12345, 32, EvaluationText.EvaluationData, [0.021, 0.0345]);

    /// <summary>Writes it and opens it.</summary>
    public static Artifact Write(string path, Func<LinearShape, LayerFormat?> format, Action<Dictionary<string, string>>? spec = null, string modelName = "small", bool isMeasured = true, string configJson = Config)
    {
        DecoderConfig config = DecoderConfig.Parse(configJson, "config.json");
        Dictionary<string, LinearShape> linears = Enumerable.Range(0, config.Layers).SelectMany(config.Linears).ToDictionary(linear => linear.WeightName);
        Dictionary<string, LayerFormat> layers = [];
        List<TensorSource> tensors = [ArtifactWriter.TokenizerTensor(File.ReadAllBytes(Path.Combine(SampleFiles.Model, "tokenizer.json")))];
        foreach ((string name, IReadOnlyList<int> shape) in config.Tensors())
        {
            if (linears.TryGetValue(name, out LinearShape? linear) && format(linear) is { } quantized)
            {
                layers.Add(linear.Name, quantized);
                tensors.AddRange(Parts(linear, quantized));
            }
            else
            {
                tensors.Add(Zeros(name, ElementType.BF16, [.. shape.Select(size => (long)size)]));
            }
        }

        Dictionary<string, string> metadata = new QuantizationSpec { Method = QuantizationMethod.Rtn, GroupSize = 32 }.ToMetadata().ToDictionary(e => e.Key, e => e.Value);
        spec?.Invoke(metadata);
        ArtifactWriter.Write(
            path,
            new ArtifactManifest
            {
                Fingerprint = Fingerprint,
                ModelName = modelName,
                QuantizerVersion = "9.8.7",
                Spec = metadata,
                ConfigJson = configJson,
                ModelFiles = [new SourceFile("model.safetensors", 123456, new string('d', 64))],
                Quality = isMeasured ? Quality : null,
                OriginalBytes = 2 * config.Parameters,
                Layers = layers,
            },
            tensors);
        return Artifact.Open(path);
    }

    private static IEnumerable<TensorSource> Parts(LinearShape linear, LayerFormat format)
    {
        (long n, long k) = (linear.Outputs, linear.Inputs);
        // Tiles of 8 rows, chunks of 32 inputs.
        long tiles = (n + 7) / 8, padded = (k + 31) / 32 * 32;
        string name = linear.Name;
        // As docs/artifact.md has them.
        switch (format)
        {
            case IntAffineFormat affine:
                yield return Zeros(name + ".weight", ElementType.U8, [tiles, padded * affine.Bits]);
                yield return Zeros(name + ".scales", ElementType.F16, [tiles, k / affine.GroupSize, 8]);
                if (!affine.Symmetric) yield return Zeros(name + ".zeros", ElementType.U8, [tiles, k / affine.GroupSize, 8]);
                if (affine.Ordered)
                {
                    byte[] order = [.. Enumerable.Range(0, (int)k).SelectMany(BitConverter.GetBytes)];
                    yield return TensorSource.FromBytes(name + ".order", ElementType.I32, [k], order);
                }

                break;
            case Codebook4Format codebook:
                long blocks = ((n * k) + codebook.BlockSize - 1) / codebook.BlockSize;
                yield return Zeros(name + ".weight", ElementType.U8, [tiles, padded * 4]);
                yield return Zeros(name + ".absmax", codebook.DoubleQuantized ? ElementType.U8 : ElementType.F32, [blocks]);
                if (!codebook.DoubleQuantized) break;
                yield return Zeros(name + ".nested_absmax", ElementType.F32, [(blocks + 255) / 256]);
                yield return Zeros(name + ".offset", ElementType.F32, [1]);
                break;
            case Int8RowOutlierFormat:
                yield return Zeros(name + ".weight", ElementType.I8, [tiles, padded * 8]);
                yield return Zeros(name + ".absmax", ElementType.F32, [tiles, 8]);
                break;
            default:
                throw new InvalidDataException(string.Create(CultureInfo.InvariantCulture, $"{format}"));
        }
    }

    private static TensorSource Zeros(string name, ElementType type, long[] shape) =>
        TensorSource.FromBytes(name, type, shape, new byte[shape.Aggregate((long)type.Size(), (product, size) => product * size)]);
}
