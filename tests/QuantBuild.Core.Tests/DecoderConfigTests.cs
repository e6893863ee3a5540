using System.Globalization;
using System.Text.Json.Nodes;

namespace QuantBuild.Core.Tests;

public class DecoderConfigTests
{
    private static readonly string Sample = File.ReadAllText(Path.Combine(TestFiles.SampleModel, "config.json"));

    [Fact]
    public void The_samples_configuration_is_read()
    {
        DecoderConfig config = Parse(Sample);
        Assert.Equal("LlamaForCausalLM", config.Architecture);
        Assert.Equal(256, config.HiddenSize);
        Assert.Equal(768, config.IntermediateSize);
        Assert.Equal(6, config.Layers);
        Assert.Equal(8, config.Heads);
        Assert.Equal(4, config.KvHeads);
        Assert.Equal(32, config.HeadDim);
        Assert.Equal(4096, config.VocabularySize);
        Assert.Equal(512, config.ContextLength);
        Assert.Equal(1e-5, config.NormEpsilon);
        Assert.Equal(10000, config.RopeTheta);
        Assert.False(config.TieWordEmbeddings);
        Assert.Equal(4093, config.BosTokenId);
        Assert.Equal([4094], config.EosTokenIds);
        Assert.Equal(6_819_072, config.Parameters);
    }

