namespace QuantBuild;

/// <summary>Llama 1, 2, 3, 3.1, 3.2 and 3.3 (Touvron et al., 2023), and the many models of its architecture: TinyLlama, SmolLM 1 and 2, Yi, DeepSeek LLM and Coder.</summary>
internal static class Llama
{
    public static DecoderConfig Read(ConfigReader config)
    {
        bool bias = config.BooleanOr("attention_bias", false);
        return config.Decoder() with
        {
            Activation = config.Activation("hidden_act", "silu"),
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = config.BooleanOr("mlp_bias", false),
        };
    }
}
