using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>How much host memory a run needs, reckoned before it begins: whoever has too little hears of it at once, and not after hours.</summary>
/// <remarks>
/// On a GPU, weights, matrices and batches are in its own memory, which is not reckoned here: what remains on the host is a copy on its way, and the activations.
/// </remarks>
/// <param name="Largest">The step that needs most.</param>
/// <param name="Activations">Bytes of all residual streams, and of the attention outputs that are kept beside one of them.</param>
/// <param name="Limit">Bytes that the worker may use.</param>
internal sealed record MemoryEstimate(MemoryStep Largest, long Activations, long Limit)
{
    /// <summary>Bytes for the runtimes of .NET and torch, with their libraries, and for what is small.</summary>
    public const long Runtime = 500_000_000;

    // Copies of a weight while GPTQ quantizes it: what is aimed at, the columns; then the dequantized one.
    private const int WeightsToQuantize = 3;

    // Two more where all groups are chosen before the first column: the weight in its own order, on the host.
    private const int WeightsToFitGroups = 2;

    // Copies of a weight while AWQ tries scales: scaled and rounded; of two that read the same input, another.
    private const int WeightsToScale = 3;

    // Of a batch in a layer's forward pass: its residual streams, and what is made of a part of it at a time, by attention for each key head and by the MLP for few tokens.
    private const int HiddenInBatch = 3;
    private const int QueriesInPart = 5;
    private const int HiddenInPart = 5;
    private const int MlpInPart = 2;

    // The same where gradients are to be computed, and nothing can be freed on the way.
    private const int HiddenToLearn = 6;
    private const int HeadsToLearn = 4;
    private const int MlpToLearn = 5;

