using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>The sample model, quantized once for all tests that only look at it, and its logits by torch.</summary>
internal sealed class QuantizedSample
{
    // Classes of tests run side by side, and a fixture is one class's own: the first that asks makes it.
    private static readonly Lazy<QuantizedSample> Made = new(() => new QuantizedSample());

    // A greedy text computes the logits many times.
    private static readonly ConditionalWeakTable<Artifact, Dictionary<string, float[]>> Dequantized = [];

    private QuantizedSample()
    {
        TemporaryFolder folder = new();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Dispose();
        // Enough text for a real Hessian and a real perplexity, little enough to be quick.
        EvaluationFile = folder.File("evaluation.txt");
        File.WriteAllText(EvaluationFile, File.ReadAllText(SampleFiles.Evaluation)[..8000]);
        Request = RequestIn(folder.Path, new QuantizationSpec { Bits = 4, CalibrationSamples = 4 }) with { EvaluationFile = EvaluationFile };
        Manifest = ModelQuantizer.Run(Request, Messages.Add, CancellationToken.None);
    }

    internal static QuantizedSample Shared => Made.Value;

    internal static string Fingerprint { get; } = new('a', 64);

    internal string EvaluationFile { get; }

    internal WorkerRequest Request { get; }

    internal List<WorkerMessage> Messages { get; } = [];

    internal ArtifactManifest Manifest { get; }

    /// <summary>A request for the sample model with a cache of its own.</summary>
    internal static WorkerRequest RequestIn(string cacheRoot, QuantizationSpec spec)
    {
        ModelCache cache = new(cacheRoot);
        return new WorkerRequest
        {
            ModelPath = SampleFiles.Model,
            Spec = spec,
            CalibrationFile = SampleFiles.ShortCalibration,
            Device = "cpu",
            Fingerprint = Fingerprint,
            ArtifactPath = cache.ArtifactPath(Fingerprint),
            BuildRecordPath = cache.BuildRecordPath(Fingerprint),
        };
    }

    /// <summary>Logits [tokens, vocabulary] of the float model, or of the dequantized weights of an artifact, by torch.</summary>
    /// <param name="tokens">The text.</param>
    /// <param name="artifact">What is quantized, if anything.</param>
    /// <param name="modelPath">The model; the sample where it is left out.</param>
    /// <param name="margins">Receives for each token by how much, in any layer, the router's least chosen score is above the highest that was not chosen.</param>
    internal static float[] TorchLogits(int[] tokens, Artifact? artifact, string? modelPath = null, float[]? margins = null)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        ModelFolder model = ModelFolder.Open(modelPath ?? SampleFiles.Model);
        using ModelWeights weights = ModelWeights.Open(model);
        using DecoderForward forward = new(model.Config, tokens.Length, torch.CPU);
        torch.Tensor Table(LinearShape table) =>
            artifact?.Manifest.Layers.ContainsKey(table.Name) == true ? Dequantize(artifact, table) : weights.Load(table.WeightName, torch.CPU);
        using EmbeddingTables floats = weights.LoadEmbedding();
        torch.Tensor hidden = (floats with { Tokens = Table(model.Config.Embedding) }).Of(torch.tensor(tokens, torch.int64).unsqueeze(0));
        for (int index = 0; index < model.Config.Layers; index++)
        {
            using LayerWeights layer = weights.LoadLayer(model.Config, index, torch.CPU);
            if (artifact is not null)
            {
                foreach ((LinearRole role, LinearShape shape) in LinearRoles.All(model.Config, index).Zip(model.Config.Linears(index)))
                {
                    if (shape.HasBias) layer.ReplaceBias(role, Vector(artifact.File, shape.BiasName));
                    if (!artifact.Manifest.Layers.TryGetValue(shape.Name, out LayerFormat? format)) continue;
                    layer.Replace(role, Dequantize(artifact, shape), Rounding(format));
                }

                // AWQ changes norms, and an artifact then holds its own.
                if (layer.AttentionNorm is not null && Norm(artifact.File, model.Config, DecoderConfig.AttentionNormName(index)) is { } attention) layer.AttentionNorm = attention;
                if (layer.MlpNorm is not null && Norm(artifact.File, model.Config, DecoderConfig.MlpNormName(index)) is { } mlp) layer.MlpNorm = mlp;
            }

            if (margins is not null && layer.Router is { } router) Narrow(margins, forward.MlpInput(forward.AfterAttention(hidden, layer), layer), router, model.Config.ExpertsPerToken);
            hidden = forward.Layer(hidden, layer);
        }

