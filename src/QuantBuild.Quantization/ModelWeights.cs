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
    private readonly Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> tensors = new(StringComparer.Ordinal);

    private ModelWeights()
    {
    }

    /// <summary>Bytes of all tensors that the configuration asks for.</summary>
    public long Bytes => tensors.Values.Sum(tensor => tensor.Entry.ByteLength);

    /// <summary>Maps the weights of a model, and checks them against its configuration.</summary>
    /// <exception cref="QuantBuildException">QB2005 malformed file or index, QB2006 tensor missing, QB2007 shape or type.</exception>
    public static ModelWeights Open(ModelFolder model)
    {
        ModelWeights weights = new();
        try
        {
            Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> found =
                model.IndexFile is null ? weights.MapFiles(model) : weights.MapIndexed(model, model.IndexFile);
            foreach ((string name, IReadOnlyList<int> shape) in model.Config.Tensors())
            {
                if (!found.TryGetValue(name, out (SafetensorsFile File, TensorEntry Entry) tensor)) throw TensorMissing(model, name, found.Keys);
                Check(model, tensor.Entry, shape);
                weights.tensors.Add(name, tensor);
            }

            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>A tensor's file and place.</summary>
    public TensorSource Source(string name) => TensorSource.FromFile(tensors[name].File, tensors[name].Entry);

    /// <summary>Reads a tensor to a device as float32.</summary>
    /// <exception cref="QuantBuildException">QB3006: a value is not finite.</exception>
    public torch.Tensor Load(string name, torch.Device device)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        (SafetensorsFile file, TensorEntry entry) = tensors[name];
        torch.ScalarType type = entry.Type switch
        {
            ElementType.BF16 => torch.bfloat16,
            ElementType.F16 => torch.float16,
            _ => torch.float32,
        };
        torch.Tensor result = torch.empty([.. entry.Shape], torch.float32, device);
        long rows = entry.Shape[0];
        long rowBytes = entry.ByteLength / rows;
        long piece = Math.Clamp(PieceBytes / rowBytes, 1, rows);
        for (long row = 0; row < rows; row += piece)
        {
            using DisposeScope step = torch.NewDisposeScope();
            long count = Math.Min(piece, rows - row);
            torch.Tensor part = torch.empty([count, .. entry.Shape.Skip(1)], type);
            file.Read(entry, row * rowBytes, part.bytes);
            result.narrow(0, row, count).copy_(part);
        }

        if (!result.AllFinite())
        {
            throw new QuantBuildException(
                DiagnosticIds.NonFinite, $"The weight {name} holds values that are not finite numbers. The file is damaged, or its training failed: copy the model again.");
        }

        return result.MoveToOuterDisposeScope();
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
    public void Dispose()
    {
        foreach (SafetensorsFile file in files) file.Dispose();
    }

    private static void Check(ModelFolder model, TensorEntry entry, IReadOnlyList<int> shape)
    {
        string Shape(IEnumerable<long> sizes) => $"[{string.Join(", ", sizes)}]";
        if (entry.Type is not (ElementType.F32 or ElementType.F16 or ElementType.BF16))
        {
            throw new QuantBuildException(
                DiagnosticIds.TensorMismatch,
                $"The tensor {entry.Name} in {model.Path} has the element type {entry.Type}, expected F32, F16 or BF16. QuantBuild quantizes models that are not quantized yet.");
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
