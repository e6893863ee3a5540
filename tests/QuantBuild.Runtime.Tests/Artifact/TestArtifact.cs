using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace QuantBuild.Runtime.Tests;

/// <summary>Makes artifacts for tests: the sample model in floating point or rounded to nearest, and small random models.</summary>
internal static class TestArtifact
{
    /// <summary>How a linear is rounded to nearest.</summary>
    public sealed record Rounding(int Bits, int GroupSize, bool Symmetric, bool Ordered);

    /// <summary>Writes the sample model, each linear rounded where asked for.</summary>
    public static string WriteSample(string path, Rounding? rounding = null, string fingerprint = "sample")
    {
        using SafetensorsFile weights = SafetensorsFile.Open(Path.Combine(Sample.ModelFolder, "model.safetensors"), "QB2005");
        string config = File.ReadAllText(Path.Combine(Sample.ModelFolder, "config.json"));
        Write(path, config, name => TensorSource.FromFile(weights, weights.Tensors[name]), rounding, fingerprint,
            File.ReadAllText(Path.Combine(Sample.ModelFolder, "generation_config.json")));
        return path;
    }

    /// <summary>The text of a small model's configuration.</summary>
    public static string Config(
        int hidden = 48, int intermediate = 80, int layers = 2, int heads = 4, int kvHeads = 2, int headDim = 12, int vocabulary = 4096, int context = 64, bool tied = false) =>
        JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["architectures"] = new[] { "LlamaForCausalLM" },
            ["hidden_act"] = "silu",
            ["hidden_size"] = hidden,
            ["intermediate_size"] = intermediate,
            ["num_hidden_layers"] = layers,
            ["num_attention_heads"] = heads,
            ["num_key_value_heads"] = kvHeads,
            ["head_dim"] = headDim,
            ["vocab_size"] = vocabulary,
            ["max_position_embeddings"] = context,
            ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = 10000.0,
            ["tie_word_embeddings"] = tied,
            ["eos_token_id"] = 4094,
        });

    /// <summary>The text of the configuration of a small model with LongRoPE.</summary>
    public static string LongRopeConfig(int original, int context) => $$"""
        {"architectures": ["Phi3ForCausalLM"], "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 4096,
         "max_position_embeddings": {{context}}, "original_max_position_embeddings": {{original}}, "rms_norm_eps": 1e-5, "eos_token_id": 4094,
         "rope_scaling": {"type": "longrope", "short_factor": [1, 1, 1, 1.2, 1.5, 2], "long_factor": [1, 2, 3, 5, 9, 17]} }
        """;

    /// <summary>Random weights for a configuration, by name: float32, norms near one.</summary>
    public static Dictionary<string, float[]> RandomWeights(string config, int seed)
    {
        Random random = new(seed);
        return DecoderConfig.Parse(config, "config.json").Tensors().ToDictionary(t => t.Key, t =>
        {
            bool norm = t.Value.Count == 1;
            double scale = norm ? 0.2 : 1.5 / Math.Sqrt(t.Value[^1]);
            return Enumerable.Range(0, t.Value.Aggregate((a, b) => a * b))
                .Select(_ => (float)((norm ? 1 : 0) + (scale * ((2 * random.NextDouble()) - 1) * 1.7))).ToArray();
        });
    }

    /// <summary>Writes a model of float32 weights.</summary>
    public static string Write(string path, string config, Dictionary<string, float[]> weights, Rounding? rounding = null, string? generationConfig = null, byte[]? tokenizerJson = null)
    {
        DecoderConfig parsed = DecoderConfig.Parse(config, "config.json");
        Dictionary<string, IReadOnlyList<int>> shapes = parsed.Tensors().ToDictionary(t => t.Key, t => t.Value);
        Write(path, config, name => TensorSource.FromBytes(
            name, ElementType.F32, [.. shapes[name].Select(s => (long)s)], MemoryMarshal.AsBytes(weights[name].AsSpan()).ToArray()),
            rounding, "test", generationConfig, tokenizerJson);
        return path;
    }

    public static ArtifactManifest Manifest(string config, string fingerprint = "test", IReadOnlyDictionary<string, LayerFormat>? layers = null) => new()
    {
        Fingerprint = fingerprint,
        ModelName = "test",
        QuantizerVersion = "1",
        Spec = new QuantizationSpec().ToMetadata().ToDictionary(),
        ConfigJson = config,
        ModelFiles = [new SourceFile("config.json", config.Length, new string('0', 64))],
        OriginalBytes = 1,
        Layers = layers ?? new Dictionary<string, LayerFormat>(),
    };

    /// <summary>The weights [outputs, inputs] that the parts of a rounded linear stand for, in the order of the inputs.</summary>
    public static double[] Dequantize(QuantizedLinear linear)
    {
        double[] result = new double[linear.Outputs * linear.Inputs];
        for (int n = 0; n < linear.Outputs; n++)
        {
            for (int j = 0; j < linear.Inputs; j++)
            {
                int group = (n * (linear.Inputs / linear.GroupSize)) + (j / linear.GroupSize);
                int input = linear.Order?[j] ?? j;
                result[(n * linear.Inputs) + input] = (double)linear.Scales[group] * (linear.Values[(n * linear.Inputs) + j] - linear.Zeros[group]);
            }
        }

        return result;
    }

    /// <summary>Rounds a weight to nearest.</summary>
    public static QuantizedLinear Round(float[] weight, int outputs, int inputs, Rounding rounding)
    {
        int groupSize = rounding.GroupSize < 0 ? inputs : rounding.GroupSize;
        int groups = inputs / groupSize;
        int largest = (1 << rounding.Bits) - 1;
        int[]? order = null;
        if (rounding.Ordered)
        {
            order = [.. Enumerable.Range(0, inputs)];
            new Random(inputs).Shuffle(order);
        }

        QuantizedLinear result = new(
            outputs, inputs, groupSize, rounding.Bits, rounding.Symmetric, new byte[outputs * inputs], new Half[outputs * groups], new int[outputs * groups], order);
        for (int n = 0; n < outputs; n++)
        {
            for (int g = 0; g < groups; g++)
            {
                float[] values = [.. Enumerable.Range(g * groupSize, groupSize).Select(j => weight[(n * inputs) + (order?[j] ?? j)])];
                float low = Math.Min(0, values.Min());
                float high = Math.Max(0, values.Max());
                if (rounding.Symmetric) (low, high) = (-Math.Max(-low, high), Math.Max(-low, high));
                Half scale = (Half)Math.Max((high - low) / largest, 1e-4f);
                int zero = rounding.Symmetric ? 1 << (rounding.Bits - 1) : Math.Clamp((int)MathF.Round(-low / (float)scale), 0, largest);
                result.Scales[(n * groups) + g] = scale;
                result.Zeros[(n * groups) + g] = zero;
                for (int i = 0; i < groupSize; i++)
                {
                    result.Values[(n * inputs) + (g * groupSize) + i] = (byte)Math.Clamp((int)MathF.Round(values[i] / (float)scale) + zero, 0, largest);
                }
            }
        }

        return result;
    }

    private static void Write(
        string path, string config, Func<string, TensorSource> tensor, Rounding? rounding, string fingerprint, string? generationConfig,
        byte[]? tokenizerJson = null)
    {
        DecoderConfig parsed = DecoderConfig.Parse(config, "config.json");
        Dictionary<string, LinearShape> linears = Enumerable.Range(0, parsed.Layers).SelectMany(parsed.Linears).ToDictionary(l => l.WeightName);
        List<TensorSource> tensors = [ArtifactWriter.TokenizerTensor(tokenizerJson ?? Sample.TokenizerJson)];
        Dictionary<string, LayerFormat> layers = [];
        foreach ((string name, _) in parsed.Tensors())
        {
            TensorSource source = tensor(name);
            if (rounding is null || !linears.TryGetValue(name, out LinearShape? linear))
            {
                tensors.Add(source);
                continue;
            }

            QuantizedLinear rounded = Round(ReadFloats(source), linear.Outputs, linear.Inputs, rounding);
            tensors.AddRange(rounded.Tensors(linear.Name));
            layers.Add(linear.Name, new IntAffineFormat(rounding.Bits, rounded.GroupSize, rounding.Symmetric, rounding.Ordered));
        }

        ArtifactWriter.Write(path, Manifest(config, fingerprint, layers) with { GenerationConfigJson = generationConfig }, tensors);
    }

    private static float[] ReadFloats(TensorSource source)
    {
        using MemoryStream stream = new();
        source.CopyTo(stream);
        byte[] bytes = stream.ToArray();
        return source.Type == ElementType.F32
            ? MemoryMarshal.Cast<byte, float>(bytes).ToArray()
            : [.. Enumerable.Range(0, bytes.Length / 2).Select(i => BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(2 * i)) << 16))];
    }
}

