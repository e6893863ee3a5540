namespace QuantBuild;

/// <summary>GPT-2 (Radford et al., 2019): learned positions, and weights that are [inputs, outputs].</summary>
internal static class Gpt2
{
    public static DecoderConfig Read(ConfigReader config)
    {
        config.Require("scale_attn_weights", "true");
        config.Require("scale_attn_by_inverse_layer_idx", "false");
        DecoderConfig decoder = config
            .Renamed(("hidden_size", "n_embd"), ("num_attention_heads", "n_head"), ("num_hidden_layers", "n_layer"), ("max_position_embeddings", "n_positions"), ("intermediate_size", "n_inner"))
            .WithMultiple("intermediate_size", "hidden_size", 4)
            .Decoder(tied: true);
        int width = decoder.HiddenSize;
        RowBlocks Of(int part) => RowBlocks.Run(part * width, width, 3 * width);
        return decoder with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("layer_norm_epsilon", 1e-5),
            Activation = config.Activation("activation_function", "gelu_new"),
            GatedMlp = false,
            AttentionBias = true,
            OutputBias = true,
            MlpBias = true,
            LearnedPositions = true,
            Names = new WeightNames("transformer.h.*.")
                .With("model.embed_tokens", "transformer.wte")
                .With("model.embed_positions", "transformer.wpe")
                .With("input_layernorm", "ln_1")
                .With("self_attn.q_proj", "attn.c_attn", Of(0), transposed: true)
                .With("self_attn.k_proj", "attn.c_attn", Of(1), transposed: true)
                .With("self_attn.v_proj", "attn.c_attn", Of(2), transposed: true)
                .With("self_attn.o_proj", "attn.c_proj", transposed: true)
                .With("post_attention_layernorm", "ln_2")
                .With("mlp.up_proj", "mlp.c_fc", transposed: true)
                .With("mlp.down_proj", "mlp.c_proj", transposed: true)
                .With("model.norm", "transformer.ln_f"),
        };
    }
}
