using QuantBuild.Cuda.Driver;

namespace QuantBuild.Cuda.Decoding;

/// <summary>Activations of a forward pass on a device, [tokens, width] in float32.</summary>
internal sealed class DeviceActivations
{
    /// <summary>Logits that are in memory at the same time.</summary>
    public const int LogitRows = 16;

    /// <param name="device">Where they are, until it is disposed.</param>
    /// <param name="config">The decoder.</param>
    /// <param name="plan">For how many tokens.</param>
    /// <param name="hasOutliers">Whether some linear has activations that are not rounded.</param>
    /// <param name="orders">See <see cref="RoundedInput"/>.</param>
    /// <param name="kernels">The kernels.</param>
    public DeviceActivations(CudaDevice device, DecoderConfig config, PlacementPlan plan, bool hasOutliers, IReadOnlyDictionary<IntPtr, IntPtr> orders, KernelLibrary kernels)
    {
        DeviceArena arena = new(device);
        IntPtr Take(long width) => arena.Take(plan.Tokens * width * sizeof(float));
        int queries = config.Heads * config.HeadDim, keys = config.KvHeads * config.HeadDim;
        Hidden = Take(config.HiddenSize);
        Normed = Take(config.HiddenSize);
        Block = Take(config.HiddenSize);
        Parallel = config.ParallelResidual && !config.SharedNorm ? Take(config.HiddenSize) : 0;
        Queries = Take(queries);
        Keys = Take(keys);
        Values = Take(keys);
        Attended = Take(queries);
        Gate = Take(config.MlpWidths.Max());
        Up = config.GatedMlp ? Take(config.MlpWidths.Max()) : 0;
        Partial = arena.Take(DeviceAttention.PartialBytes(config));
        Input = new RoundedInput(kernels, arena, plan.Tokens, Widest(config), hasOutliers, orders);
        if (config.Experts > 0)
        {
            Scores = Take(config.Experts);
            ExpertInput = Take(config.HiddenSize);
            Mixed = Take(config.HiddenSize);
        }

        if (plan.HasHead && config.EmbeddingWidth is not null) Projected = arena.Take((long)LogitRows * config.EmbeddingSize * sizeof(float));
        if (plan.HasHead) Logits = arena.Take((long)LogitRows * config.VocabularySize * sizeof(float));
    }

    /// <summary>The residual stream.</summary>
    public IntPtr Hidden { get; }

    /// <summary>The residual stream after a norm.</summary>
    public IntPtr Normed { get; }

    /// <summary>What attention, the MLP or an expert gives, where it is not added at once.</summary>
    public IntPtr Block { get; }

    /// <summary>What the MLP reads where it is known before attention, and is not what attention reads.</summary>
    public IntPtr Parallel { get; }

    public IntPtr Queries { get; }

    public IntPtr Keys { get; }

    public IntPtr Values { get; }

    public IntPtr Attended { get; }

    public IntPtr Gate { get; }

    public IntPtr Up { get; }

    /// <summary>Results of parts of texts.</summary>
    public IntPtr Partial { get; }

    /// <summary>What the next linears read.</summary>
    public RoundedInput Input { get; }

    /// <summary>The router's scores, and then the share of the MLP that sees every token.</summary>
    public IntPtr Scores { get; }

    /// <summary>The tokens of one expert.</summary>
    public IntPtr ExpertInput { get; }

    /// <summary>What all experts of each token give.</summary>
    public IntPtr Mixed { get; }

    /// <summary>What the head reads, where its width is not that of the residual stream: [<see cref="LogitRows"/>, embedding].</summary>
    public IntPtr Projected { get; }

    /// <summary>[<see cref="LogitRows"/>, vocabulary].</summary>
    public IntPtr Logits { get; }

    /// <summary>Bytes that they take.</summary>
    public static long BytesFor(DecoderConfig config, int tokens, bool hasHead, bool hasOutliers)
    {
        long widths = (4L * config.HiddenSize) + (2L * config.Heads * config.HeadDim) + (2L * config.KvHeads * config.HeadDim) + (2L * config.MlpWidths.Max());
        if (config.Experts > 0) widths += config.Experts + (2L * config.HiddenSize);
        return (tokens * widths * sizeof(float)) + RoundedInput.BytesFor(tokens, Widest(config), hasOutliers) + DeviceAttention.PartialBytes(config)
            + (hasHead ? ((long)LogitRows * (config.VocabularySize + config.EmbeddingSize) * sizeof(float)) + DeviceLists.BytesFor(config.VocabularySize) : 0) + (1 << 20);
    }

    private static int Widest(DecoderConfig config) => Math.Max(Math.Max(config.MlpWidths.Max(), config.EmbeddingSize), Math.Max(config.HiddenSize, config.Heads * config.HeadDim));
}
