namespace QuantBuild;

/// <summary>GPT-NeoX and Pythia (Black et al., 2022): attention and MLP side by side, a part of each head turned, and q, k and v of each head one after the other in one tensor.</summary>
internal static class GptNeoX
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config.Renamed(("rope_theta", "rotary_emb_base")).Decoder(rotaryShare: 0.25);
        bool bias = config.BooleanOr("attention_bias", true);
        RowBlocks Of(int part) => RowBlocks.OfHeads(part, 1, 3, decoder.Heads, decoder.HeadDim);
        return decoder with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("layer_norm_eps", 1e-5),
            Activation = config.Activation("hidden_act", "gelu"),
            GatedMlp = false,
            ParallelResidual = config.BooleanOr("use_parallel_residual", true),
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = true,
            Names = new WeightNames("gpt_neox.layers.*.")
                .With("model.embed_tokens", "gpt_neox.embed_in")
                .With("self_attn.q_proj", "attention.query_key_value", Of(0))
                .With("self_attn.k_proj", "attention.query_key_value", Of(1))
                .With("self_attn.v_proj", "attention.query_key_value", Of(2))
                .With("self_attn.o_proj", "attention.dense")
                .With("mlp.up_proj", "mlp.dense_h_to_4h")
                .With("mlp.down_proj", "mlp.dense_4h_to_h")
                .With("model.norm", "gpt_neox.final_layer_norm")
                .With("lm_head", "embed_out"),
        };
    }
}
