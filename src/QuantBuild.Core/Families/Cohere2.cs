namespace QuantBuild;

/// <summary>Command R7B and Command A (2025): Command R in which three of four layers have a sliding window, and the others know no positions.</summary>
internal static class Cohere2
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = Cohere.Read(config);
        int pattern = config.PositiveOr("sliding_window_pattern", 4);
        IReadOnlyList<bool> sliding = config.SlidingLayers(decoder.Layers, layer => (layer + 1) % pattern != 0);
        return decoder with { SlidingWindow = config.OptionalSize("sliding_window", 4096), SlidingLayers = sliding, RotaryLayers = sliding };
    }
}
