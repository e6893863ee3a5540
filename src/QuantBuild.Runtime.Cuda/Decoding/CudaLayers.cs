using System.Numerics;
using QuantBuild.Cuda.Driver;
using QuantBuild.Decoding;
using QuantBuild.Kernels;

namespace QuantBuild.Cuda.Decoding;

/// <summary>
/// The forward pass of a decoder's first layers on a GPU, and of its last norm and head where all layers are there. It computes what <see cref="Decoder"/> does, activations rounded alike: sums of
/// integers are equal, and sums of floats differ by their order.
/// </summary>
internal sealed unsafe class CudaLayers : IDeviceLayers
{
    /// <summary>The widest residual stream that the kernels take.</summary>
    public const int WidestHidden = 16384;

    private const int Threads = 256;

    // Of a block that has a token, and of a thread in it.
    private const int MostWarps = 32;
    private const int MostStripes = 4;

    // Of a block that has a row of logits.
    private const int RowThreads = 1024;

    // Steps of so many tokens are captured once, and repeated.
    private const int MostCapturedTokens = 8;

    private readonly CudaDevice device;
    private readonly KernelLibrary kernels;
    private readonly DecoderConfig config;
    private readonly KvPrecision precision;
    private readonly DeviceWeights weights;
    private readonly DeviceActivations activations;
    private readonly StepInput step;
    private readonly DeviceAttention attention;
    private readonly DeviceLayer[] layers;
    private readonly NormParameters finalNorm;
    private readonly DeviceLinears? projection;
    private readonly DeviceLinears? head;
    private readonly DeviceLists? lists;
    private readonly Dictionary<(int Tokens, int Parts), IntPtr> graphs = [];
    private int tokens;

    // Whether a pass failed before it waited for what it had queued.
    private bool isUnfinished;
    private bool disposed;

    /// <param name="device">The GPU; disposed with this.</param>
    /// <param name="artifact">The model.</param>
    /// <param name="options">How it is loaded.</param>
    /// <param name="plan">How many layers, and for how many tokens at a time.</param>
    /// <exception cref="QuantBuildException">QB1071: they do not fit. QB1072: the GPU failed.</exception>
    public CudaLayers(CudaDevice device, Artifact artifact, LoadOptions options, PlacementPlan plan)
    {
        (this.device, config, precision, Count, HasHead, LargestBatch) = (device, artifact.Config, options.KvCache, plan.Layers, plan.HasHead, plan.Tokens);
        kernels = new KernelLibrary(device);
        // Layouts of pages are those of the processor.
        using KvPages pages = new(config, precision);
        Memory = new DeviceMemory(device, pages.LayerBytes * Count);
        weights = new DeviceWeights(artifact, device, kernels, options.FloatActivations);
        DecoderWeights source = new(artifact);
        activations = new DeviceActivations(device, config, plan, artifact.Manifest.Layers.Values.Any(format => format is Int8RowOutlierFormat { OutlierThreshold: > 0 }), weights.Orders, kernels);
        step = new StepInput(device, config, options.ContextOf(config), LargestBatch);
        attention = new DeviceAttention(kernels, config, pages, activations, step, weights.Vector([.. config.AlibiSlopes.Select(slope => (float)slope)]));
        layers = [.. Enumerable.Range(0, Count).Select(layer => new DeviceLayer(config, layer, source.Layers[layer], weights, activations))];
        if (HasHead)
        {
            finalNorm = weights.Norm(source.FinalNorm);
            if (source.OutputProjection is { } projecting) projection = weights.Linears(new LinearSource(null, projecting, activations.Projected, config.EmbeddingSize));
            head = weights.Linears(new LinearSource(config.Head, source.Head, activations.Logits, config.VocabularySize));
            lists = new DeviceLists(device, kernels, config.VocabularySize);
        }

        weights.Dispose();
    }

    public int Count { get; }

    public bool HasHead { get; }

    public int LargestBatch { get; }

    public IPageMemory Memory { get; }

