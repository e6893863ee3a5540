namespace QuantBuild;

/// <summary>StableLM 2 and StableLM 3B (Bellagente et al., 2024): Llama with LayerNorm, and a part of each head turned; in the largest a LayerNorm of each query and key head.</summary>
internal static class StableLm
{
    public static DecoderConfig Read(ConfigReader config)
    {
        bool parallel = config.BooleanOr("use_parallel_residual", false);
        DecoderConfig decoder = config.Decoder(rotaryShare: 0.25);
        return decoder with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("layer_norm_eps", 1e-5),
            Activation = config.Activation("hidden_act", "silu"),
            AttentionBias = config.BooleanOr("use_qkv_bias", false),
            ParallelResidual = parallel,
            SharedNorm = parallel,
            QueryKeyNorm = config.BooleanOr("qk_layernorm", false) ? QueryKeyNorm.EachHead : QueryKeyNorm.None,
            Names = new WeightNames()
                .WithParts("self_attn.q_norm", "self_attn.q_layernorm.norms.*", decoder.Heads)
                .WithParts("self_attn.k_norm", "self_attn.k_layernorm.norms.*", decoder.KvHeads),
        };
    }
}
