namespace QuantBuild;

/// <summary>MPT 7B and 30B (MosaicML, 2023): ALiBi, q, k and v in one tensor, and mostly no biases, in norms neither.</summary>
internal static class Mpt
{
    // What its configuration may say otherwise, and checkpoints with other code do.
    private static readonly (string Name, string Supported)[] Supported =
    [
        ("alibi", "true"), ("rope", "false"), ("attn_type", "multihead_attention"), ("clip_qkv", "null"), ("qk_ln", "false"), ("prefix_lm", "false"), ("attn_uses_sequence_id", "false"),
        ("sliding_window_size", "-1"), ("logit_scale", "null"), ("qk_gn", "false"), ("attn_logit_softcapping", "null"), ("ffn_type", "mptmlp"),
    ];

    // Slopes of less are none.
    private const int LargestExponent = 64;

    public static DecoderConfig Read(ConfigReader config)
    {
        config = config.Merged("attn_config").Merged("ffn_config");
        foreach ((string name, string supported) in Supported) config.Require(name, supported);
        if (config.TextOr("norm_type", "layernorm") is var norm && norm is not ("layernorm" or "low_precision_layernorm"))
        {
            throw config.Unsupported($"\"norm_type\" is {norm}, and only layernorm and low_precision_layernorm are supported");
        }

        // That of its own code, which has ALiBi only where the file says so.
        if (config.Architecture() == "MPTForCausalLM" && !config.Has("alibi")) throw config.Unsupported("\"alibi\" is absent, and only true is supported");
        DecoderConfig decoder = config
            .Renamed(("hidden_size", "d_model"), ("num_attention_heads", "n_heads"), ("num_hidden_layers", "n_layers"), ("max_position_embeddings", "max_seq_len"))
            .WithMultiple("intermediate_size", "hidden_size", config.PositiveOr("expansion_ratio", 4))
            .Decoder(tied: true);
        double exponent = config.NumberOr("alibi_bias_max", 8);
        if (exponent > LargestExponent) throw config.Malformed($"\"alibi_bias_max\" is {exponent}, expected at most {LargestExponent}");
        bool bias = !config.BooleanOr("no_bias", true);
        int width = decoder.HiddenSize;
        RowBlocks Of(int part) => RowBlocks.Run(part * width, width, 3 * width);
        return decoder with
        {
            Norm = NormKind.Layer,
            NormBias = bias,
            NormEpsilon = config.NumberOr("layer_norm_epsilon", 1e-5),
            Activation = ActivationKind.Gelu,
            GatedMlp = false,
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = bias,
            AttentionScale = config.OptionalNumber("softmax_scale", null),
            AlibiSlopes = Alibi.Slopes(decoder.Heads, exponent),
            Names = new WeightNames("transformer.blocks.*.")
                .With("model.embed_tokens", "transformer.wte")
                .With("input_layernorm", "norm_1")
                .With("self_attn.q_proj", "attn.Wqkv", Of(0))
                .With("self_attn.k_proj", "attn.Wqkv", Of(1))
                .With("self_attn.v_proj", "attn.Wqkv", Of(2))
                .With("self_attn.o_proj", "attn.out_proj")
                .With("post_attention_layernorm", "norm_2")
                .With("mlp.up_proj", "ffn.up_proj")
                .With("mlp.down_proj", "ffn.down_proj")
                .With("model.norm", "transformer.norm_f"),
        };
    }
}
