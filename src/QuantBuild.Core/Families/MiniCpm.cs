namespace QuantBuild;

/// <summary>MiniCPM 1, 2 and 4 (Hu et al., 2024): Llama with multipliers of embeddings, logits, and all that is added to the residual stream.</summary>
internal static class MiniCpm
{
    public static DecoderConfig Read(ConfigReader config)
    {
        // MiniCPM-MoE has this architecture too.
        config.Require("num_experts", "0");
        DecoderConfig decoder = config.Decoder(tied: true);
        return decoder with
        {
            Activation = config.Activation("hidden_act", "silu"),
            EmbeddingScale = config.NumberOr("scale_emb", 1),
            ResidualScale = config.NumberOr("scale_depth", 1) / Math.Sqrt(decoder.Layers),
            LogitScale = config.NumberOr("dim_model_base", 1) / decoder.HiddenSize,
        };
    }
}
