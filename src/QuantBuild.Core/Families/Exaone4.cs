using System.Globalization;

namespace QuantBuild;

/// <summary>EXAONE 4 (LG AI Research, 2025): norms behind attention and MLP alone, and of each head's query and key; where layers have a sliding window, the others know no positions.</summary>
internal static class Exaone4
{
    public static DecoderConfig Read(ConfigReader config)
    {
        DecoderConfig decoder = Olmo2.Read(config);
        int? window = config.OptionalSize("sliding_window", 4096);
        IReadOnlyList<bool> sliding = window is null ? [] : config.SlidingLayers(decoder.Layers, Rule(config));
        return decoder with { QueryKeyNorm = QueryKeyNorm.Head, SlidingWindow = window, SlidingLayers = sliding, RotaryLayers = sliding };
    }

    /// <summary>Which layers have a window: "LLLG" says it by letters, over and over, and a number says which layer of so many has none.</summary>
    private static Func<int, bool> Rule(ConfigReader config)
    {
        string pattern = config.TextOr("sliding_window_pattern", "LLLG");
        if (int.TryParse(pattern, NumberStyles.None, CultureInfo.InvariantCulture, out int period) && period > 0) return layer => (layer + 1) % period != 0;
        if (pattern.Length == 0 || pattern.Any(letter => letter is not ('L' or 'G'))) throw config.Malformed($"\"sliding_window_pattern\" is \"{pattern}\", expected a number, or letters L (local) and G (global)");
        return layer => pattern[layer % pattern.Length] == 'L';
    }
}
