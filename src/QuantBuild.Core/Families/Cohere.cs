namespace QuantBuild;

/// <summary>Command R and Aya (2024): attention and MLP side by side behind one LayerNorm without a bias, neighbouring dimensions turned together, and a multiplier of the logits; in Command R+ a LayerNorm of each query and key head.</summary>
internal static class Cohere
{
    public static DecoderConfig Read(ConfigReader config)
    {
        bool bias = config.BooleanOr("attention_bias", false);
        DecoderConfig decoder = config.Decoder(tied: true);
        return decoder with
        {
            Norm = NormKind.Layer,
            NormEpsilon = config.NumberOr("layer_norm_eps", 1e-5),
            Activation = config.Activation("hidden_act", "silu"),
            ParallelResidual = true,
            SharedNorm = true,
            AttentionBias = bias,
            OutputBias = bias,
            RopeInterleaved = true,
            QueryKeyNorm = config.BooleanOr("use_qk_norm", false) ? QueryKeyNorm.EachHead : QueryKeyNorm.None,
            LogitScale = config.NumberOr("logit_scale", 0.0625),
            Names = new WeightNames().WithStack("self_attn.q_norm", "self_attn.q_norm", decoder.Heads).WithStack("self_attn.k_norm", "self_attn.k_norm", decoder.KvHeads),
        };
    }
}
