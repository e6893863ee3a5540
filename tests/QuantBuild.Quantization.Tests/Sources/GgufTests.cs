using System.Text.Json;
using QuantBuild.Quantization.Tests.Families;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>The sample model as a GGUF file, made here as llama.cpp's converter describes it.</summary>
public sealed class GgufTests : IDisposable
{
    private static readonly DecoderConfig Config = ModelFolder.Open(SampleFiles.Model).Config;

    private readonly TemporaryFolder folder = new();

    public GgufTests() => NativeLibraries.Load();

    [Fact]
    public void The_header_says_what_config_json_says()
    {
        ModelFolder model = Sample(GgufType.BF16);
        Assert.Equal("gutenberg-7m", model.Name);
        DecoderConfig config = model.Config;
        // Lists and names of weights are equal where they are the same object.
        Assert.Equal(
            Config with { EosTokenIds = config.EosTokenIds, RotaryLayers = config.RotaryLayers, SlidingLayers = config.SlidingLayers, Names = config.Names }, config);
        Assert.Empty(config.RotaryLayers);
        Assert.Empty(config.SlidingLayers);
        Assert.Equal(Config.Names.Of("model.layers.1.mlp.up_proj.weight"), config.Names.Of("model.layers.1.mlp.up_proj.weight"));
        Assert.Equal(Config.EosTokenIds, config.EosTokenIds);
        using JsonDocument tokenizerConfig = JsonDocument.Parse(model.TokenizerConfigJson!);
        Assert.Equal("<|begin_of_text|>", tokenizerConfig.RootElement.GetProperty("bos_token").GetString());
        Assert.Equal("{{ \"x\" }}", tokenizerConfig.RootElement.GetProperty("chat_template").GetString());
    }

    [Fact]
    public void Every_weight_is_that_of_the_checkpoint_rotary_pairs_and_all()
    {
        AssertSameWeights(ModelFolder.Open(SampleFiles.Model), Sample(GgufType.BF16));
    }

    [Fact]
    public void Q8_0_is_each_byte_times_its_blocks_scale()
    {
        byte[] blocks = new byte[34 * 24];
        new Random(1).NextBytes(blocks);
        for (int block = 0; block < 24; block++) BitConverter.TryWriteBytes(blocks.AsSpan(block * 34), (Half)(0.01f * (block + 1)));
        string path = folder.File("blocks.gguf");
        new GgufWriter().Add("general.architecture", "llama").Add("some.weight", GgufType.Q8, [8, 96], blocks).Write(path);
        using GgufCheckpoint file = GgufCheckpoint.Open(path);
        CheckpointTensor tensor = Assert.Single(file.Tensors);
        float[] expected = [.. Enumerable.Range(0, 8 * 96).Select(i => (float)(Half)(0.01f * ((i / 32) + 1)) * (sbyte)blocks[(i / 32 * 34) + 2 + (i % 32)])];
        Assert.Equal(expected, tensor.ReadAll<float>());
        float[] part = new float[100];
        tensor.Read(37 * 4, System.Runtime.InteropServices.MemoryMarshal.AsBytes(part.AsSpan()));
        Assert.Equal(expected[37..137], part);
    }

    [Fact]
    public void The_tokenizer_gives_the_tokens_of_tokenizer_json()
    {
        TextTokenizer expected = TextTokenizer.Load(File.ReadAllBytes(Path.Combine(SampleFiles.Model, "tokenizer.json")), "tokenizer.json");
        TextTokenizer actual = TextTokenizer.Load(Sample(GgufType.BF16).ReadTokenizer(), "gguf");
        string text = File.ReadAllText(SampleFiles.Evaluation)[..20_000] + " 12345 l'été <|end_of_text|> \t\n\n 你好";
        Assert.Equal(expected.Encode(text), actual.Encode(text));
        Assert.Equal(expected.Decode(expected.Encode(text)), actual.Decode(actual.Encode(text)));
    }

    [Fact]
    public void A_tokenizer_json_beside_the_file_comes_first_and_is_a_part_of_the_model()
    {
        Sample(GgufType.BF16);
        File.WriteAllText(folder.File("tokenizer.json"), "beside");
        ModelFolder model = ModelFolder.Open(folder.File("gutenberg-7m.gguf"));
        Assert.Equal("beside"u8.ToArray(), model.ReadTokenizer());
        Assert.Equal(["gutenberg-7m.gguf", "tokenizer.json"], model.Files.Select(Path.GetFileName));
    }

