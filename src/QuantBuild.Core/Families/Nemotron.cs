namespace QuantBuild;

/// <summary>Nemotron 3 and 4, and Minitron (Parmar et al., 2024): LayerNorm whose weights are offsets from one, half of each head turned, and squared ReLU in an MLP without a gate.</summary>
internal static class Nemotron
{
    public static DecoderConfig Read(ConfigReader config)
    {
        bool bias = config.BooleanOr("attention_bias", false);
        return config.Renamed(("partial_rotary_factor", "rope_percent")).Decoder(rotaryShare: 0.5) with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormOffset = 1,
            NormEpsilon = config.NumberOr("norm_eps", 1e-5),
            Activation = config.Activation("hidden_act", "relu2"),
            GatedMlp = false,
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = config.BooleanOr("mlp_bias", false),
        };
    }
}
