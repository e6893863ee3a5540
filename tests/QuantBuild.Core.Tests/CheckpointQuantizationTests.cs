namespace QuantBuild.Core.Tests;

public sealed class CheckpointQuantizationTests
{
    private const string Gptq = """{"quant_method":"gptq","bits":4,"group_size":64,"desc_act":true,"sym":true}""";

    [Fact]
    public void An_item_without_settings_takes_the_checkpoints_own()
    {
        QuantizationSpec spec = Of(Gptq).Adopt(_ => null, "m");
        Assert.True(spec.FromCheckpoint);
        Assert.False(spec.NeedsCalibration);
        Assert.Equal((QuantizationMethod.Gptq, 4, 64, true, true), (spec.Method, spec.Bits, spec.GroupSize, spec.Symmetric, spec.ActOrder));
        Assert.Equal(spec, QuantizationSpec.FromMetadata(spec.ToMetadata().ToDictionary(entry => entry.Key, entry => entry.Value).GetValueOrDefault));
        new QuantizationPlan(Config(Gptq), spec).Check();
    }

    [Theory]
    [InlineData("Method", "gptq", true)]
    [InlineData("Method", "Auto", true)]
    [InlineData("Bits", "4", true)]
    [InlineData("GroupSize", "64", true)]
    [InlineData("EvaluationContext", "128", true)]
    [InlineData("CalibrationSamples", "7", true)]
    [InlineData("Method", "Awq", false)]
    [InlineData("Method", "Nf4", false)]
    [InlineData("Bits", "8", false)]
    [InlineData("GroupSize", "PerChannel", false)]
    [InlineData("Symmetric", "false", false)]
    [InlineData("ActOrder", "false", false)]
    [InlineData("TargetSize", "4GB", false)]
    [InlineData("Override", "down_proj: Bits=8", false)]
    public void What_an_item_says_must_be_what_the_checkpoint_has(string name, string value, bool fits)
    {
        string? Metadata(string asked) => asked == name ? value : null;
        if (fits) Assert.True(Of(Gptq).Adopt(Metadata, "m").FromCheckpoint);
        else ErrorAssert.Throws("QB2043", () => Of(Gptq).Adopt(Metadata, "m"), "m", name + "=\"" + value + "\"", "GroupSize=\"64\"");
    }

    [Fact]
    public void A_specification_for_float_weights_does_not_fit_and_the_other_way_round()
    {
        ErrorAssert.Throws("QB2043", () => new QuantizationPlan(Config(Gptq), new QuantizationSpec { GroupSize = 64 }).Check(), "Bits=\"4\"");
        ErrorAssert.Throws("QB2043", () => new QuantizationPlan(Config(null), Of(Gptq).Spec!).Check(), "FromCheckpoint");
    }

    [Theory]
    [InlineData("""{"quant_method":"awq","bits":4,"group_size":32,"modules_to_not_convert":["lm_head","down_proj","visual"]}""", "down_proj: Float")]
    [InlineData("""{"quant_method":"awq","bits":4,"group_size":32,"modules_to_not_convert":["layers.0.mlp"]}""", "layers.0.mlp: Float")]
    [InlineData("""{"quant_method":"awq","bits":4,"group_size":32,"modules_to_not_convert":null}""", "")]
    [InlineData("""{"quant_method":"bitsandbytes","load_in_8bit":true,"llm_int8_skip_modules":["0.self_attn.q"]}""", "model.layers.0.self_attn.q_proj: Float")]
    [InlineData("""{"quant_method":"gptq","bits":4,"group_size":32,"lm_head":true}""", "lm_head: Bits=4")]
    public void Layers_that_stay_in_floating_point_are_overrides(string json, string expected)
    {
        Assert.Equal(expected, Of(json).Spec!.Override);
        new QuantizationPlan(Config(json), Of(json).Spec!).Check();
    }

    // The names are those of the checkpoint: Mixtral's gate is its router, and not the first of an expert's linears.
    [Theory]
    [InlineData("MixtralForCausalLM", "gate", "")]
    [InlineData("MixtralForCausalLM", "experts.1.w1", "model.layers.0.mlp.experts.1.gate_proj: Float")]
    [InlineData("Phi3ForCausalLM", "self_attn.qkv_proj", "model.layers.0.self_attn.q_proj: Float; model.layers.0.self_attn.k_proj: Float; model.layers.0.self_attn.v_proj: Float")]
    [InlineData("FalconForCausalLM", "self_attention.dense", "model.layers.0.self_attn.o_proj: Float")]
    public void Linears_that_are_named_otherwise_in_the_checkpoint_are_found_by_that_name(string architecture, string kept, string expected)
    {
        DecoderConfig config = DecoderConfig.Parse(
            $$"""
            {"architectures": ["{{architecture}}"], "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64, "num_local_experts": 2,
             "quantization_config": {"quant_method":"awq","bits":4,"group_size":32,"modules_to_not_convert":["{{kept}}"]} }
            """,
            "config.json");
        Assert.Equal(expected, config.Quantization!.Spec!.Override);
    }

