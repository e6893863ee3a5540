using System.Text.Json;

namespace QuantBuild.Quantization;

/// <summary>The tensors of all weight files of a model, by name.</summary>
internal sealed class Checkpoint : IDisposable
{
    private const long LongestIndex = 64 << 20;

    private readonly List<ICheckpointFile> files = [];
    private readonly Dictionary<string, CheckpointTensor> tensors = new(StringComparer.Ordinal);

    private Checkpoint()
    {
    }

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, CheckpointTensor> Tensors => tensors;

    /// <summary>Opens the weight files of a model: those that its index names, or all.</summary>
    /// <exception cref="QuantBuildException">QB2005 a file or the index is malformed; QB2040 to QB2042 a file is of a kind that is not read.</exception>
    public static Checkpoint Open(ModelFolder model)
    {
        Checkpoint checkpoint = new();
        try
        {
            if (model.IndexFile is { } index) checkpoint.AddIndexed(model, index);
            else checkpoint.AddAll(model);
            return checkpoint;
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (ICheckpointFile file in files) file.Dispose();
    }

    private void AddAll(ModelFolder model)
    {
        // A GGUF file opens its own parts.
        foreach (string path in GgufFile.IsGguf(model.Path) ? [model.Path] : model.WeightFiles)
        {
            foreach (CheckpointTensor tensor in Open(path).Tensors)
            {
                if (Add(tensor)) continue;
                throw new QuantBuildException(
                    DiagnosticIds.WeightsMalformed,
                    $"The tensor {tensor.Name} is in two files of {model.Path}, one of them {Path.GetFileName(path)}. Remove the file that is too many, or add the model's " +
                    $"{Path.GetFileName(model.WeightFiles[0])}.index.json.");
            }
        }
    }

    private void AddIndexed(ModelFolder model, string indexFile)
    {
        QuantBuildException Malformed(string what, Exception? cause = null) => new(
            DiagnosticIds.WeightsMalformed, $"{indexFile}: {what}. Copy the file again from where the model came from.", cause);

        Dictionary<string, Dictionary<string, CheckpointTensor>> opened = new(StringComparer.Ordinal);
        try
        {
            if (new FileInfo(indexFile).Length > LongestIndex) throw Malformed($"it is longer than {LongestIndex} bytes, and no index is");
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
                if (name.Length == 0 || name is "." or ".." || name.AsSpan().IndexOfAny('/', '\\', ':') >= 0 || name.Contains('\0', StringComparison.Ordinal))
                {
                    throw Malformed($"the tensor {item.Name} is said to be in \"{name}\", expected the name of a file in the model's folder");
                }

                if (!opened.TryGetValue(name, out Dictionary<string, CheckpointTensor>? file))
                {
                    string path = Path.Combine(model.Path, name);
                    if (!File.Exists(path)) throw Malformed($"the tensor {item.Name} is said to be in {name}, which is not in the folder");
                    opened.Add(name, file = Open(path).Tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal));
                }

                if (file.TryGetValue(item.Name, out CheckpointTensor? found)) Add(found);
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a name that is not UTF-16.
            throw Malformed($"it is not valid JSON ({e.Message.TrimEnd('.')})", e);
        }
    }

    /// <summary>Adds a tensor, unless there is one of its name.</summary>
    private bool Add(CheckpointTensor tensor)
    {
        CheckpointTensor known = tensor.Renamed(WeightNames.InLanguageModel(tensor.Name));
        return tensors.TryAdd(known.Name, known);
    }

    private ICheckpointFile Open(string path)
    {
        ICheckpointFile file = Path.GetExtension(path).ToLowerInvariant() switch
        {
            ".bin" or ".pt" or ".pth" => PyTorchFile.Open(path),
            ".gguf" => GgufCheckpoint.Open(path),
            _ => SafetensorsCheckpoint.Open(path),
        };
        files.Add(file);
        return file;
    }
}
