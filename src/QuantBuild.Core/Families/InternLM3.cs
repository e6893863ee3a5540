namespace QuantBuild;

/// <summary>InternLM 3 (2025): Llama, with biases where the file asks for them.</summary>
internal static class InternLM3
{
    public static DecoderConfig Read(ConfigReader config)
    {
        bool bias = config.BooleanOr("bias", false);
        return config.Decoder() with
        {
            Activation = config.Activation("hidden_act", "silu"),
            AttentionBias = config.BooleanOr("qkv_bias", false),
            OutputBias = bias,
            MlpBias = bias,
        };
    }
}
