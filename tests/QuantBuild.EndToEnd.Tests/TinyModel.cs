using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>
/// A Llama model of random weights with the sample's tokenizer: 2 layers, 32 wide. Written byte by byte here, so that it can be made wrong in
/// every way that a file can be wrong.
/// </summary>
internal sealed class TinyModel
{
    /// <summary>The longest text, in tokens.</summary>
    public const int ContextLength = 64;

    private const int Hidden = 32;
    private const int Intermediate = 64;
    private const int Vocabulary = 4096;

    public JsonObject Config { get; } = new()
    {
        ["architectures"] = new JsonArray("LlamaForCausalLM"),
        ["hidden_size"] = Hidden,
        ["intermediate_size"] = Intermediate,
        ["num_hidden_layers"] = 2,
        ["num_attention_heads"] = 2,
        ["num_key_value_heads"] = 1,
        ["vocab_size"] = Vocabulary,
        ["max_position_embeddings"] = ContextLength,
        ["tie_word_embeddings"] = true,
        ["hidden_act"] = "silu",
        ["bos_token_id"] = 0,
    };

    /// <summary>The text of config.json, if it is not the configuration.</summary>
    public string? ConfigText { get; init; }

    /// <summary>Changes the safetensors header before it is written.</summary>
    public Action<JsonObject>? Header { get; init; }

    /// <summary>Changes the file's bytes after everything else.</summary>
    public Func<byte[], byte[]>? File { get; init; }

    /// <summary>Seed of the weights: another seed, another model.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Files that are left out.</summary>
    public IReadOnlyList<string> Without { get; init; } = [];

    /// <summary>Writes the model's folder.</summary>
    public void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        System.IO.File.WriteAllText(Path.Combine(folder, "config.json"), ConfigText ?? Config.ToJsonString());
        System.IO.File.Copy(
            Path.Combine(PackedFeed.RepositoryRoot, "samples/models/gutenberg-7m/tokenizer.json"), Path.Combine(folder, "tokenizer.json"), overwrite: true);
        byte[] weights = Weights();
        System.IO.File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), File is null ? weights : File(weights));
        foreach (string file in Without) System.IO.File.Delete(Path.Combine(folder, file));
    }

    private byte[] Weights()
    {
        // Two query heads of 16, one key and value head.
        List<(string Name, int[] Shape)> tensors = [("model.embed_tokens.weight", [Vocabulary, Hidden])];
        for (int layer = 0; layer < 2; layer++)
        {
            string prefix = $"model.layers.{layer}.";
            tensors.Add((prefix + "input_layernorm.weight", [Hidden]));
            tensors.Add((prefix + "post_attention_layernorm.weight", [Hidden]));
            tensors.Add((prefix + "self_attn.q_proj.weight", [Hidden, Hidden]));
            tensors.Add((prefix + "self_attn.k_proj.weight", [Hidden / 2, Hidden]));
            tensors.Add((prefix + "self_attn.v_proj.weight", [Hidden / 2, Hidden]));
            tensors.Add((prefix + "self_attn.o_proj.weight", [Hidden, Hidden]));
            tensors.Add((prefix + "mlp.gate_proj.weight", [Intermediate, Hidden]));
            tensors.Add((prefix + "mlp.up_proj.weight", [Intermediate, Hidden]));
            tensors.Add((prefix + "mlp.down_proj.weight", [Hidden, Intermediate]));
        }

        tensors.Add(("model.norm.weight", [Hidden]));

        Random random = new(Seed);
        JsonObject header = [];
        using MemoryStream data = new();
        byte[] element = new byte[2];
        foreach ((string name, int[] shape) in tensors)
        {
            long start = data.Length;
            int count = shape.Aggregate(1, (product, size) => product * size);
            for (int i = 0; i < count; i++)
            {
                float value = shape.Length == 1 ? 1 : (random.NextSingle() - 0.5f) * 0.4f;
                BinaryPrimitives.WriteHalfLittleEndian(element, (Half)value);
                data.Write(element);
            }

            header[name] = new JsonObject
            {
                ["dtype"] = "F16",
                ["shape"] = new JsonArray([.. shape.Select(size => (JsonNode)size)]),
                ["data_offsets"] = new JsonArray(start, data.Length),
            };
        }

        Header?.Invoke(header);
        byte[] text = Encoding.UTF8.GetBytes(header.ToJsonString(new JsonSerializerOptions()));
        byte[] length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, text.Length);
        return [.. length, .. text, .. data.ToArray()];
    }
}