    [Fact]
    public void The_samples_tensors_are_those_of_its_weight_file()
    {
        using FileStream file = File.OpenRead(Path.Combine(TestFiles.SampleModel, "model.safetensors"));
        using BinaryReader reader = new(file);
        byte[] header = reader.ReadBytes((int)reader.ReadInt64());
        IEnumerable<string> expected = JsonNode.Parse(header)!.AsObject().Where(t => t.Key != "__metadata__")
            .Select(t => $"{t.Key} [{string.Join(", ", t.Value!["shape"]!.AsArray())}]");

        IEnumerable<string> actual = Parse(Sample).Tensors().Select(t => $"{t.Key} [{string.Join(", ", t.Value)}]");

        Assert.Equal(expected.Order(StringComparer.Ordinal), actual.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void What_may_be_left_out_has_the_architectures_default()
    {
        DecoderConfig config = Parse(With(
            ("num_key_value_heads", null), ("head_dim", null), ("max_position_embeddings", null), ("rms_norm_eps", null), ("rope_theta", null),
            ("tie_word_embeddings", null), ("bos_token_id", null), ("eos_token_id", null), ("hidden_act", null), ("attention_bias", null),
            ("mlp_bias", null), ("rope_scaling", null)));
        Assert.Equal(8, config.KvHeads);
        Assert.Equal(32, config.HeadDim);
        Assert.Equal(2048, config.ContextLength);
        Assert.Equal(1e-6, config.NormEpsilon);
        Assert.Equal(10000, config.RopeTheta);
        Assert.False(config.TieWordEmbeddings);
        Assert.Null(config.BosTokenId);
        Assert.Empty(config.EosTokenIds);
    }

    [Fact]
    public void A_tied_head_is_no_tensor()
    {
        DecoderConfig config = Parse(With(("tie_word_embeddings", "true")));
        Assert.True(config.TieWordEmbeddings);
        Assert.DoesNotContain(config.Tensors(), t => t.Key == DecoderConfig.HeadName);
        Assert.Equal(6_819_072 - 4096 * 256, config.Parameters);
    }

    [Fact]
    public void A_text_may_have_several_ends()
    {
        Assert.Equal([1, 2, 3], Parse(With(("eos_token_id", "[1, 2, 3]"))).EosTokenIds);
    }

    [Fact]
    public void The_newer_form_of_the_rotary_parameters_is_read()
    {
        DecoderConfig config = Parse(With(("rope_theta", null), ("rope_parameters", """{"rope_type": "default", "rope_theta": 500000.0, "partial_rotary_factor": 0.5}""")));
        Assert.Equal(config.HeadDim / 2, config.TurnedDimensions);
        Assert.Equal(500000, config.RopeTheta);
    }

    [Theory]
    // 512 tokens of 128: sqrt(1 + ln 4 / ln 128).
    [InlineData("", 1.1338934190276817, 1.1338934190276817)]
    [InlineData(""", "factor": 128""", 1.4142135623730951, 1.4142135623730951)]
    [InlineData(""", "attention_factor": 1.25""", 1.25, 1.25)]
    [InlineData(""", "short_mscale": 1.1, "long_mscale": 1.3""", 1.1, 1.3)]
    public void The_long_factors_are_those_of_texts_beyond_the_original_context(string more, double shortAttention, double longAttention)
    {
        string Factors(double by) => string.Join(", ", Enumerable.Repeat(by, 16));
        DecoderConfig config = Parse(With(("rope_scaling", $$"""{"type": "su", "original_max_position_embeddings": 128, "short_factor": [{{Factors(2)}}], "long_factor": [{{Factors(8)}}]{{more}}}""")));
        Assert.Equal((512, 128), (config.ContextLength, config.UsualContext));
        double[] plain = (config with { RopeScaling = null }).RotaryFrequencies(local: false, 512);
        Assert.Equal(plain.Select(frequency => frequency / 2), config.RotaryFrequencies(local: false, 128));
        Assert.Equal(plain.Select(frequency => frequency / 8), config.RotaryFrequencies(local: false, 129));
        Assert.Equal(shortAttention, config.RotaryScale(local: false, 128), 1e-12);
        Assert.Equal(longAttention, config.RotaryScale(local: false, 129), 1e-12);
    }

    [Theory]
    [InlineData("rope_scaling", """{"type": "default"}""")]
    [InlineData("rope_scaling", """{"rope_type": "default"}""")]
    [InlineData("rope_scaling", "null")]
    [InlineData("mlp_bias", "false")]
    public void A_variation_that_is_switched_off_is_accepted(string name, string json) => Assert.Equal(6, Parse(With((name, json))).Layers);

    [Theory]
    [InlineData("hidden_size", null)]
    [InlineData("hidden_size", "0")]
    [InlineData("hidden_size", "-1")]
    [InlineData("hidden_size", "256.5")]
    [InlineData("hidden_size", "9999999999")]
    [InlineData("hidden_size", "\"wide\"")]
    [InlineData("hidden_size", "[256]")]
    [InlineData("hidden_size", "\"256\"")]
    [InlineData("hidden_size", "true")]
    [InlineData("rope_scaling", "\"linear\"")]
    [InlineData("rope_scaling", """{"type": "linear"}""")]
    [InlineData("rope_scaling", """{"rope_type": "llama3", "factor": 0, "low_freq_factor": 1, "high_freq_factor": 4}""", "factor")]
    [InlineData("rope_scaling", """{"rope_type": "longrope", "short_factor": [1, 2]}""", "short_factor")]
    [InlineData("rope_scaling", """{"rope_type": "longrope", "short_factor": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}""", "long_factor")]
    [InlineData("partial_rotary_factor", "2")]
    [InlineData("partial_rotary_factor", "0.1")]
    [InlineData("bos_token_id", "\"1\"")]
    [InlineData("rope_theta", "[1]")]
    [InlineData("intermediate_size", null)]
    [InlineData("num_hidden_layers", null)]
    [InlineData("num_hidden_layers", "200000000")]
    [InlineData("num_attention_heads", null)]
    [InlineData("vocab_size", null)]
    [InlineData("num_key_value_heads", "3")]
    [InlineData("head_dim", "31")]
    [InlineData("head_dim", "1")]
    [InlineData("head_dim", "10000000")]
    [InlineData("rms_norm_eps", "0")]
    [InlineData("rms_norm_eps", "\"small\"")]
    [InlineData("rope_theta", "-1")]
    [InlineData("tie_word_embeddings", "\"yes\"")]
    [InlineData("eos_token_id", "-1")]
    [InlineData("eos_token_id", "[1, \"end\"]")]
    [InlineData("architectures", null)]
    [InlineData("architectures", "[]")]
    [InlineData("architectures", "\"LlamaForCausalLM\"")]
    public void A_value_that_is_missing_or_of_the_wrong_kind_is_named(string name, string? json, string? named = null) =>
        ErrorAssert.Throws("QB2003", () => Parse(With((name, json))), "config.json", named ?? name);

    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData("not JSON")]
    [InlineData("{")]
    [InlineData("""{"hidden_size": 1,,}""")]
    [InlineData("""{"hidden_size": 1}{""")]
    [InlineData("[]")]
    [InlineData("3")]
    [InlineData("\"text\"")]
    [InlineData("null")]
    [InlineData("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 631\n")]
    public void A_file_that_is_no_JSON_object_is_malformed(string json) => ErrorAssert.Throws("QB2003", () => Parse(json), "config.json");

    [Theory]
    [InlineData("{")]
    [InlineData("]")]
    [InlineData(",")]
    [InlineData(", {}")]
    [InlineData("} garbage")]
    [InlineData("garbage")]
    public void A_file_with_something_behind_its_object_is_malformed(string rest) => ErrorAssert.Throws("QB2003", () => Parse(Sample + rest), "not valid JSON");

    [Fact]
    public void A_file_cut_short_anywhere_is_malformed()
    {
        string whole = Sample.TrimEnd();
        for (int length = 0; length < whole.Length; length++) ErrorAssert.Throws("QB2003", () => Parse(whole[..length]), "not valid JSON");
    }

    [Fact]
    public void A_file_nested_without_end_is_malformed() =>
        ErrorAssert.Throws("QB2003", () => Parse(string.Concat(Enumerable.Repeat("[", 100_000))), "config.json");

    // google/gemma-3-4b-it's file: what its smallest model has is left out, and what is of images is beside it.
    [Fact]
    public void The_language_model_of_one_that_sees_images_is_read_with_what_its_file_leaves_out()
    {
        DecoderConfig config = Parse("""
            {"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 255999, "eos_token_id": [1, 106], "model_type": "gemma3", "hidden_size": null,
             "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
             "vision_config": {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27} }
            """);
        Assert.Equal((2560, 10240, 34, 8, 4, 256), (config.HiddenSize, config.IntermediateSize, config.Layers, config.Heads, config.KvHeads, config.HeadDim));
        Assert.Equal((262_208, 131_072, 1024), (config.VocabularySize, config.ContextLength, config.SlidingWindow));
        Assert.Equal([1, 106], config.EosTokenIds);
        Assert.True(config.TieWordEmbeddings);
        Assert.Equal(29, Enumerable.Range(0, 34).Count(config.IsLocal));
        Assert.Equal((10_000, 1_000_000, RopeScalingKind.Linear), (config.LocalRopeTheta!.Value, config.RopeTheta, config.RopeScaling!.Kind));
    }

    // mistralai/Mistral-Small-3.1-24B's: what is null there is not what a file without it would have.
    [Fact]
    public void What_is_null_in_the_language_models_part_is_null()
    {
        DecoderConfig config = Parse("""
            {"architectures": ["Mistral3ForConditionalGeneration"], "vision_config": {"hidden_size": 1024},
             "text_config": {"head_dim": 128, "hidden_size": 5120, "intermediate_size": 32768, "max_position_embeddings": 131072, "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
              "rope_theta": 1000000000.0, "sliding_window": null, "vocab_size": 131072} }
            """);
        Assert.Null(config.SlidingWindow);
        Assert.Equal(1e9, config.RopeTheta);
    }

    [Fact]
    public void Layers_of_SmolLM3_without_positions_are_those_that_may_have_a_window()
    {
        DecoderConfig config = Parse(With(("architectures", "[\"SmolLM3ForCausalLM\"]"), ("num_hidden_layers", "4"), ("use_sliding_window", "true"), ("sliding_window", "64")));
        Assert.Equal([true, true, true, false], config.RotaryLayers);
        Assert.Equal([false, false, false, true], config.SlidingLayers);
    }

    [Theory]
    [InlineData("num_experts", 160)]
    [InlineData("num_local_experts", 160)]
    [InlineData("other", 128)]
    public void Experts_are_counted_under_either_name(string name, int expected) =>
        Assert.Equal(expected, Parse(With(("architectures", "[\"Qwen3MoeForCausalLM\"]"), (name, "160"))).Experts);

    [Fact]
    public void A_file_of_EXAONE_that_does_not_say_it_has_a_tied_head() =>
        Assert.True(Parse(With(("architectures", "[\"ExaoneForCausalLM\"]"), ("num_layers", "2"), ("tie_word_embeddings", null))).TieWordEmbeddings);

    [Theory]
    [InlineData("LlamaForCausalLM", "rope_theta", "1", "base of the rotary frequencies")]
    [InlineData("Gemma3ForCausalLM", "rope_local_base_freq", "0.5", "base of the rotary frequencies")]
    [InlineData("MptForCausalLM", "attn_config", """{"alibi": true, "alibi_bias_max": 4000}""", "alibi_bias_max")]
    [InlineData(
        "Phi3ForCausalLM", "rope_scaling",
        """{"type": "longrope", "original_max_position_embeddings": 1, "short_factor": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], "long_factor": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}""", "original_max_position_embeddings")]
    public void A_number_of_which_no_number_would_come_is_named(string architecture, string name, string json, string part) =>
        ErrorAssert.Throws("QB2003", () => Parse(With(("architectures", $"[\"{architecture}\"]"), (name, json))), "config.json", part);

    [Theory]
    [InlineData("\"LGLL\"", "1011")]
    [InlineData("\"LLLG\"", "1110")]
    [InlineData("2", "1010")]
    [InlineData(null, "1110")]
    public void A_pattern_of_letters_or_a_number_says_which_layers_have_a_window(string? pattern, string expected)
    {
        DecoderConfig config = Parse(With(("architectures", "[\"Exaone4ForCausalLM\"]"), ("num_hidden_layers", "4"), ("sliding_window_pattern", pattern)));
        Assert.Equal(expected, string.Concat(config.SlidingLayers.Select(sliding => sliding ? '1' : '0')));
        Assert.Equal(config.SlidingLayers, config.RotaryLayers);
    }

    [Theory]
    [InlineData("Exaone4ForCausalLM", "sliding_window_pattern", "\"LXLG\"")]
    [InlineData("Exaone4ForCausalLM", "sliding_window_pattern", "0")]
    [InlineData("GPTNeoForCausalLM", "attention_types", "[[[\"global\", \"local\"], 2]]")]
    [InlineData("GPTNeoForCausalLM", "attention_types", "[[[\"global\"], 6, 1]]")]
    [InlineData("GPTNeoForCausalLM", "attention_types", "[[[], 6]]")]
    [InlineData("GPTNeoForCausalLM", "attention_types", "[[[\"global\"], -1]]")]
    public void A_pattern_of_layers_that_does_not_fit_is_named(string architecture, string name, string json) =>
        ErrorAssert.Throws("QB2003", () => Parse(With(("architectures", $"[\"{architecture}\"]"), (name, json))), "config.json", name);

    [Fact]
    public void An_architecture_that_is_not_supported_is_named_with_those_that_are() =>
        ErrorAssert.Throws("QB2004", () => Parse(With(("architectures", "[\"MambaForCausalLM\"]"))), "MambaForCausalLM", "LlamaForCausalLM", "GPT2LMHeadModel");

    [Theory]
    [InlineData("hidden_act", "\"xielu\"", "xielu")]
    [InlineData("rope_scaling", """{"rope_type": "proportional", "factor": 8.0}""", "proportional")]
    [InlineData("rope_parameters", """{"rope_type": "ntk"}""", "ntk")]
    [InlineData("quantization_config", """{"quant_method": "hqq", "bits": 4}""", "hqq")]
    public void A_variation_that_is_not_supported_is_named(string name, string json, string part) =>
        ErrorAssert.Throws("QB2011", () => Parse(With((name, json))), "config.json", name, part);

    [Theory]
    [InlineData("BloomForCausalLM", "apply_residual_connection_post_layernorm", "true", "apply_residual_connection_post_layernorm")]
    [InlineData("MPTForCausalLM", "attn_config", """{"alibi": true, "clip_qkv": 6}""", "\"clip_qkv\" is 6")]
    [InlineData("MPTForCausalLM", "attn_config", """{"alibi": false, "rope": true}""", "\"alibi\" is false")]
    [InlineData("MptForCausalLM", "attn_config", """{"attn_type": "grouped_query_attention", "kv_n_heads": 2}""", "grouped_query_attention")]
    [InlineData("MPTForCausalLM", "logit_scale", "\"inv_sqrt_d_model\"", "inv_sqrt_d_model")]
    [InlineData("MPTForCausalLM", "norm_type", "\"rmsnorm\"", "rmsnorm")]
    [InlineData("Mistral3ForConditionalGeneration", "rope_parameters", """{"rope_type": "yarn", "factor": 16.0, "llama_4_scaling_beta": 0.1}""", "llama_4_scaling_beta")]
    [InlineData("GptOssForCausalLM", "swiglu_alpha", "1.5", "swiglu_alpha")]
    [InlineData("Qwen3MoeForCausalLM", "use_sliding_window", "true", "layer_types")]
    [InlineData("MPTForCausalLM", "expansion_ratio", "4", "alibi")]
    [InlineData("MptForCausalLM", "ffn_config", """{"ffn_type": "mptglu"}""", "ffn_type")]
    [InlineData("MptForCausalLM", "attn_config", """{"alibi": true, "qk_gn": true}""", "qk_gn")]
    public void A_variation_of_a_family_that_is_not_supported_is_named(string architecture, string name, string json, string part) =>
        ErrorAssert.Throws("QB2011", () => Parse(With(("architectures", $"[\"{architecture}\"]"), (name, json))), "config.json", part);

    // Press et al., 2022, section 3: of 8 heads 1/2 to 1/256; and their code for 12, whose last four are every second of 16.
    [Fact]
    public void The_slopes_of_alibi_are_those_of_the_paper()
    {
        DecoderConfig Of(int heads) => Parse($$"""{"architectures": ["BloomForCausalLM"], "hidden_size": {{heads * 8}}, "n_head": {{heads}}, "n_layer": 1, "vocab_size": 10}""");
        Assert.Equal([1 / 2.0, 1 / 4.0, 1 / 8.0, 1 / 16.0, 1 / 32.0, 1 / 64.0, 1 / 128.0, 1 / 256.0], Of(8).AlibiSlopes);
        Assert.Equal([.. Of(8).AlibiSlopes, .. Of(16).AlibiSlopes.Where((_, head) => head % 2 == 0).Take(4)], Of(12).AlibiSlopes);
        Assert.False(Of(8).HasRotary);
    }

    [Theory]
    [InlineData(QuantizationSpec.PerChannel)]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(64)]
    [InlineData(128)]
    [InlineData(256)]
    public void A_group_size_that_divides_every_layer_is_accepted(int groupSize) => new QuantizationPlan(Parse(Sample), new QuantizationSpec { GroupSize = groupSize }).Check();

