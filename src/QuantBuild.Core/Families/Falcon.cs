namespace QuantBuild;

/// <summary>
/// Falcon 7B, 40B and 180B (Almazrouei et al., 2023): attention and MLP side by side, and q, k and v in one tensor, each group of queries before its key and its value. Falcon RW 1B and 7B (Penedo et al., 2023) with
/// ALiBi.
/// </summary>
internal static class Falcon
{
    public static DecoderConfig Read(ConfigReader config)
    {
        config = config
            .Renamed(("num_attention_heads", "n_head"), ("num_hidden_layers", "n_layer"), ("intermediate_size", "ffn_hidden_size"), ("num_key_value_heads", "num_kv_heads"))
            .WithMultiple("intermediate_size", "hidden_size", 4);
        bool grouped = config.BooleanOr("new_decoder_architecture", false), parallel = config.BooleanOr("parallel_attn", true), bias = config.BooleanOr("bias", false);
        DecoderConfig decoder = config.Decoder(tied: true);
        int keyHeads = grouped ? decoder.KvHeads : config.BooleanOr("multi_query", true) ? 1 : decoder.Heads;
        int shared = decoder.Heads / keyHeads;
        bool ownNorms = parallel && config.CountOr("num_ln_in_parallel_attn", grouped ? 2 : 1) == 2;
        RowBlocks Of(int head, int heads) => RowBlocks.OfHeads(head, heads, shared + 2, keyHeads, decoder.HeadDim);
        WeightNames names = new WeightNames("transformer.h.*.")
            .With("model.embed_tokens", "transformer.word_embeddings")
            .With("self_attn.q_proj", "self_attention.query_key_value", Of(0, shared))
            .With("self_attn.k_proj", "self_attention.query_key_value", Of(shared, 1))
            .With("self_attn.v_proj", "self_attention.query_key_value", Of(shared + 1, 1))
            .With("self_attn.o_proj", "self_attention.dense")
            .With("mlp.up_proj", "mlp.dense_h_to_4h")
            .With("mlp.down_proj", "mlp.dense_4h_to_h")
            .With("model.norm", "transformer.ln_f");
        if (ownNorms) names = names.With("input_layernorm", "ln_attn").With("post_attention_layernorm", "ln_mlp");
        return decoder with
        {
            KvHeads = keyHeads,
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("layer_norm_epsilon", 1e-5),
            Activation = config.Activation("activation", "gelu"),
            GatedMlp = false,
            ParallelResidual = parallel,
            SharedNorm = parallel && !ownNorms,
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = bias,
            AlibiSlopes = config.BooleanOr("alibi", false) ? [.. Alibi.Slopes(decoder.Heads).Select(slope => Brain(slope) / Math.Sqrt(decoder.HeadDim))] : [],
            Names = names,
        };
    }

    // It was trained with slopes in bfloat16, and they are added before scores are scaled. 8 bits of a number remain.
    private static double Brain(double slope)
    {
        double unit = Math.Pow(2, Math.Floor(Math.Log(slope, 2)) - 7);
        return Math.Round(slope / unit, MidpointRounding.ToEven) * unit;
    }
}
