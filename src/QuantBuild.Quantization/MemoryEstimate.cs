using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>How much host memory a run needs, reckoned before it begins: whoever has too little hears of it at once, and not after hours.</summary>
/// <remarks>
/// On a GPU, weights, matrices and batches are in its own memory, which is not reckoned here: what remains on the host is a copy on its way, and the activations.
/// </remarks>
/// <param name="Largest">The step that needs most.</param>
/// <param name="Activations">Bytes of all residual streams, and of the attention outputs that are kept beside them.</param>
/// <param name="Limit">Bytes that the worker may use.</param>
internal sealed record MemoryEstimate(MemoryStep Largest, long Activations, long Limit)
{
    /// <summary>Bytes for the runtimes of .NET and torch, with their libraries, and for what is small.</summary>
    public const long Runtime = 500_000_000;

    // Of the size of a Hessian: its sum and the correction's, then the factor, and the rows of it while they are permuted.
    private const int MatricesToFactor = 4;

    // The sums and the factor stay while the columns are quantized; then copies of the weight: the correction in steps, the columns.
    private const int MatricesToQuantize = 3;
    private const int WeightsToQuantize = 6;

    // Residual streams, attention heads and MLP activations of a batch that are alive at the same time in a layer's forward pass; an MLP is computed by parts.
    private const int HiddenInBatch = 6;
    private const int HeadsInBatch = 4;
    private const int MlpInBatch = 2;
    private const int MlpInPart = 3;

    // Of the size of a layer, for learned rounding: positions with their means and squares, the rounded weights and their gradients; and for each processor the
    // gradients of a window. What a backward pass keeps of a forward pass is twice what that pass needs.
    private const int LayersToLearn = 5;
    private const int BatchesToLearn = 3;

    /// <summary>Bytes that are needed wherever activations are kept.</summary>
    public long Fixed => Largest.Weights + Largest.Work + Runtime;

    /// <summary>Bytes of activations that may be in memory.</summary>
    public long ActivationBudget => Math.Max(0, Limit - Fixed);

    /// <summary>Bytes of activations that go to disk.</summary>
    public long OnDisk => Math.Max(0, Activations - ActivationBudget);

    /// <summary>The most bytes of memory.</summary>
    public long Total => Fixed + Activations - OnDisk;

    /// <summary>Reckons.</summary>
    /// <param name="plan">How each linear is quantized.</param>
    /// <param name="texts">What goes through the layers.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="limit">Bytes that the worker may use.</param>
    public static MemoryEstimate Of(QuantizationPlan plan, Texts texts, torch.Device device, long limit)
    {
        DecoderConfig config = plan.Config;
        long table = Bytes(config.Embedding);
        long layer = Enumerable.Range(0, config.Layers).Max(index => config.Linears(index).Sum(Bytes) + (2L * config.HiddenSize * sizeof(float)));
        bool streams = texts.Calibration is not null || texts.Evaluation is not null;
        // Both are loaded to be looked up in, or to be quantized, and the quantized one beside them.
        MemoryStep embedding = new("the embedding", streams || plan[config.Embedding] is not null ? table * (plan[config.Embedding] is null ? 1 : 2) : 0, 0);
        MemoryStep head = new("the head", texts.Evaluation is not null || plan[config.Head] is not null ? table * (plan[config.Head] is null ? 1 : 2) : 0, SecondOrder(plan, [config.Head]));
        bool learns = Enumerable.Range(0, config.Layers).SelectMany(config.Linears).Any(linear => plan[linear]?.Method == QuantizationMethod.AutoRound);
        MemoryStep layers = new("a decoder layer", 2 * layer, SecondOrder(plan, config.Linears(0)) + (learns ? (LayersToLearn + Environment.ProcessorCount) * layer : 0));
        if (device.type != DeviceType.CPU)
        {
            head = new(head.Name, table, 0);
            layers = new(layers.Name, layer, 0);
        }
        else if (streams)
        {
            head = head with { Work = head.Work + Logits(texts) };
            layers = layers with { Work = layers.Work + (Batches(config, texts) * (learns ? BatchesToLearn : 1)) };
        }

        return new MemoryEstimate(new[] { embedding, layers, head }.MaxBy(step => step.Weights + step.Work)!, ActivationsOf(plan, texts), limit);
    }

