namespace QuantBuild;

/// <summary>Seed-OSS (ByteDance, 2025): Llama with a bias in q, k and v.</summary>
internal static class SeedOss
{
    public static DecoderConfig Read(ConfigReader config) => config.Decoder(headDim: 128) with
    {
        Activation = config.Activation("hidden_act", "silu"),
        AttentionBias = config.BooleanOr("attention_bias", true),
        OutputBias = config.BooleanOr("attention_out_bias", false),
        MlpBias = config.BooleanOr("mlp_bias", false),
    };
}
