using System.Globalization;

namespace QuantBuild;

/// <summary>What the header of a GGUF file says of a model, as the <c>config.json</c> and <c>tokenizer_config.json</c> that a Hugging Face folder would have.</summary>
public static class GgufModel
{
    // GGUF's families whose tensors are those of a Hugging Face checkpoint but for their names.
    private static readonly Dictionary<string, string> Architectures = new(StringComparer.Ordinal)
    {
        ["llama"] = "LlamaForCausalLM",
        ["qwen2"] = "Qwen2ForCausalLM",
        ["qwen3"] = "Qwen3ForCausalLM",
        ["gemma"] = "GemmaForCausalLM",
        ["gemma2"] = "Gemma2ForCausalLM",
        ["gemma3"] = "Gemma3ForCausalLM",
    };

    /// <summary>Whether a file is of a family whose norms are stored with the one added that a checkpoint's are offsets from.</summary>
    public static bool AddsOneToNorms(GgufFile file) => file.Metadata.TryGetValue("general.architecture", out object? family) && family is "gemma" or "gemma2" or "gemma3";

    /// <summary>Whether a file is of a family with norms before and behind attention and MLP.</summary>
    public static bool HasFourNorms(GgufFile file) => file.Metadata.TryGetValue("general.architecture", out object? family) && family is "gemma2" or "gemma3";

    /// <summary>The file's <c>config.json</c>.</summary>
    /// <exception cref="QuantBuildException">QB2003 the file lacks a value; QB2042 it holds something that is not read.</exception>
    public static string ConfigJson(GgufFile file)
    {
        string family = file.Metadata.TryGetValue("general.architecture", out object? given) && given is string name ? name : throw Malformed(file, "general.architecture", "a text");
        if (!Architectures.TryGetValue(family, out string? architecture))
        {
            throw Unsupported(
                file, $"is of the architecture {Shown(family)}; read are {string.Join(", ", Architectures.Keys)}. Take the model in its Hugging Face form (config.json, *.safetensors)");
        }

        CheckTensors(file);
        long Whole(string key) => file.Metadata.TryGetValue($"{family}.{key}", out object? value) && value is long number ? number : throw Malformed(file, $"{family}.{key}", "a whole number");
        long? WholeOrNone(string key) => file.Metadata.ContainsKey($"{family}.{key}") ? Whole(key) : null;
        double? Number(string key) => file.Metadata.TryGetValue($"{family}.{key}", out object? value) && value is double number ? number : null;

        if (WholeOrNone("expert_count") > 0) throw Unsupported(file, "holds a mixture of experts, which is not read from GGUF. Take the model in its Hugging Face form");
        long heads = Whole("attention.head_count"), width = Whole("embedding_length");
        List<KeyValuePair<string, object?>> members = [];
        void Add(string key, object? value) => members.Add(new(key, value));
        Add("hidden_size", width);
        Add("intermediate_size", Whole("feed_forward_length"));
        Add("num_hidden_layers", Whole("block_count"));
        Add("num_attention_heads", heads);
        Add("num_key_value_heads", WholeOrNone("attention.head_count_kv") ?? heads);
        Add("head_dim", WholeOrNone("attention.key_length") ?? WholeOrNone("rope.dimension_count") ?? (heads > 0 ? width / heads : 0));
        Add("vocab_size", file.Tensors.TryGetValue("token_embd.weight", out GgufTensor? embedding) && embedding.Shape.Count == 2 ? embedding.Shape[0] : null);
        Add("max_position_embeddings", Whole("context_length"));
        // As it is written in a float32, not as that float32 in decimals.
        Add("rms_norm_eps", Number("attention.layer_norm_rms_epsilon") is { } epsilon ? Written(epsilon) : null);
        Add("rope_theta", Number("rope.freq_base") is { } theta ? Written(theta) : null);
        if (AddsOneToNorms(file))
        {
            Add("hidden_activation", "gelu_pytorch_tanh");
            Add("attn_logit_softcapping", Number("attn_logit_softcapping") is { } scores ? Written(scores) : null);
            Add("final_logit_softcapping", Number("final_logit_softcapping") is { } logits ? Written(logits) : null);
            // The file does not keep what scores are divided by the root of: the width of a head, but for the largest model of each generation.
            if (HasFourNorms(file)) Add("query_pre_attn_scalar", (family, Whole("block_count")) is ("gemma2", 46) or ("gemma3", 62) && heads > 0 ? width / heads : Whole("attention.key_length"));
            if (WholeOrNone("attention.sliding_window") is { } window) Add("sliding_window", window);
        }

        foreach (string token in new[] { "bos", "eos" })
        {
            if (file.Metadata.TryGetValue($"tokenizer.ggml.{token}_token_id", out object? id) && id is long number) Add(token + "_token_id", number);
        }

        string json = Json.WriteLine(members);
        string tied = file.Tensors.ContainsKey("output.weight") ? "false" : "true";
        string bias = file.Tensors.ContainsKey("blk.0.attn_q.bias") && family == "llama" ? "true" : "false";
        return $"{{\"architectures\":[{Json.Quote(architecture)}],\"model_type\":{Json.Quote(family)},\"hidden_act\":\"silu\",\"attention_bias\":{bias},\"tie_word_embeddings\":{tied}{Rope(file, family)},{json.Substring(1)}";
    }