    [Theory]
    [InlineData(48, "model.layers.0.self_attn.q_proj")]
    [InlineData(512, "model.layers.0.self_attn.q_proj")]
    public void A_group_size_that_does_not_divide_a_layer_names_it_and_the_sizes_that_do(int groupSize, string layer) =>
        ErrorAssert.Throws(
            "QB0007",
            () => new QuantizationPlan(Parse(Sample), new QuantizationSpec { GroupSize = groupSize }).Check(),
            groupSize.ToString(CultureInfo.InvariantCulture), layer, ": 16, 32, 64, 128, 256, PerChannel.");

    [Theory]
    [InlineData(8)]
    [InlineData(24)]
    [InlineData(0)]
    [InlineData(-2)]
    public void A_group_size_that_no_project_could_set_is_refused_with_the_projects_message(int groupSize)
    {
        string size = groupSize.ToString(CultureInfo.InvariantCulture);
        QuantBuildException ofProject = Assert.Throws<QuantBuildException>(() => QuantizationSpec.FromMetadata(name => name == "GroupSize" ? size : null));
        QuantBuildException ofCode = Assert.Throws<QuantBuildException>(() => new QuantizationPlan(Parse(Sample), new QuantizationSpec { GroupSize = groupSize }).Check());
        Assert.Equal(("QB0003", ofProject.Message), (ofCode.Id, ofCode.Message));
    }

