namespace QuantBuild;

/// <summary>EXAONE 3, 3.5 and Deep (LG AI Research, 2024): Llama under names of its own.</summary>
internal static class Exaone
{
    public static DecoderConfig Read(ConfigReader config) => config.Renamed(("num_hidden_layers", "num_layers"), ("rms_norm_eps", "layer_norm_epsilon")).Decoder(tied: true) with
    {
        Activation = config.Activation("activation_function", "silu"),
        NormEpsilon = config.NumberOr("rms_norm_eps", 1e-5),
        Names = new WeightNames("transformer.h.*.")
            .With("model.embed_tokens", "transformer.wte")
            .With("input_layernorm", "ln_1")
            .With("self_attn.q_proj", "attn.attention.q_proj")
            .With("self_attn.k_proj", "attn.attention.k_proj")
            .With("self_attn.v_proj", "attn.attention.v_proj")
            .With("self_attn.o_proj", "attn.attention.out_proj")
            .With("post_attention_layernorm", "ln_2")
            .With("mlp.gate_proj", "mlp.c_fc_0")
            .With("mlp.up_proj", "mlp.c_fc_1")
            .With("mlp.down_proj", "mlp.c_proj")
            .With("model.norm", "transformer.ln_f"),
    };
}