        using FinalWeights final = weights.LoadFinal(torch.CPU);
        torch.Tensor head = Table(model.Config.Head);
        return forward.Head(hidden, final, head).contiguous().data<float>().ToArray();
    }

    private static void Narrow(float[] margins, torch.Tensor input, torch.Tensor router, int chosen)
    {
        torch.Tensor scores = torch.nn.functional.linear(input.reshape(margins.Length, -1), router).sort(-1, descending: true).Values;
        float[] above = (scores.narrow(1, chosen - 1, 1) - scores.narrow(1, chosen, 1)).contiguous().data<float>().ToArray();
        for (int t = 0; t < margins.Length; t++) margins[t] = Math.Min(margins[t], above[t]);
    }

    /// <summary>A norm that may have been changed: then it is F32.</summary>
    private static NormWeights? Norm(SafetensorsFile file, DecoderConfig config, string name)
    {
        if (file.Tensors[name].Type != ElementType.F32) return null;
        torch.Tensor weight = torch.tensor(MemoryMarshal.Cast<byte, float>(file.Bytes(file.Tensors[name])).ToArray().Select(value => value + config.NormOffset).ToArray());
        return new NormWeights(weight, config.NormBias ? Vector(file, DecoderConfig.BiasName(name)) : null);
    }

    private static torch.Tensor Vector(SafetensorsFile file, string name) => torch.tensor(MemoryMarshal.Cast<byte, float>(file.Bytes(file.Tensors[name])).ToArray());

    /// <summary>A linear of an artifact by its format's definition, element by element.</summary>
    private static torch.Tensor Dequantize(Artifact artifact, LinearShape shape)
    {
        Dictionary<string, float[]> known = Dequantized.GetOrCreateValue(artifact);
        if (!known.TryGetValue(shape.Name, out float[]? weight))
        {
            known[shape.Name] = weight = artifact.Manifest.Layers[shape.Name] switch
            {
                Codebook4Format format => Dequantize(artifact.File, shape, format),
                Int8RowOutlierFormat => DequantizeInt8(artifact.File, shape),
                IntAffineFormat format => Dequantize(artifact.File, shape, format),
                LayerFormat format => throw new InvalidDataException(format.ToString()),
            };
        }

        return torch.tensor(weight).view(shape.Outputs, shape.Inputs);
    }

    private static Func<torch.Tensor, torch.Tensor>? Rounding(LayerFormat format) =>
        format is Int8RowOutlierFormat { OutlierThreshold: > 0 and double threshold } ? x => RowInt8.RoundActivations(x, (float)threshold) : null;

    private static unsafe float[] Dequantize(SafetensorsFile file, LinearShape shape, IntAffineFormat format)
    {
        byte* Part(string suffix) => file.Pointer(file.Tensors[shape.Name + suffix]);
        int groups = shape.Inputs / format.GroupSize;
        float[] weight = new float[shape.Outputs * shape.Inputs];
        for (int n = 0; n < shape.Outputs; n++)
        {
            for (int j = 0; j < shape.Inputs; j++)
            {
                int group = (((n / 8 * groups) + (j / format.GroupSize)) * 8) + (n % 8);
                int zero = format.Symmetric ? 1 << (format.Bits - 1) : Part(IntAffine.ZerosSuffix)[group];
                int input = format.Ordered ? ((int*)Part(IntAffine.OrderSuffix))[j] : j;
                int value = Value(Part(IntAffine.WeightSuffix), shape, n, j, format.Bits);
                weight[(n * shape.Inputs) + input] = (float)((Half*)Part(IntAffine.ScalesSuffix))[group] * (value - zero);
            }
        }

        return weight;
    }

    /// <summary>One integer of a packed weight, by the documented layout: tiles of 8 rows, chunks of 32 inputs, vectors of 4 inputs of each row.</summary>
    private static unsafe int Value(byte* packed, LinearShape shape, int row, int input, int bits)
    {
        int chunks = (shape.Inputs + 31) / 32;
        byte* chunk = packed + (((long)(row / 8 * chunks) + (input / 32)) * 32 * bits);
        int j = input % 32 / 4, at = (row % 8 * 4) + (input % 4);
        int low = (chunk[(j / 4 * 32) + at] >> (j % 4 * 2)) & 3;
        return bits switch
        {
            8 => chunk[(j * 32) + at],
            4 => (chunk[(j / 2 * 32) + at] >> (j % 2 * 4)) & 15,
            2 => low,
            _ => low | (((chunk[64 + at] >> j) & 1) << 2),
        };
    }

    private static unsafe float[] Dequantize(SafetensorsFile file, LinearShape shape, Codebook4Format format)
    {
        byte* Part(string suffix) => file.Pointer(file.Tensors[shape.Name + suffix]);
        float[] weight = new float[shape.Outputs * shape.Inputs];
        byte* packed = Part(".weight");
        for (int i = 0; i < weight.Length; i++)
        {
            int n = i / shape.Inputs, k = i % shape.Inputs, block = i / format.BlockSize;
            int index = Value(packed, shape, n, k, 4);
            float absmax = format.DoubleQuantized
                ? (Codebook4.DynamicMap[Part(".absmax")[block]] * ((float*)Part(".nested_absmax"))[block / 256]) + *(float*)Part(".offset")
                : format.Codebook == Codebook.Mxfp4 ? MathF.Pow(2, Part(".exponent")[block] - 124) : ((float*)Part(".absmax"))[block];
            weight[i] = Codebook4.Values(format.Codebook)[index] * absmax;
        }

        return weight;
    }

    private static unsafe float[] DequantizeInt8(SafetensorsFile file, LinearShape shape)
    {
        byte* values = file.Pointer(file.Tensors[shape.Name + ".weight"]);
        float* absmax = (float*)file.Pointer(file.Tensors[shape.Name + ".absmax"]);
        return
        [
            .. Enumerable.Range(0, shape.Outputs * shape.Inputs).Select(
                i => (float)((sbyte)Value(values, shape, i / shape.Inputs, i % shape.Inputs, 8) * (double)absmax[i / shape.Inputs] / 127)),
        ];
    }
}
