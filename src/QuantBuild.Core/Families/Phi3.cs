namespace QuantBuild;

/// <summary>Phi 3, 3.5 and 4 (Abdin et al., 2024): q, k and v in one tensor, gate and up in another; LongRoPE in the models of a long context.</summary>
internal static class Phi3
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config.Decoder();
        int queries = decoder.Heads * decoder.HeadDim, keys = decoder.KvHeads * decoder.HeadDim, all = queries + (2 * keys), mlp = decoder.IntermediateSize;
        return decoder with
        {
            Activation = config.Activation("hidden_act", "silu"),
            NormEpsilon = config.NumberOr("rms_norm_eps", 1e-5),
            SlidingWindow = config.OptionalSize("sliding_window", null),
            Names = new WeightNames()
                .With("self_attn.q_proj", "self_attn.qkv_proj", RowBlocks.Run(0, queries, all))
                .With("self_attn.k_proj", "self_attn.qkv_proj", RowBlocks.Run(queries, keys, all))
                .With("self_attn.v_proj", "self_attn.qkv_proj", RowBlocks.Run(queries + keys, keys, all))
                .With("mlp.gate_proj", "mlp.gate_up_proj", RowBlocks.Run(0, mlp, 2 * mlp))
                .With("mlp.up_proj", "mlp.gate_up_proj", RowBlocks.Run(mlp, mlp, 2 * mlp)),
        };
    }
}