/// <summary>A linear of integers: values [outputs, inputs] in the order of the packed columns, scales and zeros [outputs, groups].</summary>
internal sealed record QuantizedLinear(
    int Outputs, int Inputs, int GroupSize, int Bits, bool Symmetric, byte[] Values, Half[] Scales, int[] Zeros, int[]? Order)
{
    private int Tiles => PackedTiles.Count(Outputs);

    private int Groups => Inputs / GroupSize;

    public byte[] Packed() => Pack(Values, Outputs, Inputs, Bits);

    /// <summary>Integers [outputs, inputs] in tiles.</summary>
    public static byte[] Pack(byte[] values, int outputs, int inputs, int bits)
    {
        int tileBytes = PackedTiles.Bytes(inputs, bits);
        byte[] packed = new byte[PackedTiles.Count(outputs) * tileBytes];
        for (int first = 0; first < outputs; first += 8)
        {
            PackedTiles.Pack(values.AsSpan(first * inputs, Math.Min(8, outputs - first) * inputs), inputs, packed.AsSpan(first / 8 * tileBytes, tileBytes), bits);
        }

        return packed;
    }

    /// <summary>[tiles, groups, 8], zeros where there is no row.</summary>
    public Half[] TileScales() => InTiles(Scales);

    /// <summary>[tiles, groups, 8], zeros where there is no row.</summary>
    public byte[] TileZeros() => InTiles([.. Zeros.Select(z => (byte)z)]);

    public IEnumerable<TensorSource> Tensors(string name)
    {
        long[] groups = [Tiles, Groups, 8];
        yield return TensorSource.FromBytes(name + IntAffine.WeightSuffix, ElementType.U8, [Tiles, PackedTiles.Bytes(Inputs, Bits)], Packed());
        yield return TensorSource.FromBytes(name + IntAffine.ScalesSuffix, ElementType.F16, groups, MemoryMarshal.AsBytes(TileScales().AsSpan()).ToArray());
        if (!Symmetric) yield return TensorSource.FromBytes(name + IntAffine.ZerosSuffix, ElementType.U8, groups, TileZeros());
        if (Order is not null) yield return TensorSource.FromBytes(name + IntAffine.OrderSuffix, ElementType.I32, [Inputs], MemoryMarshal.AsBytes(Order.AsSpan()).ToArray());
    }

    private T[] InTiles<T>(T[] rows)
    {
        T[] tiles = new T[Tiles * Groups * 8];
        for (int row = 0; row < Outputs; row++)
        {
            for (int group = 0; group < Groups; group++) tiles[(((row / 8 * Groups) + group) * 8) + (row % 8)] = rows[(row * Groups) + group];
        }

        return tiles;
    }
}
