using QuantBuild.Cuda.Driver;
using QuantBuild.Kernels;

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
        Gate = arena.Take(MlpNumbers(config, plan.Tokens) * sizeof(float));
        Up = config.GatedMlp ? arena.Take(MlpNumbers(config, plan.Tokens) * sizeof(float)) : 0;
        Partial = arena.Take(DeviceAttention.PartialBytes(config));
        Input = new RoundedInput(kernels, arena, InputRows(config, plan.Tokens), InputNumbers(config, plan.Tokens), hasOutliers, orders);
        if (config.Experts > 0)
        {
            Scores = Take(config.Experts);
            Routing = new ExpertRouting(kernels, arena, config, plan.Tokens);
            ExpertOutput = arena.Take((long)ExpertRouting.SlotsOf(config, plan.Tokens) * config.HiddenSize * sizeof(float));
            Mixed = Take(config.HiddenSize);
        }

        if (plan.HasHead && config.EmbeddingWidth is not null) Projected = arena.Take((long)LogitRows * config.EmbeddingSize * sizeof(float));
        if (plan.HasHead) Logits = arena.Take((long)LogitRows * config.VocabularySize * sizeof(float));
    }

    /// <summary>The residual stream.</summary>
    public IntPtr Hidden { get; }

    /// <summary>The residual stream after a norm.</summary>
    public IntPtr Normed { get; }

    /// <summary>What attention or the MLP gives, where it is not added at once.</summary>
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

    /// <summary>Which experts compute which tokens.</summary>
    public ExpertRouting? Routing { get; }

    /// <summary>What the experts give, [slots, hidden].</summary>
    public IntPtr ExpertOutput { get; }

    /// <summary>What all experts of each token give.</summary>
    public IntPtr Mixed { get; }

    /// <summary>What the head reads, where its width is not that of the residual stream: [<see cref="LogitRows"/>, embedding].</summary>
    public IntPtr Projected { get; }

    /// <summary>[<see cref="LogitRows"/>, vocabulary].</summary>
    public IntPtr Logits { get; }

    /// <summary>Bytes that they take.</summary>
    public static long BytesFor(DecoderConfig config, int tokens, bool hasHead, bool hasOutliers)
    {
        long widths = (4L * config.HiddenSize) + (2L * config.Heads * config.HeadDim) + (2L * config.KvHeads * config.HeadDim);
        long experts = 0;
        if (config.Experts > 0)
        {
            widths += config.Experts + config.HiddenSize;
            experts = ExpertRouting.BytesFor(config, tokens) + ((long)ExpertRouting.SlotsOf(config, tokens) * config.HiddenSize * sizeof(float));
        }

        return (tokens * widths * sizeof(float)) + (2 * MlpNumbers(config, tokens) * sizeof(float)) + experts
            + RoundedInput.BytesFor(InputRows(config, tokens), InputNumbers(config, tokens), hasOutliers) + DeviceAttention.PartialBytes(config)
            + (hasHead ? ((long)LogitRows * (config.VocabularySize + config.EmbeddingSize) * sizeof(float)) + DeviceLists.BytesFor(config.VocabularySize) : 0) + (1 << 20);
    }

    // What MLPs have between their projections: of tokens, or of all their experts.
    private static long MlpNumbers(DecoderConfig config, int tokens) => Alike(config).Max(layer => config.Mlps(layer).Select((mlp, i) => (long)Rows(config, layer, i, tokens) * mlp.Width).Max());

    // What linears read: all tokens of the widest input, or what all experts read.
    private static long InputNumbers(DecoderConfig config, int tokens)
    {
        int widest = Math.Max(config.EmbeddingSize, Math.Max(config.HiddenSize, config.Heads * config.HeadDim));
        long mlps = Alike(config).Max(layer => config.Mlps(layer).Select((mlp, i) => (long)Rows(config, layer, i, tokens) * PackedTiles.PaddedInputs(Math.Max(mlp.Width, config.HiddenSize))).Max());
        return Math.Max((long)tokens * PackedTiles.PaddedInputs(widest), mlps);
    }

    private static int InputRows(DecoderConfig config, int tokens) => Math.Max(tokens, config.Experts > 0 ? ExpertRouting.SlotsOf(config, tokens) : 0);

    private static int Rows(DecoderConfig config, int layer, int mlp, int tokens) => config.HasExperts(layer) && mlp < config.Experts ? ExpertRouting.SlotsOf(config, tokens) : tokens;

    // One layer of each kind.
    private static IEnumerable<int> Alike(DecoderConfig config) => Enumerable.Range(0, config.Layers).DistinctBy(config.HasExperts);
}
