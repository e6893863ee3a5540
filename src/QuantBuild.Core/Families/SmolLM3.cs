namespace QuantBuild;

/// <summary>SmolLM 3 (2025): Llama in which every fourth layer knows no positions (Yang et al., 2025, arXiv:2501.18795).</summary>
internal static class SmolLM3
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config.Decoder(tied: true);
        int interval = config.PositiveOr("no_rope_layer_interval", 4);
        // In spite of its name the list has a 1 for each layer that turns by positions.
        IReadOnlyList<bool> rotary = config.Flags("no_rope_layers", decoder.Layers);
        if (rotary.Count == 0) rotary = [.. Enumerable.Range(0, decoder.Layers).Select(layer => (layer + 1) % interval != 0)];
        bool bias = config.BooleanOr("attention_bias", false);
        return decoder with
        {
            Activation = config.Activation("hidden_act", "silu"),
            AttentionBias = bias,
            OutputBias = bias,
            MlpBias = config.BooleanOr("mlp_bias", false),
            RopeTheta = config.RopeTheta(2_000_000),
            RotaryLayers = rotary,
            SlidingWindow = Qwen2.Window(config),
            SlidingLayers = config.SlidingLayers(decoder.Layers, layer => !rotary[layer]),
        };
    }
}
