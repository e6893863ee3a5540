namespace QuantBuild;

/// <summary>StarCoder 2 (Lozhkov et al., 2024): LayerNorm, biases everywhere, and an MLP without a gate.</summary>
internal static class Starcoder2
{
    public static DecoderConfig Read(ConfigReader config)
    {
        bool bias = config.BooleanOr("use_bias", true);
        return config.Decoder(tied: true) with
        {
            Norm = NormKind.Layer,
            NormBias = true,
            NormEpsilon = config.NumberOr("norm_epsilon", 1e-5),
            Activation = config.Activation("hidden_act", "gelu_pytorch_tanh"),
            GatedMlp = false,
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = bias,
            SlidingWindow = config.OptionalSize("sliding_window", null),
            Names = new WeightNames().With("mlp.up_proj", "mlp.c_fc").With("mlp.down_proj", "mlp.c_proj"),
        };
    }
}