    [Fact]
    public void A_layer_that_only_the_down_projection_misfits_is_named() =>
        ErrorAssert.Throws("QB0007", () => new QuantizationPlan(Parse(With(("intermediate_size", "784"))), new QuantizationSpec { GroupSize = 128 }).Check(), "mlp.down_proj", "784 = 6 x 128 + 16", ": 16, PerChannel.");

    private const string Experts = """
        {"architectures": ["Qwen2MoeForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 258, "num_experts": 3,
         "num_experts_per_tok": 2, "moe_intermediate_size": 48, "shared_expert_intermediate_size": 80, "decoder_sparse_step": 2, "mlp_only_layers": [3]}
        """;

    [Fact]
    public void Only_some_layers_have_experts_and_an_MLP_for_every_token_beside_them()
    {
        DecoderConfig config = Parse(Experts);
        Assert.Equal([false, true, false, false], Enumerable.Range(0, 4).Select(config.HasExperts));
        string[] Names(int layer) => [.. config.Linears(layer).Where(linear => linear.Name.EndsWith("up_proj", StringComparison.Ordinal)).Select(linear => $"{linear.Name[15..]} {linear.Outputs}")];
        Assert.Equal(["mlp.up_proj 96"], Names(0));
        Assert.Equal(["mlp.experts.0.up_proj 48", "mlp.experts.1.up_proj 48", "mlp.experts.2.up_proj 48", "mlp.shared_expert.up_proj 80"], Names(1));
        Assert.Equal([0, 3, 0, 0], Enumerable.Range(0, 4).Select(layer => config.EveryTokenMlp(layer)!.Value));
        Assert.Equal([96, 48, 80], config.MlpWidths);
        Assert.Equal(["model.layers.1.mlp.router.weight", "model.layers.1.mlp.shared_expert_gate.weight"], config.Tensors().Select(tensor => tensor.Key).Where(name => name.Contains("gate.w") || name.Contains("router")));
        // Sizes that divide 64, 96, 48 and 80.
        ErrorAssert.Throws("QB0007", () => new QuantizationPlan(config, new QuantizationSpec { GroupSize = 32 }).Check(), "layers.1.mlp.experts.0.down_proj", ": 16, PerChannel.");
    }

