using System.Text.Json;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The weights of a Hugging Face folder, mapped and not read: every tensor that the configuration asks for was found to be there, with the
/// right shape and a float type, before any work begins.
/// </summary>
public sealed class ModelWeights : IDisposable
{
    // A tensor is copied in pieces: torch's view of its bytes ends at 2 GiB.
    private const long PieceBytes = 16 << 20;

    private readonly List<SafetensorsFile> files = [];
    private readonly Dictionary<string, PlacedTensor> tensors = new(StringComparer.Ordinal);

    private ModelWeights(DecoderConfig config) => Config = config;

    /// <summary>The decoder.</summary>
    public DecoderConfig Config { get; }

    /// <summary>Bytes of all tensors that the configuration asks for.</summary>
    public long Bytes => tensors.Values.Sum(tensor => tensor.ByteLength);

    /// <summary>Maps the weights of a model, and checks them against its configuration.</summary>
    /// <exception cref="QuantBuildException">QB2005 malformed file or index, QB2006 tensor missing, QB2007 shape or type.</exception>
    public static ModelWeights Open(ModelFolder model)
    {
        ModelWeights weights = new(model.Config);
        try
        {
            Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> found =
                model.IndexFile is null ? weights.MapFiles(model) : weights.MapIndexed(model, model.IndexFile);
            foreach ((string name, IReadOnlyList<int> shape) in model.Config.Tensors())
            {
                TensorPlace place = model.Config.Names.Of(name);
                // A file of the model without its head has the names without their first part.
                if (!found.TryGetValue(place.Name, out (SafetensorsFile File, TensorEntry Entry) tensor)
                    && !found.TryGetValue(place.Name[(place.Name.IndexOf('.', StringComparison.Ordinal) + 1)..], out tensor))
                {
                    throw TensorMissing(model, place.Name, found.Keys);
                }

                Check(model, tensor.Entry, PlacedTensor.ShapeIn(shape, place));
                weights.tensors.Add(name, new PlacedTensor(name, shape, place, tensor.File, tensor.Entry));
            }

            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>A tensor for a new file, under the name by which it is known here.</summary>
    public TensorSource Source(string name) => tensors[name].Source();

    /// <summary>Reads a tensor to a device as float32.</summary>
    /// <exception cref="QuantBuildException">QB3006: a value is not finite.</exception>
    public torch.Tensor Load(string name, torch.Device device)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        PlacedTensor tensor = tensors[name];
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

        if (!result.AllFinite())
        {
            throw new QuantBuildException(
                DiagnosticIds.NonFinite, $"The weight {name} holds values that are not finite numbers. The file is damaged, or its training failed: copy the model again.");
        }

        return result.MoveToOuterDisposeScope();
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

    /// <summary>The last norm.</summary>
    internal NormWeights LoadFinalNorm(torch.Device device) => LoadNorm(DecoderConfig.FinalNormName, device, Config.NormBias);

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

        if (config.Experts > 0) weights.Router = Load(DecoderConfig.RouterName(layer), device).DetachFromDisposeScope();
        return weights;
    }

    /// <summary>Reads the tables that tokens are looked up in, to the host.</summary>
    internal EmbeddingTables LoadEmbedding() => new(
        Load(DecoderConfig.EmbeddingName, torch.CPU), Config.LearnedPositions ? Load(DecoderConfig.PositionsName, torch.CPU) : null, Config.EmbeddingScale);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (SafetensorsFile file in files) file.Dispose();
    }

    private static void Check(ModelFolder model, TensorEntry entry, long[] shape)
    {
        string Shape(IEnumerable<long> sizes) => $"[{string.Join(", ", sizes)}]";
        if (entry.Type is not (ElementType.F32 or ElementType.F16 or ElementType.BF16))
        {
            throw new QuantBuildException(
                DiagnosticIds.TensorMismatch,
                $"The tensor {entry.Name} in {model.Path} has the element type {entry.Type}, expected F32, F16 or BF16. QuantBuild quantizes models that are not quantized yet.");
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
            $"{(names.Length > 0 ? $" ({string.Join(", ", names.Take(3))}{(names.Length > 3 ? ", …" : "")})" : "")}. Copy the model again, with all its *.safetensors files.");
    }

    private Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> MapFiles(ModelFolder model)
    {
        Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> found = new(StringComparer.Ordinal);
        foreach (string path in model.WeightFiles)
        {
            SafetensorsFile file = Map(path);
            foreach (TensorEntry entry in file.Tensors.Values)
            {
                if (found.TryAdd(entry.Name, (file, entry))) continue;
                throw new QuantBuildException(
                    DiagnosticIds.WeightsMalformed,
                    $"The tensor {entry.Name} is in two files of {model.Path}, one of them {Path.GetFileName(path)}. Remove the file that is too many, or add the model's model.safetensors.index.json.");
            }
        }

        return found;
    }

    private Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> MapIndexed(ModelFolder model, string indexFile)
    {
        QuantBuildException Malformed(string what, Exception? cause = null) => new(
            DiagnosticIds.WeightsMalformed, $"{indexFile}: {what}. Copy the file again from where the model came from.", cause);

        Dictionary<string, SafetensorsFile> mapped = new(StringComparer.Ordinal);
        Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> found = new(StringComparer.Ordinal);
        try
        {
            using JsonDocument index = JsonDocument.Parse(File.ReadAllBytes(indexFile));
            if (index.RootElement.ValueKind != JsonValueKind.Object
                || !index.RootElement.TryGetProperty("weight_map", out JsonElement map) || map.ValueKind != JsonValueKind.Object)
            {
                throw Malformed("it has no object \"weight_map\"");
            }

            foreach (JsonProperty item in map.EnumerateObject())
            {
                string name = item.Value.ValueKind == JsonValueKind.String ? item.Value.GetString()! : "";
                // A name with a folder in it could lead anywhere.
                if (name.Length == 0 || name is "." or ".." || name.AsSpan().IndexOfAny('/', '\\', ':') >= 0)
                {
                    throw Malformed($"the tensor {item.Name} is said to be in \"{name}\", expected the name of a file in the model's folder");
                }

                if (!mapped.TryGetValue(name, out SafetensorsFile? file))
                {
                    string path = Path.Combine(model.Path, name);
                    if (!File.Exists(path)) throw Malformed($"the tensor {item.Name} is said to be in {name}, which is not in the folder");
                    mapped.Add(name, file = Map(path));
                }

                if (file.Tensors.TryGetValue(item.Name, out TensorEntry? entry)) found.TryAdd(item.Name, (file, entry));
            }
        }
        catch (JsonException e)
        {
            throw Malformed($"it is not valid JSON ({e.Message.TrimEnd('.')})", e);
        }

        return found;
    }

    private SafetensorsFile Map(string path)
    {
        SafetensorsFile file = SafetensorsFile.Open(path, DiagnosticIds.WeightsMalformed);
        files.Add(file);
        return file;
    }
}
