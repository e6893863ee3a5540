namespace QuantBuild;

/// <summary>StableLM 2 and StableLM 3B (Bellagente et al., 2024): Llama with LayerNorm, and a part of each head turned.</summary>
internal static class StableLm
{
    public static DecoderConfig Read(ConfigReader config)
    {
        config.Require("qk_layernorm", "false");
        bool parallel = config.BooleanOr("use_parallel_residual", false);
        return config.Decoder(rotaryShare: 0.25) with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("layer_norm_eps", 1e-5),
            Activation = config.Activation("hidden_act", "silu"),
            AttentionBias = config.BooleanOr("use_qkv_bias", false),
            ParallelResidual = parallel,
            SharedNorm = parallel,
        };
    }
}
