namespace QuantBuild;

/// <summary>OPT (Zhang et al., 2022): learned positions, whose first two rows belong to no token, and ReLU. OPT 350M has a narrow embedding, and norms behind each sum.</summary>
internal static class Opt
{
    // Rows before that of the first token.
    private const int Offset = 2;

    public static DecoderConfig Read(ConfigReader config)
    {
        config.Require("layer_norm_elementwise_affine", "true");
        DecoderConfig decoder = config.Renamed(("intermediate_size", "ffn_dim")).Decoder(tied: true);
        int embedding = config.PositiveOr("word_embed_proj_dim", decoder.HiddenSize);
        bool before = config.BooleanOr("do_layer_norm_before", true);
        bool bias = config.BooleanOr("enable_bias", true);
        return decoder with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = 1e-5,
            PreNorms = before,
            PostNorms = !before,
            SumNorms = !before,
            FinalNorm = before && !config.BooleanOr("_remove_final_layer_norm", false),
            EmbeddingWidth = embedding == decoder.HiddenSize ? null : embedding,
            Activation = config.Activation("activation_function", "relu"),
            GatedMlp = false,
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = bias,
            LearnedPositions = true,
            Names = new WeightNames("model.decoder.layers.*.")
                .With("model.embed_tokens", "model.decoder.embed_tokens")
                .With("model.embed_positions", "model.decoder.embed_positions", RowBlocks.Run(Offset, decoder.ContextLength, decoder.ContextLength + Offset))
                .With("input_layernorm", "self_attn_layer_norm")
                .With("self_attn.post_norm", "self_attn_layer_norm")
                .With("self_attn.o_proj", "self_attn.out_proj")
                .With("post_attention_layernorm", "final_layer_norm")
                .With("mlp.post_norm", "final_layer_norm")
                .With("mlp.up_proj", "fc1")
                .With("mlp.down_proj", "fc2")
                .With("model.project_in", "model.decoder.project_in")
                .With("model.project_out", "model.decoder.project_out")
                .With("model.norm", "model.decoder.final_layer_norm"),
        };
    }
}
