using QuantBuild.Decoding;

namespace QuantBuild.Cuda.Decoding;

/// <summary>How much of a model goes to a device, found out before anything is loaded.</summary>
/// <param name="Layers">Its first layers.</param>
/// <param name="HasHead">Whether the last norm and the head go with them: where all layers do.</param>
/// <param name="Tokens">Tokens of a pass at most.</param>
internal sealed record PlacementPlan(int Layers, bool HasHead, int Tokens)
{
    /// <summary>Tokens of a pass where there is memory enough: then tensor cores have enough to do.</summary>
    public const int ManyTokens = 512;

    // What the driver takes for the context and the code of kernels, and a little air.
    private const long Margin = 300L << 20;

    // Keys and values of so many tokens have room where nobody says how long a text may be, and what the cache of prompts keeps.
    private const int UsualTokens = 4096;

    /// <summary>As many layers as fit into memory that is free.</summary>
    /// <exception cref="QuantBuildException">QB1071: not one does.</exception>
    public static PlacementPlan For(Artifact artifact, LoadOptions options, long free, string device)
    {
        DecoderConfig config = artifact.Config;
        bool hasOutliers = artifact.Manifest.Layers.Values.Any(format => format is Int8RowOutlierFormat { OutlierThreshold: > 0 });
        int text = options.ContextLength ?? Math.Min(config.UsualContext, UsualTokens);
        long keys = (text + (long)options.PromptCacheTokens) * KvPages.BytesPerToken(config, options.KvCache) / config.Layers;
        long[] layers = [.. Enumerable.Range(0, config.Layers).Select(layer => DeviceWeights.BytesOf(artifact, layer) + keys)];
        long room = free - Margin;
        foreach (int tokens in (int[])[ManyTokens, 128])
        {
            long all = layers.Sum() + DeviceWeights.BytesOfHead(artifact) + DeviceActivations.BytesFor(config, tokens, true, hasOutliers);
            if (all <= room) return new PlacementPlan(config.Layers, true, tokens);
        }

        const int few = 128;
        long taken = DeviceActivations.BytesFor(config, few, false, hasOutliers), needed = taken + layers[0];
        int count = 0;
        while (count < config.Layers && taken + layers[count] <= room) taken += layers[count++];
        if (count > 0) return new PlacementPlan(count, false, few);
        throw new QuantBuildException(
            DiagnosticIds.GpuMemoryFull,
            $"The memory of {device} is full: {free >> 20} MB of it are free, and one layer with activations and room for a text of {text} tokens needs {(needed + Margin) >> 20} MB. " +
            "End other programs that use it, lower LoadOptions.ContextLength or PromptCacheTokens, or set LoadOptions.Device to cpu.");
    }
}