    /// <summary>Throws where the limit is too low.</summary>
    /// <param name="declared">Whether <c>MaxMemory</c> says the limit, or the machine does.</param>
    /// <exception cref="QuantBuildException">QB1008.</exception>
    public void Check(bool declared)
    {
        if (Fixed <= Limit) return;
        string limit = declared ? $"{MemoryLimit.Name} allows {MemoryLimit.Text(Limit)}" : $"this machine has {MemoryLimit.Text(Limit)} free";
        string most = Largest.Weights > Largest.Work ? "" : " Fewer processors need fewer batches at once: set the environment variable DOTNET_PROCESSOR_COUNT to a smaller number.";
        throw new QuantBuildException(
            DiagnosticIds.MemoryTooLittle,
            $"Quantizing this model needs at least {MemoryLimit.Text(Fixed)} of memory, and {limit}. {MemoryLimit.Text(Largest.Weights)} are for the weights of {Largest.Name}, " +
            $"{MemoryLimit.Text(Largest.Work)} to work on them, {MemoryLimit.Text(Runtime)} for torch; activations, {MemoryLimit.Text(Activations)} here, can go to disk. " +
            $"{(declared ? $"Set {MemoryLimit.Name} to {MemoryLimit.Text(Fixed)} or more" : $"End other programs; or set {MemoryLimit.Name} to {MemoryLimit.Text(Fixed)}, to try it all the same")}, " +
            $"or quantize on a machine with more memory.{most}");
    }

    /// <summary>The estimate as a line.</summary>
    public override string ToString() =>
        $"memory: about {MemoryLimit.Text(Total)} at most: {MemoryLimit.Text(Largest.Weights)} for the weights of {Largest.Name}, {MemoryLimit.Text(Largest.Work)} to work on them, " +
        $"activations {MemoryLimit.Text(Activations)} ({MemoryLimit.Text(OnDisk)} on disk), {MemoryLimit.Text(Runtime)} for torch; {MemoryLimit.Name} {MemoryLimit.Text(Limit)}";

    private static long Bytes(LinearShape linear) => (long)linear.Outputs * linear.Inputs * sizeof(float);

    /// <summary>What it takes to calibrate the largest of some linears.</summary>
    private static long SecondOrder(QuantizationPlan plan, IEnumerable<LinearShape> linears) => linears
        .Where(linear => plan[linear] is { } spec && QuantizationSpec.IsCalibrated(spec.Method))
        .Select(linear =>
        {
            long matrix = (long)linear.Inputs * linear.Inputs * sizeof(float);
            // All Hessians of a layer at once, where it is calibrated in one pass.
            long others = plan.Spec.TrueSequential ? 0 : 3 * matrix;
            return others + Math.Max(MatricesToFactor * matrix, (MatricesToQuantize * matrix) + (WeightsToQuantize * Bytes(linear)));
        })
        .DefaultIfEmpty()
        .Max();

    /// <summary>Batches that go through a layer side by side.</summary>
    private static long Batches(DecoderConfig config, Texts texts)
    {
        long tokens = BatchTokens(texts);
        long hidden = tokens * ((HiddenInBatch * (long)config.HiddenSize) + ((long)HeadsInBatch * config.Heads * config.HeadDim));
        long mlp = ((MlpInBatch * tokens) + (MlpInPart * Math.Min(tokens, DecoderForward.TokensAtOnce))) * config.IntermediateSize;
        return Environment.ProcessorCount * (hidden + mlp) * sizeof(float);
    }

    // Float and quantized logits, and their distributions in float64 a part at a time.
    private static long Logits(Texts texts) => texts.Evaluation is null ? 0 : Environment.ProcessorCount * 4 * Evaluation.LogitsAtOnce * sizeof(float);

    private static long BatchTokens(Texts texts) => Math.Max(HiddenStates.BatchTokens, Math.Max(texts.Calibration?.Length ?? 0, texts.Evaluation?.Length ?? 0));

    private static long ActivationsOf(QuantizationPlan plan, Texts texts)
    {
        DecoderConfig config = plan.Config;
        long Tokens(TokenWindows? windows) => windows?.Tokens.Length ?? 0;
        int calibrated = plan.ComparesStreams ? 2 : 1;
        // The attention outputs of the calibration text are kept while o is quantized.
        long contexts = plan.Spec.TrueSequential ? (long)config.Heads * config.HeadDim : 0;
        long values = (Tokens(texts.Calibration) * calibrated * (config.HiddenSize + contexts))
            + (((2 * Tokens(texts.Evaluation)) + Tokens(texts.Sample)) * config.HiddenSize);
        return values * sizeof(float);
    }
}

/// <summary>A step of a run, and the bytes that it needs.</summary>
/// <param name="Name">What it works on.</param>
/// <param name="Weights">Its float weights, and the quantized ones beside them.</param>
/// <param name="Work">Hessians and their factors, batches, logits.</param>
internal sealed record MemoryStep(string Name, long Weights, long Work);