    /// <summary>The file's <c>tokenizer_config.json</c>: special tokens by their text, and the chat template where there is one.</summary>
    public static string TokenizerConfigJson(GgufFile file)
    {
        string[] tokens = file.Metadata.TryGetValue("tokenizer.ggml.tokens", out object? list) && list is string[] texts ? texts : [];
        List<string> members = [];
        void Add(string name, string value) => members.Add($"{Json.Quote(name)}:{value}");
        foreach ((string member, string key) in new[] { ("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("pad_token", "padding_token_id") })
        {
            if (file.Metadata.TryGetValue("tokenizer.ggml." + key, out object? id) && id is long index && index >= 0 && index < tokens.Length) Add(member, Json.Quote(tokens[index]));
        }

        if (file.Metadata.TryGetValue("tokenizer.ggml.add_bos_token", out object? adds) && adds is bool flag) Add("add_bos_token", flag ? "true" : "false");
        if (file.Metadata.TryGetValue("tokenizer.chat_template", out object? given) && given is string template) Add("chat_template", Json.Quote(template));
        return "{" + string.Join(",", members) + "}";
    }

    // A K-quant has been rounded already; rounding it again loses twice, and its own grid is not one of the artifact's formats.
    private static void CheckTensors(GgufFile file)
    {
        if (file.Tensors.Values.FirstOrDefault(tensor => GgufTensor.BlockOf(tensor.Type) is null) is { } tensor)
        {
            throw Unsupported(
                file, $"holds {Shown(tensor.Name)} as {GgufTensor.NameOf(tensor.Type)}; read are F32, F16, BF16 and Q8_0. Quantizing what was quantized coarsely before would lose twice: take the model's F16, BF16 or Q8_0 " +
                "file, or its Hugging Face form");
        }
    }

    /// <summary>How positions are scaled, as a member of <c>config.json</c>; empty where they are not.</summary>
    private static string Rope(GgufFile file, string family)
    {
        if (file.Tensors.TryGetValue("rope_freqs.weight", out GgufTensor? factors)) return FrequencyFactors(file, family, factors);
        if (!file.Metadata.TryGetValue(family + ".rope.scaling.type", out object? kind) || kind is not string type || type == "none") return "";
        string factor = file.Metadata.TryGetValue(family + ".rope.scaling.factor", out object? given) && given is double number ? Written(number).ToString("R", CultureInfo.InvariantCulture) : "1";
        string original = file.Metadata.TryGetValue(family + ".rope.scaling.original_context_length", out object? length) && length is long context
            ? FormattableString.Invariant($",\"original_max_position_embeddings\":{context}")
            : "";
        return $",\"rope_scaling\":{{\"rope_type\":{Json.Quote(type)},\"factor\":{factor}{original}}}";
    }

    /// <summary>
    /// Factors for each frequency, as llama.cpp's converter makes them of Llama 3.1's scaling. The file does not keep the parameters: with those of every such model but the factor itself, they have to come out.
    /// </summary>
    private static string FrequencyFactors(GgufFile file, string family, GgufTensor tensor)
    {
        const double low = 1, high = 4, context = 8192;
        const int most = 4096;
        QuantBuildException Other() => Unsupported(
            file, "scales its rotary frequencies one by one (rope_freqs.weight) in another way than Llama 3.1 does, which is not read from GGUF. Take the model in its Hugging Face form");
        if (tensor.Type != GgufType.F32 || tensor.Shape.Count != 1 || tensor.Shape[0] is < 1 or > most) throw Other();
        float[] factors = new float[tensor.Shape[0]];
        using (BinaryReader reader = new(new FileStream(tensor.Path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete)))
        {
            reader.BaseStream.Position = tensor.Offset;
            for (int i = 0; i < factors.Length; i++) factors[i] = reader.ReadSingle();
        }

        double factor = factors.Max(), theta = file.Metadata.TryGetValue(family + ".rope.freq_base", out object? given) && given is double number ? number : 10000;
        for (int i = 0; i < factors.Length; i++)
        {
            double wavelength = 2 * Math.PI * Math.Pow(theta, (double)i / factors.Length);
            double smooth = ((context / wavelength) - low) / (high - low);
            double expected = wavelength < context / high ? 1 : wavelength > context / low ? factor : 1 / (((1 - smooth) / factor) + smooth);
            if (!(Math.Abs(factors[i] - expected) <= 1e-3 * expected)) throw Other();
        }

        return FormattableString.Invariant($",\"rope_scaling\":{{\"rope_type\":\"llama3\",\"factor\":{Written(factor):R},\"low_freq_factor\":{low:F1},\"high_freq_factor\":{high:F1},\"original_max_position_embeddings\":{context:F0}}}");
    }

    private static double Written(double single) => double.Parse(((float)single).ToString("G7", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);

    private static QuantBuildException Malformed(GgufFile file, string key, string expected) => new(
        DiagnosticIds.ConfigMalformed, $"{file.Path}: the metadata {key} is missing or of another kind, expected {expected}. Convert the model again with a current llama.cpp.");

    private static QuantBuildException Unsupported(GgufFile file, string what) => new(DiagnosticIds.GgufUnsupported, $"{file.Path} {what}.");

    private static string Shown(string name) => name.Length <= 100 ? name : name.Substring(0, 100) + "…";
}