    [Fact]
    public void An_artifact_made_of_it_generates_what_one_of_the_folder_generates()
    {
        string path = Sample(GgufType.BF16).Path;
        string[] texts = [.. new[] { SampleFiles.Model, path }.Select((model, i) =>
        {
            WorkerRequest request = QuantizedSample.RequestIn(folder.File("cache" + i), new QuantizationSpec { Method = QuantizationMethod.Rtn, Bits = 8 }) with { ModelPath = model, CalibrationFile = null };
            ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
            using LanguageModel loaded = LanguageModel.Load(request.ArtifactPath);
            return loaded.Generate("It was a dark night", new GenerationOptions { MaxTokens = 24, Temperature = 0 });
        })];
        Assert.NotEmpty(texts[0]);
        Assert.Equal(texts[0], texts[1]);
    }

    [Fact]
    public void A_file_that_was_split_is_all_of_its_parts_and_is_named_by_the_first()
    {
        ModelFolder whole = Sample(GgufType.BF16);
        ModelFolder model = Split(2);
        Assert.Equal(["split-00001-of-00002.gguf", "split-00002-of-00002.gguf"], model.WeightFiles.Select(Path.GetFileName));
        Assert.Equal(model.WeightFiles, model.Files);
        Assert.False(model.Config.TieWordEmbeddings);
        AssertSameWeights(whole, model);

        string second = model.WeightFiles[1];
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelFolder.Open(second));
        Assert.Equal(DiagnosticIds.GgufUnsupported, error.Id);
        Assert.Contains("is part 2 of a file that was split", error.Message, StringComparison.Ordinal);
        File.Copy(model.Path, folder.File("renamed.gguf"));
        Assert.Equal(DiagnosticIds.GgufUnsupported, Assert.Throws<QuantBuildException>(() => ModelFolder.Open(folder.File("renamed.gguf"))).Id);
        File.Copy(model.Path, second, overwrite: true);
        Assert.Contains("is not the part", Assert.Throws<QuantBuildException>(() => ModelFolder.Open(model.Path)).Message, StringComparison.Ordinal);
        File.Delete(second);
        Assert.Equal(DiagnosticIds.WeightsMalformed, Assert.Throws<QuantBuildException>(() => ModelFolder.Open(model.Path)).Id);
    }

    [Theory]
    [InlineData("Gemma", "gemma")]
    [InlineData("Gemma2", "gemma2")]
    [InlineData("Gemma3", "gemma3")]
    public void Gemma_is_what_its_checkpoint_is_although_its_norms_hold_the_one_that_is_added(string name, string family)
    {
        using FamilyModel model = FamilyModel.Of(name);
        string configFile = Path.Combine(model.Folder.Path, "config.json");
        // A file does not say these: they are those of the published models.
        File.WriteAllText(configFile, File.ReadAllText(configFile).Replace("\"query_pre_attn_scalar\": 20", "\"query_pre_attn_scalar\": 24", StringComparison.Ordinal)
            .Replace("\"sliding_window_pattern\": 3", "\"sliding_window_pattern\": 6", StringComparison.Ordinal));
        ModelFolder expected = ModelFolder.Open(model.Folder.Path);
        DecoderConfig config = expected.Config;
        GgufWriter writer = new GgufWriter().Add("general.architecture", family);
        GgufWriter Add(string key, object value) => writer.Add($"{family}.{key}", value);
        Add("embedding_length", (uint)config.HiddenSize);
        Add("feed_forward_length", (uint)config.IntermediateSize);
        Add("block_count", (uint)config.Layers);
        Add("attention.head_count", (uint)config.Heads);
        Add("attention.head_count_kv", (uint)config.KvHeads);
        Add("attention.key_length", (uint)config.HeadDim);
        Add("context_length", (uint)config.ContextLength);
        Add("attention.layer_norm_rms_epsilon", (float)config.NormEpsilon);
        if (config.ScoreCap is { } scores) Add("attn_logit_softcapping", (float)scores);
        if (config.LogitCap is { } logits) Add("final_logit_softcapping", (float)logits);
        if (config.SlidingWindow is { } window) Add("attention.sliding_window", (uint)window);
        if (family == "gemma3") Add("rope.freq_base", (float)config.RopeTheta).Add("gemma3.rope.scaling.type", "linear").Add("gemma3.rope.scaling.factor", 8f);
        using SafetensorsFile weights = SafetensorsFile.Open(Path.Combine(expected.Path, "model.safetensors"), "QB2005");
        foreach (TensorEntry entry in weights.Tensors.Values)
        {
            float[] values = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(weights.Bytes(entry)).ToArray();
            if (entry.Name.EndsWith("norm.weight", StringComparison.Ordinal)) values = [.. values.Select(value => value + 1)];
            string stored = Renamed(entry.Name.Replace("post_feedforward_layernorm", "post_ffw_norm", StringComparison.Ordinal).Replace("pre_feedforward_layernorm", "ffn_norm", StringComparison.Ordinal)
                .Replace("post_attention_layernorm", family == "gemma" ? "ffn_norm" : "post_attention_norm", StringComparison.Ordinal));
            writer.Add(stored, GgufType.F32, [.. entry.Shape], QuantizedCheckpointTests.Bytes(values));
        }

        string path = folder.File(family + ".gguf");
        writer.Write(path);
        File.Copy(expected.TokenizerFile, folder.File("tokenizer.json"));
        ModelFolder actual = ModelFolder.Open(path);
        Assert.Equal(
            config with { EosTokenIds = actual.Config.EosTokenIds, RotaryLayers = actual.Config.RotaryLayers, SlidingLayers = actual.Config.SlidingLayers, Names = actual.Config.Names }, actual.Config);
        Assert.Equal(config.SlidingLayers, actual.Config.SlidingLayers);
        using ModelWeights left = ModelWeights.Open(expected), right = ModelWeights.Open(actual);
        foreach (string tensor in config.Tensors().Select(tensor => tensor.Key))
        {
            using torch.Tensor a = left.Load(tensor, torch.CPU), b = right.Load(tensor, torch.CPU);
            Assert.True(tensor.EndsWith("norm.weight", StringComparison.Ordinal) ? a.allclose(b, 0, 2e-7) : a.eq(b).all().item<bool>(), tensor);
        }
    }

    [Theory]
    [InlineData("general.architecture", "mamba", "QB2042")]
    [InlineData("llama.expert_count", 8u, "QB2042")]
    [InlineData("llama.block_count", "six", "QB2003")]
    [InlineData("tokenizer.ggml.model", "llama", "QB2009")]
    [InlineData("tokenizer.ggml.model", "t5", "QB2009")]
    [InlineData("tokenizer.ggml.pre", "unheard-of", "QB2009")]
    public void What_is_not_read_is_an_error(string key, object value, string id)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Sample(GgufType.BF16, key, value));
        Assert.Equal(id, error.Id);
    }

    [Theory]
    [InlineData(8, true)]
    [InlineData(32, true)]
    [InlineData(8, false)]
    public void The_rotary_factors_of_Llama_3_1_are_recognised_and_others_are_QB2042(double factor, bool known)
    {
        string path = folder.File("factors.gguf");
        float[] factors = [.. Enumerable.Range(0, Config.HeadDim / 2).Select(i =>
        {
            double wavelength = 2 * Math.PI * Math.Pow(Config.RopeTheta, 2.0 * i / Config.HeadDim), smooth = ((8192 / wavelength) - 1) / 3;
            return (float)(wavelength < 2048 ? 1 : wavelength > 8192 ? factor : 1 / (((1 - smooth) / factor) + smooth));
        })];
        if (!known) factors[0] = 1.5f;
        Header(new GgufWriter()).Add("token_embd.weight", GgufType.BF16, [4096, 256], new byte[4096 * 512]).Add("rope_freqs.weight", GgufType.F32, [factors.Length], QuantizedCheckpointTests.Bytes(factors)).Write(path);
        Exception? error = Record.Exception(() => Assert.Contains($"\"rope_type\":\"llama3\",\"factor\":{factor}", ModelFolder.Open(path).ConfigJson, StringComparison.Ordinal));
        if (known) Assert.True(error is null || (error is QuantBuildException { Id: DiagnosticIds.ConfigUnsupported } && error.Message.Contains("llama3", StringComparison.Ordinal)), error?.ToString());
        else Assert.Equal(DiagnosticIds.GgufUnsupported, Assert.IsType<QuantBuildException>(error).Id);
    }

    [Fact]
    public void Yarn_is_stretched_from_the_context_that_the_file_says()
    {
        string path = folder.File("yarn.gguf");
        Header(new GgufWriter()).Add("llama.rope.scaling.type", "yarn").Add("llama.rope.scaling.factor", 4f).Add("llama.rope.scaling.original_context_length", 128u)
            .Add("token_embd.weight", GgufType.BF16, [4096, 256], new byte[4096 * 512]).Write(path);
        RopeScaling scaling = ModelFolder.Open(path).Config.RopeScaling!;
        Assert.Equal((RopeScalingKind.Yarn, 4.0, 128), (scaling.Kind, scaling.Factor, scaling.OriginalContext));
    }

    [Fact]
    public void A_coarser_type_and_another_version_are_QB2042()
    {
        string path = folder.File("k.gguf");
        Header(new GgufWriter()).Add("token_embd.weight", (GgufType)12, [4096, 256], new byte[144 * 4096]).Write(path);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelFolder.Open(path));
        Assert.Equal(DiagnosticIds.GgufUnsupported, error.Id);
        Assert.Contains("token_embd.weight as Q4_K", error.Message, StringComparison.Ordinal);
        new GgufWriter().Write(path, version: 1);
        Assert.Equal(DiagnosticIds.GgufUnsupported, Assert.Throws<QuantBuildException>(() => ModelFolder.Open(path)).Id);
    }

    [Fact]
    public void A_file_that_is_cut_short_anywhere_is_QB2005()
    {
        string path = folder.File("cut.gguf");
        new GgufWriter().Add("general.architecture", "llama").Add("list", new[] { "a", "b" }).Add("some.weight", GgufType.F32, [4], new byte[16]).Write(path);
        byte[] whole = File.ReadAllBytes(path);
        for (int length = 0; length < whole.Length - 16; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            Assert.Equal(DiagnosticIds.WeightsMalformed, Assert.Throws<QuantBuildException>(() => GgufFile.Open(path)).Id);
        }
    }

    public void Dispose() => folder.Dispose();

    private static void AssertSameWeights(ModelFolder first, ModelFolder second)
    {
        using ModelWeights expected = ModelWeights.Open(first), actual = ModelWeights.Open(second);
        Assert.Equal(expected.Bytes, actual.Bytes);
        foreach (string name in first.Config.Tensors().Select(tensor => tensor.Key))
        {
            using torch.Tensor left = expected.Load(name, torch.CPU), right = actual.Load(name, torch.CPU);
            Assert.True(left.eq(right).all().item<bool>(), name);
        }
    }

    private static GgufWriter Header(GgufWriter writer)
    {
        using JsonDocument tokenizer = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(SampleFiles.Model, "tokenizer.json")));
        JsonElement model = tokenizer.RootElement.GetProperty("model");
        string[] tokens = new string[4096];
        foreach (JsonProperty token in model.GetProperty("vocab").EnumerateObject()) tokens[token.Value.GetInt32()] = token.Name;
        int[] types = [.. Enumerable.Repeat(1, tokens.Length)];
        foreach (JsonElement token in tokenizer.RootElement.GetProperty("added_tokens").EnumerateArray())
        {
            tokens[token.GetProperty("id").GetInt32()] = token.GetProperty("content").GetString()!;
            types[token.GetProperty("id").GetInt32()] = 3;
        }

        return writer.Add("general.architecture", "llama").Add("llama.embedding_length", (uint)Config.HiddenSize).Add("llama.feed_forward_length", (uint)Config.IntermediateSize)
            .Add("llama.expert_count", 0u).Add("llama.block_count", (uint)Config.Layers).Add("llama.attention.head_count", (uint)Config.Heads).Add("llama.attention.head_count_kv", (uint)Config.KvHeads)
            .Add("llama.rope.dimension_count", (uint)Config.HeadDim).Add("llama.context_length", (uint)Config.ContextLength).Add("llama.rope.freq_base", (float)Config.RopeTheta)
            .Add("llama.attention.layer_norm_rms_epsilon", (float)Config.NormEpsilon).Add("tokenizer.ggml.model", "gpt2").Add("tokenizer.ggml.pre", "llama-bpe")
            .Add("tokenizer.ggml.tokens", tokens).Add("tokenizer.ggml.token_type", types)
            .Add("tokenizer.ggml.merges", model.GetProperty("merges").EnumerateArray().Select(merge => merge.GetString()!).ToArray())
            .Add("tokenizer.ggml.bos_token_id", (uint)Config.BosTokenId!).Add("tokenizer.ggml.eos_token_id", (uint)Config.EosTokenIds[0]).Add("tokenizer.ggml.add_bos_token", true)
            .Add("tokenizer.chat_template", "{{ \"x\" }}");
    }

    private ModelFolder Sample(GgufType type, string? key = null, object? value = null)
    {
        string path = folder.File("gutenberg-7m.gguf");
        GgufWriter writer = Header(new GgufWriter(key, value));
        foreach ((string name, long[] shape, byte[] bytes) in Tensors()) writer.Add(name, type, shape, bytes);
        writer.Write(path);
        return ModelFolder.Open(path);
    }

    /// <summary>The same in several files, as llama.cpp's gguf-split leaves it: the first has the metadata.</summary>
    private ModelFolder Split(int parts)
    {
        string PathOf(int part) => folder.File($"split-{part + 1:D5}-of-{parts:D5}.gguf");
        (string Name, long[] Shape, byte[] Bytes)[] tensors = [.. Tensors()];
        for (int part = 0; part < parts; part++)
        {
            GgufWriter writer = new GgufWriter().Add("split.no", (ushort)part).Add("split.count", (ushort)parts);
            if (part == 0) Header(writer);
            foreach ((string name, long[] shape, byte[] bytes) in tensors.Where((_, i) => i * parts / tensors.Length == part)) writer.Add(name, GgufType.BF16, shape, bytes);
            writer.Write(PathOf(part));
        }

        return ModelFolder.Open(PathOf(0));
    }

    private static IEnumerable<(string Name, long[] Shape, byte[] Bytes)> Tensors()
    {
        using SafetensorsFile weights = SafetensorsFile.Open(Path.Combine(SampleFiles.Model, "model.safetensors"), "QB2005");
        foreach (TensorEntry entry in weights.Tensors.Values)
        {
            int heads = entry.Name.Contains("q_proj", StringComparison.Ordinal) ? Config.Heads : entry.Name.Contains("k_proj", StringComparison.Ordinal) ? Config.KvHeads : 0;
            byte[] bytes = weights.Bytes(entry).ToArray();
            yield return (Renamed(entry.Name), [.. entry.Shape], heads > 0 ? Paired(bytes, heads, (int)entry.Shape[0]) : bytes);
        }
    }

    private static string Renamed(string name) => name
        .Replace("model.embed_tokens", "token_embd", StringComparison.Ordinal).Replace("model.norm", "output_norm", StringComparison.Ordinal).Replace("lm_head", "output", StringComparison.Ordinal)
        .Replace("model.layers.", "blk.", StringComparison.Ordinal).Replace("input_layernorm", "attn_norm", StringComparison.Ordinal).Replace("post_attention_layernorm", "ffn_norm", StringComparison.Ordinal)
        .Replace("self_attn.o_proj", "attn_output", StringComparison.Ordinal).Replace("self_attn.", "attn_", StringComparison.Ordinal).Replace("mlp.", "ffn_", StringComparison.Ordinal)
        .Replace("_proj", "", StringComparison.Ordinal);

    /// <summary>[heads, 2, d/2, K] as [heads, d/2, 2, K], which is how the converter stores queries and keys of Llama.</summary>
    private static byte[] Paired(byte[] weight, int heads, int rows)
    {
        int rowBytes = weight.Length / rows, half = rows / heads / 2;
        byte[] result = new byte[weight.Length];
        int target = 0;
        for (int head = 0; head < heads; head++)
        {
            for (int j = 0; j < half; j++)
            {
                for (int t = 0; t < 2; t++) weight.AsSpan((((head * 2) + t) * half + j) * rowBytes, rowBytes).CopyTo(result.AsSpan(target++ * rowBytes));
            }
        }

        return result;
    }
}