    // Of the size of a layer, for learned rounding: positions with their means and squares, the rounded weights and their gradients; and for each processor the
    // gradients of a window. What a backward pass keeps of a forward pass is twice what that pass needs.
    private const int LayersToLearn = 5;
    private const int BatchesToLearn = 3;
    private const int WeightsToLearn = 3;

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
        long layer = LargestLayer(config);
        bool streams = texts.Calibration is not null || texts.Evaluation is not null;
        // Both are loaded to be looked up in, or to be quantized, and the quantized one beside them.
        MemoryStep embedding = new("the embedding", streams || plan[config.Embedding] is not null ? table * (plan[config.Embedding] is null ? 1 : 2) : 0, 0);
        MemoryStep head = new("the head", texts.Evaluation is not null || plan[config.Head] is not null ? table * (plan[config.Head] is null ? 1 : 2) : 0, ToQuantizeHead(plan));
        bool learns = Learns(plan);
        MemoryStep layers = new("a decoder layer", 2 * layer, 0);
        if (device.type != DeviceType.CPU)
        {
            head = new(head.Name, table, 0);
            // The next layer is read while this one is worked on.
            layers = new(layers.Name, 2 * layer, learns ? LayersToLearn * layer : 0);
        }
        else if (streams)
        {
            head = head with { Work = head.Work + Logits(texts) };
            layers = Steps(plan, Pace.On(device, texts)).MaxBy(step => step.Weights + step.Work)!;
            long learning = ((LayersToLearn + Environment.ProcessorCount) * layer) + (BatchesToLearn * BatchesToTrain(config, Pace.On(device, texts)));
            if (learns) layers = layers with { Work = layers.Work + learning };
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

    /// <summary>Bytes of the float weights of the largest layer.</summary>
    internal static long LargestLayer(DecoderConfig config) => Enumerable.Range(0, config.Layers).Max(index => LayerBytes(config, index));

    private static long LayerBytes(DecoderConfig config, int index) => config.Linears(index).Sum(Bytes) + (2L * config.HiddenSize * sizeof(float));

    /// <summary>Bytes of a linear's float weight.</summary>
    internal static long Bytes(LinearShape linear) => (long)linear.Outputs * linear.Inputs * sizeof(float);

    /// <summary>Whether roundings of decoder layers are learned.</summary>
    internal static bool Learns(QuantizationPlan plan) =>
        Enumerable.Range(0, plan.Config.Layers).SelectMany(plan.Config.Linears).Any(linear => plan[linear]?.Method == QuantizationMethod.AutoRound);

    /// <summary>Bytes beside the head's float weight and the quantized one while it is quantized.</summary>
    internal static long ToQuantizeHead(QuantizationPlan plan) => plan[plan.Config.Head] is { } how && QuantizationSpec.IsCalibrated(how.Method)
        ? Matrix(plan.Config.Head.Inputs) + (WeightsToQuantize * Bytes(plan.Config.Head)) : 0;

    /// <summary>Learned rounding on a GPU: the trained weights, their gradients, and those of one window. What they are trained from is on the host.</summary>
    internal static MemoryStep LearnsOnGpu(QuantizationPlan plan, Pace pace, long layer) =>
        new("a decoder layer", layer, (WeightsToLearn * layer) + (BatchesToLearn * BatchesToTrain(plan.Config, pace with { Batch = pace.Window })));

    private static long Matrix(long width) => width * width * sizeof(float);

    /// <summary>What layers go through, one after the other: one with experts, where there are any, and one without.</summary>
    /// <param name="plan">How each linear is quantized.</param>
    /// <param name="pace">How much goes through at once.</param>
    internal static IEnumerable<MemoryStep> Steps(QuantizationPlan plan, Pace pace) =>
        Enumerable.Range(0, plan.Config.Layers).GroupBy(plan.Config.HasExperts).SelectMany(alike => Steps(plan, pace, alike.First()));

    private static IEnumerable<MemoryStep> Steps(QuantizationPlan plan, Pace pace, int index)
    {
        DecoderConfig config = plan.Config;
        long layer = LayerBytes(config, index);
        IReadOnlyList<LinearShape> linears = config.Linears(index);
        LinearShape[] shapes = LinearRoles.Shapes(config, index);
        // The widest of its MLPs: they are worked on one after the other.
        int widest = config.Mlps(index).Select((mlp, i) => (mlp.Width, Place: i)).MaxBy(mlp => mlp.Width).Place;
        LinearShape up = shapes[(int)LinearRole.Up.Of(widest)], last = shapes[(int)LinearRole.Down.Of(widest)];
        (long width, long attention, long intermediate) = (config.HiddenSize, (long)config.Heads * config.HeadDim, last.Inputs);
        // The integers of what is quantized are kept, a byte each.
        long values = linears.Where(linear => plan[linear] is not null).Sum(Bytes) / sizeof(float);
        bool calibrates = linears.Any(linear => plan[linear] is { } spec && QuantizationSpec.IsCalibrated(spec.Method));
        bool scales = linears.Any(linear => plan[linear] is { Method: QuantizationMethod.Awq });
        MemoryStep Step(long floats, long work) => new("a decoder layer", floats + values, work);

        // Where AWQ changes weights for one stream, the other keeps its own.
        yield return Step(layer * (scales && plan.ComparesStreams ? 2 : 1), Batches(config, pace));
        // What needs nothing but its weight is packed and dequantized beside it.
        yield return Step(layer, WeightsToQuantize * linears.Max(Bytes));
        if (!calibrates) yield break;

        long parts = pace.AtOnce * PartOfTokens(config, pace);
        long copies = WeightsToQuantize + (plan.Spec.StaticGroups || linears.Any(linear => plan[linear]?.Method == QuantizationMethod.AutoRound) ? WeightsToFitGroups : 0);
        long down = Matrix(intermediate) + (plan.ComparesStreams ? Bytes(last) : 0);
        if (scales)
        {
            long search = Math.Max(parts, WeightsToScale * linears.Max(Bytes));
            yield return Step(layer, Matrix(attention) + Matrix(intermediate) + Math.Max(Batches(config, pace) + parts, search));
            yield return Step(layer, (WeightsToScale * Bytes(up)) + (pace.Batch * (width + (3 * intermediate)) * sizeof(float)));
        }

        if (!plan.Spec.TrueSequential)
        {
            long matrices = (2 * Matrix(width)) + Matrix(attention) + Matrix(intermediate);
            yield return Step(layer, matrices + Math.Max(Batches(config, pace) + parts, copies * linears.Max(Bytes)));
            yield break;
        }

        // Of what attention has, only what is not quantized stays while the MLP is; and while it comes down, of the MLP too.
        long Kept(IEnumerable<LinearShape> some) => some.Where(linear => plan[linear] is null).Sum(Bytes);
        LinearShape[] before = [.. linears.Take((int)LinearRole.Gate)], mlp = [.. linears.Skip((int)LinearRole.Gate)];
        yield return Step(layer, (2 * Math.Max(Matrix(width), Matrix(attention))) + Math.Max(parts, copies * before.Max(Bytes)));
        yield return Step(mlp.Sum(Bytes) + Kept(before), (2 * Matrix(width)) + Math.Max(parts, copies * Bytes(up)));
        yield return Step(mlp.Sum(Bytes) + Kept(before), down + parts);
        yield return Step(Bytes(last) + Kept(linears), down + (copies * Bytes(last)));
    }

    /// <summary>Batches that go through a layer side by side.</summary>
    private static long Batches(DecoderConfig config, Pace pace)
    {
        long tokens = pace.Batch, heads = (long)config.Heads * config.HeadDim, shared = (long)config.KvHeads * config.HeadDim;
        long attention = tokens * (heads + (2 * shared) + (QueriesInPart * heads / config.KvHeads)) * sizeof(float);
        return pace.AtOnce * ((tokens * HiddenInBatch * config.HiddenSize * sizeof(float)) + Math.Max(attention, PartOfTokens(config, pace)));
    }

    /// <summary>Few tokens on their way to the MLP's last linear, with what a correction compares.</summary>
    private static long PartOfTokens(DecoderConfig config, Pace pace) =>
        pace.Part * (((long)HiddenInPart * config.HiddenSize) + ((long)MlpInPart * config.MlpWidths.Max())) * sizeof(float);

    /// <summary>The same where learned rounding takes them back again.</summary>
    private static long BatchesToTrain(DecoderConfig config, Pace pace) =>
        pace.AtOnce * pace.Batch * sizeof(float)
        * (((long)HiddenToLearn * config.HiddenSize) + ((long)HeadsToLearn * config.Heads * config.HeadDim) + ((long)MlpToLearn * config.MlpWidths.Max()));

    // Float and quantized logits, and their distributions in float64 a part at a time.
    private static long Logits(Texts texts) => texts.Evaluation is null ? 0 : Environment.ProcessorCount * 4 * Evaluation.LogitsAtOnce * sizeof(float);

    private static long ActivationsOf(QuantizationPlan plan, Texts texts)
    {
        DecoderConfig config = plan.Config;
        long Tokens(TokenWindows? windows) => windows?.Tokens.Length ?? 0;
        // Learned rounding begins at the layer's input again.
        int calibrated = 1 + (plan.ComparesStreams ? 1 : 0) + (plan.Quantized.Any(linear => plan[linear]!.Method == QuantizationMethod.AutoRound) ? 1 : 0);
        // The attention outputs of the calibration text behind the quantized layers are kept while o is quantized.
        long contexts = plan.Spec.TrueSequential ? (long)config.Heads * config.HeadDim : 0;
        // Where the MLP reads what attention reads, the residual stream before attention is kept beside the one after it; where experts are calibrated in one pass, so is that after it.
        int between = config.ParallelResidual ? 2 : 1, mixed = config.Experts > 0 && !plan.Spec.TrueSequential ? 1 : 0;
        long values = (Tokens(texts.Calibration) * ((((calibrated * between) + mixed) * config.HiddenSize) + contexts))
            + (((2 * Tokens(texts.Evaluation)) + Tokens(texts.Sample)) * config.HiddenSize);
        return values * sizeof(float);
    }
}

/// <summary>A step of a run, and the bytes that it needs.</summary>
/// <param name="Name">What it works on.</param>
/// <param name="Weights">Its float weights, and the quantized ones beside them.</param>
/// <param name="Work">Hessians and their factors, batches, logits.</param>
internal sealed record MemoryStep(string Name, long Weights, long Work);

/// <summary>How much goes through a layer at once.</summary>
/// <param name="AtOnce">Batches side by side.</param>
/// <param name="Batch">Tokens of a batch.</param>
/// <param name="Part">Tokens of a part, on their way through what sees each token alone.</param>
/// <param name="Window">Tokens of the longest window.</param>
internal readonly record struct Pace(long AtOnce, long Batch, long Part, long Window)
{
    /// <summary>That of a device.</summary>
    public static Pace On(torch.Device device, Texts texts) =>
        new(OrderedSteps.AtOnce(device), Math.Max(DeviceMemory.TokensOfBatch(device), LongestWindow(texts)), DeviceMemory.TokensOfPart(device), LongestWindow(texts));

    /// <summary>The least that there can be: one window, whose tokens go one after the other.</summary>
    public static Pace Least(Texts texts) => new(1, Math.Max(1, LongestWindow(texts)), 1, LongestWindow(texts));

    private static int LongestWindow(Texts texts) => Math.Max(texts.Calibration?.Length ?? 0, texts.Evaluation?.Length ?? 0);
}
