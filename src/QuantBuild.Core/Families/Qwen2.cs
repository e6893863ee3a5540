namespace QuantBuild;

/// <summary>Qwen 1.5, 2 and 2.5 (Yang et al., 2024): Llama with a bias in q, k and v, and on request a sliding window in the upper layers.</summary>
internal static class Qwen2
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = config.Decoder();
        return decoder with { Activation = config.Activation("hidden_act", "silu"), AttentionBias = true, SlidingWindow = Window(config), SlidingLayers = Layers(config, decoder) };
    }

    /// <summary>The sliding window, where the file switches it on.</summary>
    public static int? Window(ConfigReader config) => config.BooleanOr("use_sliding_window", false) ? config.OptionalSize("sliding_window", 4096) : null;

    /// <summary>The same in a model of experts, for which implementations differ in which layers have it where the file does not say.</summary>
    public static void CheckWindows(ConfigReader config)
    {
        if (Window(config) is not null && !config.Has("layer_types")) throw config.Unsupported("\"use_sliding_window\" is true, and no \"layer_types\" says in which layers, which is not supported with experts");
    }

    /// <summary>The layers that have it.</summary>
    public static IReadOnlyList<bool> Layers(ConfigReader config, DecoderConfig decoder)
    {
        int first = config.CountOr("max_window_layers", 28);
        return config.SlidingLayers(decoder.Layers, layer => layer >= first);
    }
}
