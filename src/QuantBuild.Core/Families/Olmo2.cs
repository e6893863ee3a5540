namespace QuantBuild;

/// <summary>OLMo 2 (2025): norms behind attention and MLP in place of those before them, and norms of all queries and all keys of a token together.</summary>
internal static class Olmo2
{
    public static DecoderConfig Read(ConfigReader config)
    {
        bool bias = config.BooleanOr("attention_bias", false);
        return config.Decoder() with
        {
            Activation = config.Activation("hidden_act", "silu"),
            NormEpsilon = config.NumberOr("rms_norm_eps", 1e-5),
            AttentionBias = bias,
            OutputBias = bias,
            PreNorms = false,
            PostNorms = true,
            QueryKeyNorm = QueryKeyNorm.Width,
            Names = new WeightNames()
                .With("self_attn.post_norm", "post_attention_layernorm")
                .With("mlp.post_norm", "post_feedforward_layernorm"),
        };
    }
}