    [Theory]
    [InlineData("\"mlp_only_layers\": [3]", "\"mlp_only_layers\": [\"3\"]", "QB2003", "the number of a layer")]
    [InlineData("\"mlp_only_layers\": [3]", "\"mlp_only_layers\": [-1]", "QB2003", "the number of a layer")]
    [InlineData("\"decoder_sparse_step\": 2", "\"decoder_sparse_step\": 0", "QB2003", "decoder_sparse_step")]
    [InlineData("Qwen2MoeForCausalLM", "OlmoeForCausalLM\"], \"clip_qkv\": 8, \"other\": [\"", "QB2011", "clip_qkv")]
    public void What_is_wrong_with_experts_is_named(string instead, string wrong, string id, string named) => ErrorAssert.Throws(id, () => Parse(Experts.Replace(instead, wrong)), "config.json", named);

    private static DecoderConfig Parse(string json) => DecoderConfig.Parse(json, "models/m/config.json");

    /// <summary>The sample's configuration with some members of other JSON, or without them.</summary>
    private static string With(params (string Name, string? Json)[] members)
    {
        JsonObject config = JsonNode.Parse(Sample)!.AsObject();
        foreach ((string name, string? json) in members)
        {
            config.Remove(name);
            if (json is not null) config[name] = JsonNode.Parse(json);
        }

        return config.ToJsonString();
    }
}
