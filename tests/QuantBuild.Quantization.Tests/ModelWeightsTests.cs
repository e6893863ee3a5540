using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class ModelWeightsTests
{
    // The least Llama there is: 1 layer, hidden size 4, 2 heads of 2, MLP 4, vocabulary 3.
    internal const string Config = """
        {"architectures":["LlamaForCausalLM"],"hidden_size":4,"num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":4,
         "num_hidden_layers":1,"vocab_size":3,"max_position_embeddings":8,"hidden_act":"silu"}
        """;

    public ModelWeightsTests() => NativeLibraries.Load();

    [Fact]
    public void Every_float_type_is_read_as_float32()
    {
        foreach ((ElementType type, Func<float, byte[]> bytes) in new (ElementType, Func<float, byte[]>)[]
        {
            (ElementType.F32, BitConverter.GetBytes),
            (ElementType.F16, value => BitConverter.GetBytes((Half)value)),
            (ElementType.BF16, value => BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits(value) >> 16))),
        })
        {
            using TemporaryFolder folder = new();
            ModelFolder model = Write(folder, Tensors(type, bytes));
            using ModelWeights weights = ModelWeights.Open(model);
            using torch.Tensor embedding = weights.Load(DecoderConfig.EmbeddingName, torch.CPU);
            Assert.Equal([3L, 4L], embedding.shape);
            Assert.Equal(Enumerable.Range(0, 12).Select(i => i - 5.5f), embedding.data<float>().ToArray());
        }
    }

    [Fact]
    public void Shards_are_found_through_the_index()
    {
        using TemporaryFolder folder = new();
        TensorSource[] tensors = Tensors();
        SafetensorsWriter.Write(folder.File("model-1.safetensors"), new Dictionary<string, string>(), tensors[..4]);
        SafetensorsWriter.Write(folder.File("model-2.safetensors"), new Dictionary<string, string>(), tensors[4..]);
        ModelFolder model = Write(folder, null, Index(tensors.Select((t, i) => (t.Name, i < 4 ? "model-1.safetensors" : "model-2.safetensors"))));
        using ModelWeights weights = ModelWeights.Open(model);
        Assert.Equal(tensors.Sum(t => t.ByteLength), weights.Bytes);
    }

    [Theory]
    [InlineData("../model.safetensors")]
    [InlineData("/etc/passwd")]
    [InlineData("sub\\model.safetensors")]
    [InlineData("..")]
    [InlineData("")]
    [InlineData("absent.safetensors")]
    public void An_index_that_leads_out_of_the_folder_or_nowhere_is_QB2005(string file)
    {
        using TemporaryFolder folder = new();
        TensorSource[] tensors = Tensors();
        ModelFolder model = Write(folder, tensors, Index(tensors.Select(t => (t.Name, file))));
        Assert.Equal(DiagnosticIds.WeightsMalformed, Assert.Throws<QuantBuildException>(() => ModelWeights.Open(model)).Id);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("{\"weight_map\": 3}")]
    public void An_index_that_is_malformed_is_QB2005(string index)
    {
        using TemporaryFolder folder = new();
        ModelFolder model = Write(folder, Tensors(), index);
        Assert.Equal(DiagnosticIds.WeightsMalformed, Assert.Throws<QuantBuildException>(() => ModelWeights.Open(model)).Id);
    }

    [Fact]
    public void A_tensor_that_is_missing_is_QB2006_by_its_name()
    {
        using TemporaryFolder folder = new();
        ModelFolder model = Write(folder, [.. Tensors().Where(t => t.Name != "model.layers.0.mlp.up_proj.weight")]);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelWeights.Open(model));
        Assert.Equal(DiagnosticIds.TensorMissing, error.Id);
        Assert.Contains("model.layers.0.mlp.up_proj.weight", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tensor_of_another_shape_is_QB2007_with_expected_and_actual()
    {
        using TemporaryFolder folder = new();
        ModelFolder model = Write(folder, [.. Tensors().Where(t => t.Name != DecoderConfig.EmbeddingName), TensorSource.FromBytes(DecoderConfig.EmbeddingName, ElementType.F32, [5, 4], new byte[80])]);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelWeights.Open(model));
        Assert.Equal(DiagnosticIds.TensorMismatch, error.Id);
        Assert.Contains("[5, 4]", error.Message, StringComparison.Ordinal);
        Assert.Contains("[3, 4]", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ElementType.F32, 2, null)]
    [InlineData(ElementType.BF16, 2, "norms.1")]
    [InlineData(ElementType.F32, 4, "norms.1")]
    public void A_tensor_that_is_in_several_is_put_together_of_those_of_one_type_and_shape(ElementType second, int width, string? wrong)
    {
        using TemporaryFolder folder = new();
        const string attention = "model.layers.0.self_attn.";
        TensorSource Norm(string name, ElementType type, float[] values) =>
            TensorSource.FromBytes(attention + name, type, [values.Length], [.. values.SelectMany(value => type == ElementType.BF16 ? BitConverter.GetBytes(value)[2..] : BitConverter.GetBytes(value))]);
        TensorSource Zeros(string name, int width) => TensorSource.FromBytes(name, ElementType.F32, [width], new byte[sizeof(float) * width]);
        File.WriteAllText(folder.File("config.json"), Config.Replace("Llama", "StableLm", StringComparison.Ordinal).Replace("\"hidden_act\"", "\"partial_rotary_factor\":1,\"use_parallel_residual\":true,\"qk_layernorm\":true,\"hidden_act\"", StringComparison.Ordinal));
        File.WriteAllText(folder.File("tokenizer.json"), "{}");
        SafetensorsWriter.Write(
            folder.File("model.safetensors"),
            new Dictionary<string, string>(),
            [
                .. Tensors().Where(tensor => !tensor.Name.Contains("post_attention", StringComparison.Ordinal)), Zeros("model.layers.0.input_layernorm.bias", 4), Zeros("model.norm.bias", 4),
                Norm("q_layernorm.norms.0.weight", ElementType.F32, [1, 2]), Norm("q_layernorm.norms.1.weight", second, [.. new float[] { 3, 4, 5, 6 }.Take(width)]),
                Norm("k_layernorm.norms.0.weight", ElementType.F32, [7, 8]),
            ]);
        ModelFolder model = ModelFolder.Open(folder.Path);
        if (wrong is not null)
        {
            QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelWeights.Open(model));
            Assert.Equal(DiagnosticIds.TensorMismatch, error.Id);
            Assert.Contains(wrong, error.Message, StringComparison.Ordinal);
            return;
        }

        using ModelWeights weights = ModelWeights.Open(model);
        using torch.Tensor queries = weights.Load(DecoderConfig.QueryNormName(0), torch.CPU), keys = weights.Load(DecoderConfig.KeyNormName(0), torch.CPU);
        Assert.Equal([1, 2, 3, 4], queries.data<float>().ToArray());
        Assert.Equal([7, 8], keys.data<float>().ToArray());
    }

    [Fact]
    public void A_tensor_of_integers_is_QB2007()
    {
        using TemporaryFolder folder = new();
        ModelFolder model = Write(folder, [.. Tensors().Where(t => t.Name != DecoderConfig.EmbeddingName), TensorSource.FromBytes(DecoderConfig.EmbeddingName, ElementType.I32, [3, 4], new byte[48])]);
        Assert.Equal(DiagnosticIds.TensorMismatch, Assert.Throws<QuantBuildException>(() => ModelWeights.Open(model)).Id);
    }

    [Fact]
    public void A_weight_that_is_not_finite_is_QB3006_by_its_name()
    {
        using TemporaryFolder folder = new();
        ModelFolder model = Write(folder, Tensors(ElementType.F32, value => BitConverter.GetBytes(value > 5 ? float.NaN : value)));
        using ModelWeights weights = ModelWeights.Open(model);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => weights.Load("model.layers.0.mlp.up_proj.weight", torch.CPU));
        Assert.Equal(DiagnosticIds.NonFinite, error.Id);
        Assert.Contains("model.layers.0.mlp.up_proj.weight", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tensor_in_two_files_is_QB2005()
    {
        using TemporaryFolder folder = new();
        SafetensorsWriter.Write(folder.File("copy.safetensors"), new Dictionary<string, string>(), Tensors());
        ModelFolder model = Write(folder, Tensors());
        Assert.Equal(DiagnosticIds.WeightsMalformed, Assert.Throws<QuantBuildException>(() => ModelWeights.Open(model)).Id);
    }

    private static TensorSource[] Tensors() => Tensors(ElementType.F32, BitConverter.GetBytes);

    /// <summary>Every tensor of the configuration, with the values -5.5, -4.5, … of their index.</summary>
    private static TensorSource[] Tensors(ElementType type, Func<float, byte[]> bytes) =>
    [
        .. DecoderConfig.Parse(Config, "config.json").Tensors().Select(tensor => TensorSource.FromBytes(
            tensor.Key,
            type,
            [.. tensor.Value.Select(size => (long)size)],
            [.. Enumerable.Range(0, tensor.Value.Aggregate(1, (a, b) => a * b)).SelectMany(i => bytes(i - 5.5f))])),
    ];

    private static string Index(IEnumerable<(string Name, string File)> entries) =>
        $$"""{"weight_map": { {{string.Join(",", entries.Select(e => $"{System.Text.Json.JsonSerializer.Serialize(e.Name)}: {System.Text.Json.JsonSerializer.Serialize(e.File)}"))}} } }""";

    private static ModelFolder Write(TemporaryFolder folder, TensorSource[]? tensors, string? index = null)
    {
        File.WriteAllText(folder.File("config.json"), Config);
        File.WriteAllText(folder.File("tokenizer.json"), "{}");
        if (tensors is not null) SafetensorsWriter.Write(folder.File("model.safetensors"), new Dictionary<string, string>(), tensors);
        if (index is not null) File.WriteAllText(folder.File("model.safetensors.index.json"), index);
        return ModelFolder.Open(folder.Path);
    }
}
