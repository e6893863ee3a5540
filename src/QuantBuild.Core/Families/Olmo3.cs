namespace QuantBuild;

/// <summary>OLMo 3 (2025): OLMo 2 in which three of four layers have a sliding window, and keep the unscaled rotary embedding.</summary>
internal static class Olmo3
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = Olmo2.Read(config);
        return decoder with
        {
            SlidingWindow = config.OptionalSize("sliding_window", 4096),
            SlidingLayers = config.SlidingLayers(decoder.Layers, layer => (layer + 1) % 4 != 0),
            LocalRopeTheta = decoder.RopeTheta,
        };
    }
}
