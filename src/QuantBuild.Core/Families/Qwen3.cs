namespace QuantBuild;

/// <summary>Qwen 3 (Yang et al., 2025): no bias, and a norm of each head's query and key.</summary>
internal static class Qwen3
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config.Decoder(headDim: 128);
        bool bias = config.BooleanOr("attention_bias", false);
        return decoder with
        {
            Activation = config.Activation("hidden_act", "silu"),
            AttentionBias = bias,
            OutputBias = bias,
            QueryKeyNorm = QueryKeyNorm.Head,
            SlidingWindow = Qwen2.Window(config),
            SlidingLayers = Qwen2.Layers(config, decoder),
        };
    }
}
