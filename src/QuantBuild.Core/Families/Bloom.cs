namespace QuantBuild;

/// <summary>BLOOM and BLOOMZ (Le Scao et al., 2022): ALiBi, a norm of the embedding, and q, k and v of each head one after the other in one tensor.</summary>
internal static class Bloom
{
    public static DecoderConfig Read(ConfigReader config)
    {
        config.Require("apply_residual_connection_post_layernorm", "false");
        DecoderConfig decoder = config
            .Renamed(("hidden_size", "n_embed"), ("num_attention_heads", "n_head"), ("num_hidden_layers", "n_layer"), ("max_position_embeddings", "seq_length"))
            .WithMultiple("intermediate_size", "hidden_size", 4)
            .Decoder(tied: true);
        RowBlocks Of(int part) => RowBlocks.OfHeads(part, 1, 3, decoder.Heads, decoder.HeadDim);
        return decoder with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("layer_norm_epsilon", 1e-5),
            EmbeddingNorm = true,
            Activation = ActivationKind.GeluTanh,
            GatedMlp = false,
            AttentionBias = true,
            OutputBias = true,
            MlpBias = true,
            AlibiSlopes = Alibi.Slopes(decoder.Heads),
            Names = new WeightNames("transformer.h.*.")
                .With("model.embed_tokens", "transformer.word_embeddings")
                .With("model.embed_norm", "transformer.word_embeddings_layernorm")
                .With("self_attn.q_proj", "self_attention.query_key_value", Of(0))
                .With("self_attn.k_proj", "self_attention.query_key_value", Of(1))
                .With("self_attn.v_proj", "self_attention.query_key_value", Of(2))
                .With("self_attn.o_proj", "self_attention.dense")
                .With("mlp.up_proj", "mlp.dense_h_to_4h")
                .With("mlp.down_proj", "mlp.dense_4h_to_h")
                .With("model.norm", "transformer.ln_f"),
        };
    }
}
