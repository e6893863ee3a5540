namespace QuantBuild;

/// <summary>GPT-Neo (Black et al., 2021) and TinyStories: learned positions, scores without a scale, and a sliding window in every other layer.</summary>
internal static class GptNeo
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config
            .Renamed(("num_attention_heads", "num_heads"), ("num_hidden_layers", "num_layers"))
            .WithMultiple("intermediate_size", "hidden_size", 4)
            .Decoder(tied: true);
        return decoder with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("layer_norm_epsilon", 1e-5),
            Activation = config.Activation("activation_function", "gelu_new"),
            GatedMlp = false,
            OutputBias = true,
            MlpBias = true,
            LearnedPositions = true,
            AttentionScale = 1,
            SlidingWindow = config.PositiveOr("window_size", 256),
            SlidingLayers = config.RepeatedLayers("attention_types", decoder.Layers, ["global", "local"], "local"),
            Names = new WeightNames("transformer.h.*.")
                .With("model.embed_tokens", "transformer.wte")
                .With("model.embed_positions", "transformer.wpe")
                .With("input_layernorm", "ln_1")
                .With("self_attn.q_proj", "attn.attention.q_proj")
                .With("self_attn.k_proj", "attn.attention.k_proj")
                .With("self_attn.v_proj", "attn.attention.v_proj")
                .With("self_attn.o_proj", "attn.attention.out_proj")
                .With("post_attention_layernorm", "ln_2")
                .With("mlp.up_proj", "mlp.c_fc")
                .With("mlp.down_proj", "mlp.c_proj")
                .With("model.norm", "transformer.ln_f"),
        };
    }
}
