using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The weights of a model, open and not read: every tensor that the configuration asks for was found to be there, with the
/// right shape and a float type, before any work begins.
/// </summary>
public sealed class ModelWeights : IDisposable
{
    // A tensor is copied in pieces: torch's view of its bytes ends at 2 GiB.
    private const long PieceBytes = 16 << 20;

    private readonly Checkpoint checkpoint;
    private readonly QuantizedCheckpoint? quantized;
    private readonly Dictionary<string, PlacedTensor> tensors = new(StringComparer.Ordinal);

    // The linears that are quantized already, by the names of their weights.
    private readonly Dictionary<string, (LinearShape Shape, QuantizationSpec Spec, long Bytes)> linears = new(StringComparer.Ordinal);

    private ModelWeights(ModelFolder model)
    {
        Config = model.Config;
        checkpoint = Checkpoint.Open(model);
        if (Config.Quantization is { Spec: not null } quantization) quantized = new QuantizedCheckpoint(quantization, Config.Names, checkpoint.Tensors);
    }

    /// <summary>The decoder.</summary>
    public DecoderConfig Config { get; }

    /// <summary>Bytes of all tensors that the configuration asks for, as the files store them.</summary>
    public long Bytes => tensors.Values.Sum(tensor => tensor.StoredBytes) + linears.Values.Sum(linear => linear.Bytes);

    /// <summary>Maps the weights of a model, and checks them against its configuration.</summary>
    /// <exception cref="QuantBuildException">
    /// QB2005 malformed file or index, QB2006 tensor missing, QB2007 shape or type; QB2040 to QB2042 a file of a kind that is not read.
    /// </exception>
    public static ModelWeights Open(ModelFolder model)
    {
        ModelWeights weights = new(model);
        try
        {
            if (weights.quantized is { } quantized)
            {
                quantized.Check();
                QuantizationPlan plan = new(model.Config, model.Config.Quantization!.Spec!);
                foreach (LinearShape linear in plan.Quantized)
                {
                    QuantizationSpec spec = plan[linear]!;
                    weights.linears.Add(linear.WeightName, (linear, spec, quantized.Bytes(linear, spec)));
                }
            }

            IReadOnlyDictionary<string, CheckpointTensor> found = weights.checkpoint.Tensors;
            foreach ((string name, IReadOnlyList<int> shape) in model.Config.Tensors().Where(tensor => !weights.linears.ContainsKey(tensor.Key)))
            {
                TensorPlace place = model.Config.Names.Of(name);
                long[] stored = PlacedTensor.ShapeIn(shape, place);
                weights.tensors.Add(name, new PlacedTensor(name, shape, place, CheckpointTensor.Joined(place.Name, [.. place.Names.Select(part => Find(model, found, part, place.Expert, stored))])));
            }

            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    private static CheckpointTensor Find(ModelFolder model, IReadOnlyDictionary<string, CheckpointTensor> found, string name, ExpertPart? expert, long[] shape)
    {
        // A file of the model without its head has the names without their first part.
        if (!found.TryGetValue(name, out CheckpointTensor? tensor) && !found.TryGetValue(name[(name.IndexOf('.', StringComparison.Ordinal) + 1)..], out tensor))
        {
            throw TensorMissing(model, name, found.Keys);
        }

        Check(model, tensor, expert is null ? shape : [expert.Count, .. shape]);
        if (tensor.Type is ElementType.F8E4M3 or ElementType.F8E5M2) tensor = Float8.Scaled(tensor, found, model.Config.Quantization?.Block);
        return expert is null ? tensor : tensor.Part(expert.Index);
    }

    /// <summary>A tensor for a new file, under the name by which it is known here.</summary>
    public TensorSource Source(string name) => tensors[name].Source();

    /// <summary>A linear that is quantized already, in the artifact's format; <see langword="null"/> where it is in floating point.</summary>
    /// <exception cref="QuantBuildException">QB2007: its values contradict <c>config.json</c>, or each other.</exception>
    internal QuantizedLinear? Quantized(LinearShape linear) => linears.TryGetValue(linear.WeightName, out (LinearShape, QuantizationSpec Spec, long) known) ? quantized!.Read(linear, known.Spec) : null;

    /// <summary>Reads a tensor to a device as float32; of a linear that is quantized already, what its values stand for.</summary>
    /// <exception cref="QuantBuildException">QB3006: a value is not finite.</exception>
    public torch.Tensor Load(string name, torch.Device device)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor result = linears.TryGetValue(name, out (LinearShape Shape, QuantizationSpec, long) linear) ? Quantized(linear.Shape)!.Dequantize(device) : Load(tensors[name], device);
        if (!result.AllFinite())
        {
            throw new QuantBuildException(
                DiagnosticIds.NonFinite, $"The weight {name} holds values that are not finite numbers. The file is damaged, or its training failed: copy the model again.");
        }

        return result.MoveToOuterDisposeScope();
    }

    private static torch.Tensor Load(PlacedTensor tensor, torch.Device device)
    {
        torch.ScalarType type = tensor.Type switch
        {
            ElementType.BF16 => torch.bfloat16,
            ElementType.F16 => torch.float16,
            _ => torch.float32,
        };
        torch.Tensor result = torch.empty(tensor.Shape, torch.float32, device);
        long rows = tensor.Shape[0];
        long piece = Math.Clamp(PieceBytes / tensor.RowBytes, 1, rows);
        for (long row = 0; row < rows; row += piece)
        {
            using DisposeScope step = torch.NewDisposeScope();
            long count = Math.Min(piece, rows - row);
            torch.Tensor part = torch.empty([count, .. tensor.Shape.Skip(1)], type);
            tensor.Read(row, part.bytes);
            result.narrow(0, row, count).copy_(part);
        }

        return result;
    }

    /// <summary>Reads the weight of a norm, and its bias where there is one, to a device as float32.</summary>
    /// <param name="name">The weight's name.</param>
    /// <param name="device">Where they go.</param>
    /// <param name="bias">Whether there is a bias.</param>
    internal NormWeights LoadNorm(string name, torch.Device device, bool bias)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor weight = Load(name, device);
        if (Config.NormOffset != 0) weight = weight.PlusInPlace(torch.tensor(new[] { Config.NormOffset }).to(device));
        return new NormWeights(weight, bias ? Load(DecoderConfig.BiasName(name), device) : null);
    }

