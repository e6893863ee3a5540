namespace QuantBuild;

/// <summary>GLM-4 0414 and GLM-Z1 (2025): GLM with norms behind attention and MLP too.</summary>
internal static class Glm4
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = Glm.Read(config);
        return decoder with
        {
            PostNorms = true,
            AttentionBias = config.BooleanOr("attention_bias", false),
            Names = Glm.Names(decoder).With("self_attn.post_norm", "post_self_attn_layernorm").With("mlp.post_norm", "post_mlp_layernorm"),
        };
    }
}
