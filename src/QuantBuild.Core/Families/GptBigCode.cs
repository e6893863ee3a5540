namespace QuantBuild;

/// <summary>SantaCoder and StarCoder 1 (Li et al., 2023): learned positions, mostly one key and one value for all queries, and q, k and v in one tensor.</summary>
internal static class GptBigCode
{
    public static DecoderConfig Read(ConfigReader config)
    {
        config.Require("scale_attn_weights", "true");
        config.Require("add_cross_attention", "false");
        DecoderConfig decoder = config
            .Renamed(("hidden_size", "n_embd"), ("num_attention_heads", "n_head"), ("num_hidden_layers", "n_layer"), ("max_position_embeddings", "n_positions"), ("intermediate_size", "n_inner"))
            .WithMultiple("intermediate_size", "hidden_size", 4)
            .Decoder(tied: true);
        int headDim = decoder.HeadDim, queries = decoder.Heads * headDim;
        bool shared = config.BooleanOr("multi_query", true);
        // With a key for each query, the three of a head follow one another.
        RowBlocks Of(int part) => !shared ? RowBlocks.OfHeads(part, 1, 3, decoder.Heads, headDim)
            : part == 0 ? RowBlocks.Run(0, queries, queries + (2 * headDim)) : RowBlocks.Run(queries + ((part - 1) * headDim), headDim, queries + (2 * headDim));
        return decoder with
        {
            KvHeads = shared ? 1 : decoder.Heads,
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("layer_norm_epsilon", 1e-5),
            Activation = config.Activation("activation_function", "gelu_pytorch_tanh"),
            GatedMlp = false,
            AttentionBias = true,
            OutputBias = true,
            MlpBias = true,
            LearnedPositions = true,
            Names = new WeightNames("transformer.h.*.")
                .With("model.embed_tokens", "transformer.wte")
                .With("model.embed_positions", "transformer.wpe")
                .With("input_layernorm", "ln_1")
                .With("self_attn.q_proj", "attn.c_attn", Of(0))
                .With("self_attn.k_proj", "attn.c_attn", Of(1))
                .With("self_attn.v_proj", "attn.c_attn", Of(2))
                .With("self_attn.o_proj", "attn.c_proj")
                .With("post_attention_layernorm", "ln_2")
                .With("mlp.up_proj", "mlp.c_fc")
                .With("mlp.down_proj", "mlp.c_proj")
                .With("model.norm", "transformer.ln_f"),
        };
    }
}
