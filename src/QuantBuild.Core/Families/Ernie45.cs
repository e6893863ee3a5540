namespace QuantBuild;

/// <summary>ERNIE 4.5 (Baidu, 2025), dense: Llama with neighbouring dimensions turned together.</summary>
internal static class Ernie45
{
    public static DecoderConfig Read(ConfigReader config)
    {
        bool bias = config.BooleanOr("use_bias", false);
        return config.Decoder(tied: true) with
        {
            Activation = config.Activation("hidden_act", "silu"),
            NormEpsilon = config.NumberOr("rms_norm_eps", 1e-5),
            RopeTheta = config.RopeTheta(500_000),
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = bias,
            RopeInterleaved = true,
        };
    }
}
