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
    private readonly Dictionary<string, CheckpointTensor> tensors = new(StringComparer.Ordinal);

    // The linears that are quantized already, by the names of their weights.
    private readonly Dictionary<string, (LinearShape Shape, QuantizationSpec Spec, long Bytes)> linears = new(StringComparer.Ordinal);

    private ModelWeights(ModelFolder model)
    {
        checkpoint = Checkpoint.Open(model);
        if (model.Config.Quantization is { Spec: not null } quantization) quantized = new QuantizedCheckpoint(quantization, checkpoint.Tensors);
    }

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
                QuantizationPlan plan = new(model.Config, model.Config.Quantization!.Spec!);
                foreach (LinearShape linear in plan.Quantized)
                {
                    QuantizationSpec spec = plan[linear]!;
                    weights.linears.Add(linear.WeightName, (linear, spec, quantized.Tensors(linear, spec).Sum(tensor => tensor.StoredBytes)));
                }
            }

            IReadOnlyDictionary<string, CheckpointTensor> found = weights.checkpoint.Tensors;
            foreach ((string name, IReadOnlyList<int> shape) in model.Config.Tensors().Where(tensor => !weights.linears.ContainsKey(tensor.Key)))
            {
                if (!found.TryGetValue(name, out CheckpointTensor? tensor)) throw TensorMissing(model, name, found.Keys);
                Check(model, tensor, shape);
                weights.tensors.Add(
                    name, tensor.Type is ElementType.F8E4M3 or ElementType.F8E5M2 ? Float8.Scaled(tensor, found, model.Config.Quantization?.Block) : tensor);
            }

            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>A tensor that an artifact keeps as it is.</summary>
    public TensorSource Source(string name) => tensors[name].ToSource(name);

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

    private static torch.Tensor Load(CheckpointTensor tensor, torch.Device device)
    {
        torch.ScalarType type = tensor.Type switch
        {
            ElementType.BF16 => torch.bfloat16,
            ElementType.F16 => torch.float16,
            _ => torch.float32,
        };
        torch.Tensor result = torch.empty([.. tensor.Shape], torch.float32, device);
        long rows = tensor.Shape[0];
        long rowBytes = tensor.ByteLength / rows;
        long piece = Math.Clamp(PieceBytes / rowBytes, 1, rows);
        for (long row = 0; row < rows; row += piece)
        {
            using DisposeScope step = torch.NewDisposeScope();
            long count = Math.Min(piece, rows - row);
            torch.Tensor part = torch.empty([count, .. tensor.Shape.Skip(1)], type);
            tensor.Read(row * rowBytes, part.bytes);
            result.narrow(0, row, count).copy_(part);
        }

        return result;
    }

    /// <summary>Reads the weights of a decoder layer to a device as float32.</summary>
    internal LayerWeights LoadLayer(DecoderConfig config, int layer, torch.Device device)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        return new LayerWeights(
            Load(DecoderConfig.AttentionNormName(layer), device),
            Load(DecoderConfig.MlpNormName(layer), device),
            config.Linears(layer).Select(linear => Load(linear.WeightName, device)));
    }

    /// <inheritdoc/>
    public void Dispose() => checkpoint.Dispose();

    private static void Check(ModelFolder model, CheckpointTensor entry, IReadOnlyList<int> shape)
    {
        string Shape(IEnumerable<long> sizes) => $"[{string.Join(", ", sizes)}]";
        if (entry.Type is not (ElementType.F32 or ElementType.F16 or ElementType.BF16 or ElementType.F8E4M3 or ElementType.F8E5M2))
        {
            throw new QuantBuildException(
                DiagnosticIds.TensorMismatch,
                $"The tensor {entry.Name} in {model.Path} has the element type {entry.Type.HeaderName()}, expected F32, F16, BF16, F8_E4M3 or F8_E5M2. " +
                "Weights that are quantized already are read where \"quantization_config\" in config.json says how.");
        }

        if (!entry.Shape.SequenceEqual(shape.Select(size => (long)size)))
        {
            throw new QuantBuildException(
                DiagnosticIds.TensorMismatch,
                $"The tensor {entry.Name} in {model.Path} has the shape {Shape(entry.Shape)}, and config.json asks for {Shape(shape.Select(size => (long)size))}. " +
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