    public void Forward(IReadOnlyList<BatchRow> rows, Activations hidden, (RotaryEmbedding Most, RotaryEmbedding? Local) turns, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        device.Use();
        // Its copies may still read what is put together for the next one.
        if (isUnfinished) device.Synchronize();
        isUnfinished = true;
        tokens = rows.Count;
        int longest = step.Upload(rows, hidden, activations.Hidden, turns);
        int parts = attention.PartsFor(tokens, longest);
        if (tokens <= MostCapturedTokens && device.HasGraphs) Repeat(parts);
        else Queue(parts);
        if (HasHead) return;
        device.CopyFrom(hidden.Row(0), activations.Hidden, (long)tokens * config.HiddenSize * sizeof(float));
        device.Synchronize();
        isUnfinished = false;
        // On the device a row has no padding; here it has, of zeros.
        if (hidden.Stride == config.HiddenSize) return;
        for (int t = tokens - 1; t >= 0; t--)
        {
            new ReadOnlySpan<float>(hidden.Row(0) + ((long)t * config.HiddenSize), config.HiddenSize).CopyTo(hidden.Span(t));
            new Span<float>(hidden.Row(t) + config.HiddenSize, hidden.Stride - config.HiddenSize).Clear();
        }
    }

    public void Give(IReadOnlyList<BatchPart> parts)
    {
        device.Use();
        int vocabulary = config.VocabularySize, width = config.HiddenSize;
        List<WantedLogits> wanted = BatchPart.Wanted(parts, vocabulary);
        for (int done = 0; done < wanted.Count; done += DeviceActivations.LogitRows)
        {
            int count = Math.Min(DeviceActivations.LogitRows, wanted.Count - done);
            Gather(Last, step.UploadWanted(wanted.Skip(done).Take(count).Select(item => item.Row)), count, activations.Block);
            projection?.Multiply(activations.Block, count, activations.Input, isRounded: false);
            head!.Multiply(projection is null ? activations.Block : activations.Projected, count, activations.Input, isRounded: false);
            Cap((long)count * vocabulary);
            GiveRows(wanted.GetRange(done, count));
        }

        int first = 0;
        foreach (BatchPart part in parts)
        {
            if (!part.Hidden.IsEmpty)
            {
                using System.Buffers.MemoryHandle target = part.Hidden.Pin();
                device.CopyFrom(target.Pointer, Last + (nint)((long)first * width * sizeof(float)), (long)part.Hidden.Length * sizeof(float));
                device.Synchronize();
            }

            first += part.Tokens.Length;
        }

        // Nothing is wanted in the middle of a prompt; its errors, if any, should come here and not with the next one.
        if (wanted.Count == 0) device.Synchronize();
        isUnfinished = false;
    }

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        // Gives back all memory at once, that of pages included.
        device.Dispose();
    }

    // The residual stream behind the last layer and, where there is one, the last norm.
    private IntPtr Last => finalNorm.Weight == 0 ? activations.Hidden : activations.Normed;

    private void Repeat(int parts)
    {
        if (!graphs.TryGetValue((tokens, parts), out IntPtr graph))
        {
            // Kernels are loaded when they are first needed, which is nothing that can be captured.
            Queue(parts);
            graphs[(tokens, parts)] = device.Capture(() => Queue(parts));
            return;
        }

        device.Repeat(graph);
    }

    private void Queue(int parts)
    {
        // A pass that failed may have left something.
        pending = default;
        foreach (DeviceLayer layer in layers) Attention(layer, parts);
        Settle(HasHead ? finalNorm : default, activations.Normed, null);
    }

    private void Attention(DeviceLayer layer, int parts)
    {
        bool isRounded = Settle(layer.AttentionNorm, activations.Normed, layer.Projections);
        IntPtr normed = layer.AttentionNorm.Weight == 0 ? activations.Hidden : activations.Normed;
        layer.Projections.Multiply(normed, tokens, activations.Input, isRounded);
        IntPtr input = normed;
        if (config.ParallelResidual && !config.SharedNorm)
        {
            Norm(layer.MlpNorm, activations.Parallel);
            input = activations.Parallel;
        }

        attention.Remember(layer.Number, tokens, layer.QueryNorm, layer.KeyNorm);
        attention.Attend(layer.Number, layer.Sinks, tokens, parts);
        layer.Output.Multiply(activations.Attended, tokens, activations.Input, isRounded: false);
        if (!layer.AddsAttention) pending = (activations.Block, layer.AttentionPostNorm);
        isRounded = false;
        if (config.ParallelResidual)
        {
            // What the MLP reads is there already, and what it gives goes where this is.
            Settle(default, activations.Block, null);
        }
        else
        {
            isRounded = Settle(layer.MlpNorm, activations.Normed, layer.Router ?? layer.Mlp!.GateUp);
            input = layer.MlpNorm.Weight == 0 ? activations.Hidden : activations.Normed;
        }

        if (layer.Router is null)
        {
            Mlp(layer.Mlp!, input, isRounded);
            if (!layer.AddsMlp) pending = (activations.Block, layer.MlpPostNorm);
        }
        else
        {
            Experts(layer, input);
            pending = (activations.Mixed, layer.MlpPostNorm);
        }
    }

    // What was not added to the residual stream yet, and the norm that it goes through first.
    private (IntPtr Added, NormParameters Post) pending;

    /// <summary>Adds what is pending to the residual stream, and norms that.</summary>
    /// <returns>Whether it was rounded for the next linears.</returns>
    private bool Settle(NormParameters norm, IntPtr target, DeviceLinears? next)
    {
        (IntPtr added, NormParameters post) = pending;
        pending = default;
        int Stripes(int segmentInputs) => RoundedInput.Stripes(config.HiddenSize, segmentInputs);
        // Segments of 96 make more stripes of the widest streams than a block has room for: those are rounded by themselves.
        bool rounds = next is { First.Float: null } && Stripes(next.First.Layout.Form.SegmentInputs) <= MostWarps * MostStripes;
        if (!rounds && added == 0 && norm.Weight == 0) return false;
        IntPtr hidden = activations.Hidden;
        float scale = (float)config.ResidualScale;
        int width = config.HiddenSize, sums = config.SumNorms ? 1 : 0;
        RoundedParameters rounded = rounds ? activations.Input.Target(next!.First) : default;
        void** parameters = stackalloc void*[] { &hidden, &added, &post, &sums, &scale, &norm, &target, &width, &rounded };
        // A thread has four numbers of each of some stripes.
        int stripes = Stripes(rounded.SegmentInputs), each = (int)BitOperations.RoundUpToPowerOf2((uint)((stripes + MostWarps - 1) / MostWarps));
        kernels.Launch("decoder", $"norm_round_{each}", (tokens, 1, 1), (stripes + each - 1) / each * 32, parameters);
        return rounds;
    }

    private void Norm(NormParameters norm, IntPtr target) => Settle(norm, target, null);

    private void Mlp(DeviceMlp mlp, IntPtr input, bool isRounded)
    {
        mlp.GateUp.Multiply(input, tokens, activations.Input, isRounded);
        mlp.Down.Multiply(activations.Gate, tokens, activations.Input, Activate(mlp, tokens, slots: 0));
    }

    /// <summary>The activation between an MLP's linears.</summary>
    /// <returns>Whether it was rounded for down.</returns>
    private bool Activate(DeviceMlp mlp, int rows, IntPtr slots)
    {
        // Outliers are found in all of a token at once, which is another kernel's work.
        bool rounds = mlp.Down is { AreOne: true, First: { Float: null, Layout.Form.Outliers: 0 } };
        GateParameters gated = new() { Gate = activations.Gate, Up = config.GatedMlp ? activations.Up : 0, Limit = (float)(config.GateLimit ?? 0), Kind = (int)config.Activation, Width = mlp.Width };
        RoundedParameters rounded = rounds ? activations.Input.Target(mlp.Down.First, slots) : default;
        void** parameters = stackalloc void*[] { &gated, &rounded };
        kernels.Launch("decoder", "gate_round", (RoundedInput.Blocks(mlp.Width, rounded.SegmentInputs), rows, 1), RoundedInput.Threads, parameters);
        return rounds;
    }

    /// <summary>The experts that the router chooses for each token, all at once, and the MLP that sees every token beside them.</summary>
    private void Experts(DeviceLayer layer, IntPtr input)
    {
        layer.Router!.Multiply(input, tokens, activations.Input, isRounded: false);
        ExpertRuns runs = activations.Routing!.Route(activations.Scores, tokens, layer.Experts!);
        layer.Experts!.GateUp.Multiply(input, gathers: true, runs, activations.Input, isRounded: false);
        bool isRounded = Activate(layer.Experts, runs.SlotCount, runs.Slots);
        layer.Experts.Down.Multiply(activations.Gate, gathers: false, runs, activations.Input, isRounded);
        if (layer.Mlp is { } everyToken)
        {
            layer.SharedGate?.Multiply(input, tokens, activations.Input, isRounded: false);
            Mlp(everyToken, input, isRounded: false);
        }

        activations.Routing.Mix(activations.ExpertOutput, tokens, layer.Mlp is null ? 0 : activations.Block, layer.SharedGate is null ? 0 : activations.Scores, activations.Mixed);
    }

    private void Gather(IntPtr x, IntPtr rows, int count, IntPtr y)
    {
        int width = config.HiddenSize;
        void** parameters = stackalloc void*[] { &x, &rows, &y, &width };
        kernels.Launch("decoder", "gather", (count, 1, 1), Threads, parameters);
    }

    private void GiveRows(List<WantedLogits> wanted)
    {
        int vocabulary = config.VocabularySize;
        // What may fail comes before the first token is chosen.
        float* staged = wanted.Exists(item => item.Likeliest.IsEmpty) ? step.Logits(vocabulary) : null;
        void CopyRow(int i) => device.CopyFrom(staged + ((long)i * vocabulary), activations.Logits + (nint)((long)i * vocabulary * sizeof(float)), (long)vocabulary * sizeof(float));
        Span<int> listed = stackalloc int[wanted.Count];
        listed.Fill(-1);
        lists!.Clear();
        for (int i = 0; i < wanted.Count; i++)
        {
            if (!wanted[i].Likeliest.IsEmpty) continue;
            if (wanted[i].Choice?.Changes() is { } changes && lists.TryAdd(i, changes)) listed[i] = lists.Count - 1;
            else CopyRow(i);
        }

        lists.Queue(activations.Logits);
        if (wanted.Exists(item => !item.Likeliest.IsEmpty)) FindLikeliest(wanted.Count);
        device.Synchronize();
        bool isAnyLeft = false;
        for (int i = 0; i < wanted.Count; i++)
        {
            ITokenChoice? choice = wanted[i].Choice;
            Span<float> row = new(staged + ((long)i * vocabulary), staged is null ? 0 : vocabulary);
            if (!wanted[i].Likeliest.IsEmpty)
            {
                wanted[i].Likeliest.Span[0] = step.FoundStaged[i];
            }
            else if (choice is null)
            {
                row.CopyTo(wanted[i].Logits.Span);
            }
            else if (listed[i] < 0)
            {
                choice.Choose(row, isChanged: false);
            }
            else if (lists.TryRead(listed[i], out LargestLogits largest) && choice.TryChoose(largest))
            {
                listed[i] = -1;
            }
            else
            {
                CopyRow(i);
                isAnyLeft = true;
            }
        }

        if (!isAnyLeft) return;
        device.Synchronize();
        for (int i = 0; i < wanted.Count; i++)
        {
            if (listed[i] >= 0) wanted[i].Choice!.Choose(new Span<float>(staged + ((long)i * vocabulary), vocabulary), isChanged: true);
        }
    }

    private void FindLikeliest(int rows)
    {
        // A few bytes cross the bus in place of all logits.
        IntPtr logits = activations.Logits, found = step.Found;
        int width = config.VocabularySize;
        void** parameters = stackalloc void*[] { &logits, &found, &width };
        kernels.Launch("decoder", "largest", (rows, 1, 1), RowThreads, parameters);
        device.CopyFrom(step.FoundStaged, found, rows * sizeof(int));
    }

    private void Cap(long count)
    {
        IntPtr logits = activations.Logits;
        float scale = (float)config.LogitScale, cap = (float)(config.LogitCap ?? 0);
        if (scale == 1 && cap == 0) return;
        void** parameters = stackalloc void*[] { &logits, &scale, &cap, &count };
        kernels.Launch("decoder", "cap", ((int)Math.Min(1024, (count + Threads - 1) / Threads), 1, 1), Threads, parameters);
    }
}
