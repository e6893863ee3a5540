namespace QuantBuild;

/// <summary>Granite 3 (2024): Llama with multipliers of embeddings, scores, logits, and all that is added to the residual stream.</summary>
internal static class Granite
{
    public static DecoderConfig Read(ConfigReader config)
    {
        bool bias = config.BooleanOr("attention_bias", false);
        return config.Decoder() with
        {
            Activation = config.Activation("hidden_act", "silu"),
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = config.BooleanOr("mlp_bias", false),
            EmbeddingScale = config.NumberOr("embedding_multiplier", 1),
            ResidualScale = config.NumberOr("residual_multiplier", 1),
            AttentionScale = config.NumberOr("attention_multiplier", 1),
            LogitScale = 1 / config.NumberOr("logits_scaling", 1),
        };
    }
}
