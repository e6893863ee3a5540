namespace QuantBuild;

/// <summary>Phi 3, 3.5 and 4 (Abdin et al., 2024): q, k and v in one tensor, gate and up in another; LongRoPE in the models of a long context.</summary>
internal static class Phi3
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config.Decoder();
        int keys = decoder.KvHeads * decoder.HeadDim, mlp = decoder.IntermediateSize;
        return decoder with
        {
            Activation = config.Activation("hidden_act", "silu"),
            NormEpsilon = config.NumberOr("rms_norm_eps", 1e-5),
            SlidingWindow = config.OptionalSize("sliding_window", null),
            Names = new WeightNames()
                .WithFused("self_attn.qkv_proj", ("self_attn.q_proj", decoder.Heads * decoder.HeadDim), ("self_attn.k_proj", keys), ("self_attn.v_proj", keys))
                .WithFused("mlp.gate_up_proj", ("mlp.gate_proj", mlp), ("mlp.up_proj", mlp)),
        };
    }
}
