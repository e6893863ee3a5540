namespace QuantBuild;

/// <summary>Command R and Aya (2024): attention and MLP side by side behind one LayerNorm without a bias, neighbouring dimensions turned together, and a multiplier of the logits.</summary>
internal static class Cohere
{
    public static DecoderConfig Read(ConfigReader config)
    {
        config.Require("use_qk_norm", "false");
        bool bias = config.BooleanOr("attention_bias", false);
        return config.Decoder(tied: true) with
        {
            Norm = NormKind.Layer,
            NormEpsilon = config.NumberOr("layer_norm_eps", 1e-5),
            Activation = config.Activation("hidden_act", "silu"),
            ParallelResidual = true,
            SharedNorm = true,
            AttentionBias = bias,
            OutputBias = bias,
            RopeInterleaved = true,
            LogitScale = config.NumberOr("logit_scale", 0.0625),
        };
    }
}