    [Theory]
    [InlineData("language_model.model.layers.1.mlp.gate_proj")]
    [InlineData("model.language_model.layers.1.mlp.gate_proj")]
    [InlineData("model.layers.1.mlp.gate_proj")]
    public void Linears_of_a_model_that_sees_images_are_found_by_either_name(string kept)
    {
        DecoderConfig config = DecoderConfig.Parse(
            $$"""
            {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 64},
             "quantization_config": {"quant_method":"bitsandbytes","load_in_4bit":true,"llm_int8_skip_modules":["vision_tower","{{kept}}","lm_head"]} }
            """,
            "config.json");
        Assert.Equal("model.layers.1.mlp.gate_proj: Float", config.Quantization!.Spec!.Override);
    }

    [Theory]
    [InlineData("""{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4","bnb_4bit_use_double_quant":true}""", QuantizationMethod.Nf4)]
    [InlineData("""{"load_in_4bit":true}""", QuantizationMethod.Fp4)]
    [InlineData("""{"quant_method":"bitsandbytes","load_in_8bit":true,"llm_int8_threshold":5}""", QuantizationMethod.Int8)]
    [InlineData("""{"quant_method":"gptq","bits":3,"group_size":-1}""", QuantizationMethod.Gptq)]
    public void The_method_is_the_tools(string json, QuantizationMethod method) => Assert.Equal(method, Of(json).Spec!.Method);

    [Fact]
    public void Of_a_model_in_MXFP4_experts_alone_are_quantized()
    {
        DecoderConfig config = DecoderConfig.Parse(
            """
            {"architectures": ["GptOssForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64, "num_local_experts": 4,
             "num_experts_per_tok": 2, "quantization_config": {"modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"], "quant_method": "mxfp4"} }
            """,
            "config.json");
        QuantizationSpec spec = config.Quantization!.Spec!;
        QuantizationPlan plan = new(config, spec);
        Assert.Equal(QuantizationMethod.Mxfp4, spec.Method);
        Assert.Equal(config.QuantizableLinears().Where(linear => linear.Name.Contains(".experts.")), plan.Quantized);
        // 4 bits a weight and an exponent for each 32.
        Assert.All(plan.Quantized, linear => Assert.Equal((linear.Outputs * linear.Inputs / 2) + (linear.Outputs * linear.Inputs / 32), PackedSize.Of(plan[linear]!, linear)));
        ErrorAssert.Throws("QB2043", () => config.Quantization.Adopt(name => name == "Method" ? "Gptq" : null, "models/m"), "Mxfp4");
    }

    [Theory]
    [InlineData("""{"quant_method":"fp8","weight_block_size":[128,64]}""", 128)]
    [InlineData("""{"quant_method":"compressed-tensors","format":"float-quantized"}""", null)]
    public void Eight_bit_floating_point_is_read_as_floating_point(string json, int? rows)
    {
        Assert.Null(Of(json).Spec);
        Assert.Equal(rows, Of(json).Block?.Rows);
        new QuantizationPlan(Config(json), new QuantizationSpec { GroupSize = 32 }).Check();
    }

    [Theory]
    [InlineData("""{"quant_method":"gptq","bits":5,"group_size":128}""", "QB2011", "5 bits")]
    [InlineData("""{"quant_method":"gptq","bits":4,"group_size":8}""", "QB2011", "groups of 8")]
    [InlineData("""{"quant_method":"gptq","bits":4,"group_size":128,"checkpoint_format":"marlin"}""", "QB2011", "marlin")]
    [InlineData("""{"quant_method":"gptq","bits":4,"group_size":128,"dynamic":{"+:.*down.*":{"bits":8}}}""", "QB2011", "dynamic")]
    [InlineData("""{"quant_method":"awq","bits":4,"group_size":128,"version":"gemv"}""", "QB2011", "gemv")]
    [InlineData("""{"quant_method":"compressed-tensors","format":"pack-quantized"}""", "QB2011", "compressed-tensors")]
    [InlineData("""{"quant_method":"gptq","bits":"4"}""", "QB2003", "bits")]
    [InlineData("""{"quant_method":"fp8","weight_block_size":[128]}""", "QB2003", "weight_block_size")]
    [InlineData("""[4]""", "QB2003", "array")]
    public void What_is_not_read_is_an_error(string json, string id, string part) => ErrorAssert.Throws(id, () => Of(json), part);

    private static CheckpointQuantization Of(string json) => Config(json).Quantization!;

    private static DecoderConfig Config(string? quantization) => DecoderConfig.Parse(
        """
        {"architectures":["LlamaForCausalLM"],"hidden_size":64,"num_attention_heads":2,"intermediate_size":64,"num_hidden_layers":2,"vocab_size":32
        """ + (quantization is null ? "}" : ",\"quantization_config\":" + quantization + "}"),
        "config.json");
}