    /// <summary>What is between the last layer and the head, and the head's bias.</summary>
    internal FinalWeights LoadFinal(torch.Device device) => new(
        Config.FinalNorm ? LoadNorm(DecoderConfig.FinalNormName, device, Config.NormBias) : null,
        Config.EmbeddingWidth is null ? null : Load(DecoderConfig.OutputProjectionName, device),
        Config.Head.HasBias ? Load(Config.Head.BiasName, device) : null);

    /// <summary>Reads the weights of a decoder layer to a device as float32.</summary>
    internal LayerWeights LoadLayer(DecoderConfig config, int layer, torch.Device device)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        IReadOnlyList<LinearShape> linears = config.Linears(layer);
        LayerWeights weights = new(config, layer, linears.Select(linear => Load(linear.WeightName, device)), linears.Select(linear => linear.HasBias ? Load(linear.BiasName, device) : null));
        NormWeights? Norm(bool there, string name) => there ? LoadNorm(name, device, config.NormBias) : null;
        weights.AttentionNorm = Norm(config.PreNorms, DecoderConfig.AttentionNormName(layer));
        weights.MlpNorm = Norm(config.HasMlpNorm, DecoderConfig.MlpNormName(layer));
        weights.AttentionPostNorm = Norm(config.PostNorms, DecoderConfig.AttentionPostNormName(layer));
        weights.MlpPostNorm = Norm(config.PostNorms, DecoderConfig.MlpPostNormName(layer));
        if (config.QueryKeyNorm != QueryKeyNorm.None)
        {
            weights.QueryNorm = LoadNorm(DecoderConfig.QueryNormName(layer), device, bias: false);
            weights.KeyNorm = LoadNorm(DecoderConfig.KeyNormName(layer), device, bias: false);
        }

        if (config.AttentionSinks) weights.Sinks = Load(DecoderConfig.SinksName(layer), device).DetachFromDisposeScope();
        if (!config.HasExperts(layer)) return weights;
        weights.Router = Load(DecoderConfig.RouterName(layer), device).DetachFromDisposeScope();
        if (config.SharedExpertGate) weights.SharedGate = Load(DecoderConfig.SharedGateName(layer), device).DetachFromDisposeScope();
        if (config.RouterBias) weights.RouterBias = Load(DecoderConfig.BiasName(DecoderConfig.RouterName(layer)), device).DetachFromDisposeScope();
        return weights;
    }

    /// <summary>Reads the tables that tokens are looked up in, to the host.</summary>
    internal EmbeddingTables LoadEmbedding() => new(Load(DecoderConfig.EmbeddingName, torch.CPU))
    {
        Scale = Config.EmbeddingScale,
        Positions = Config.LearnedPositions ? Load(DecoderConfig.PositionsName, torch.CPU) : null,
        Projection = Config.EmbeddingWidth is null ? null : Load(DecoderConfig.InputProjectionName, torch.CPU),
        Norm = Config.EmbeddingNorm ? (LoadNorm(DecoderConfig.EmbeddingNormName, torch.CPU, Config.NormBias), Config.Norm, Config.NormEpsilon) : null,
    };

    /// <inheritdoc/>
    public void Dispose() => checkpoint.Dispose();

    private static void Check(ModelFolder model, CheckpointTensor entry, long[] shape)
    {
        string Shape(IEnumerable<long> sizes) => $"[{string.Join(", ", sizes)}]";
        if (entry.Type is not (ElementType.F32 or ElementType.F16 or ElementType.BF16 or ElementType.F8E4M3 or ElementType.F8E5M2))
        {
            throw new QuantBuildException(
                DiagnosticIds.TensorMismatch,
                $"The tensor {entry.Name} in {model.Path} has the element type {entry.Type.HeaderName()}, expected F32, F16, BF16, F8_E4M3 or F8_E5M2. " +
                "Weights that are quantized already are read where \"quantization_config\" in config.json says how.");
        }

        if (!entry.Shape.SequenceEqual(shape))
        {
            throw new QuantBuildException(
                DiagnosticIds.TensorMismatch,
                $"The tensor {entry.Name} in {model.Path} has the shape {Shape(entry.Shape)}, and config.json asks for {Shape(shape)}. " +
                "config.json and the weights are not of the same model: copy the model again.");
        }
    }

    private static QuantBuildException TensorMissing(ModelFolder model, string name, IEnumerable<string> found)
    {
        string[] names = [.. found.Order(StringComparer.Ordinal)];
        return new QuantBuildException(
            DiagnosticIds.TensorMissing,
            $"The weights in {model.Path} lack the tensor {name}. They have {names.Length} tensors" +
            $"{(names.Length > 0 ? $" ({string.Join(", ", names.Take(3))}{(names.Length > 3 ? ", …" : "")})" : "")}. Copy the model again, with all its weight files.");
    }
}
