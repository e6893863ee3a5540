using QuantBuild.Cuda.Driver;
using QuantBuild.Kernels;

namespace QuantBuild.Cuda.Decoding;

/// <summary>Linears that are computed one after the other from one input: those that read it in one form, and are packed alike, together.</summary>
/// <param name="kernels">The kernels.</param>
/// <param name="groups">Consecutive linears that one kernel computes.</param>
internal sealed unsafe class DeviceLinears(KernelLibrary kernels, IReadOnlyList<LinearGroup> groups)
{
    // One token more than the kernel for few takes.
    private const int LeastMatrixTokens = 9;

    private const int VectorThreads = 256;

    // Of experts, where weights are numbers, or activations are read as they are.
    private const int MostRunTokens = 64;

    /// <summary>Rows of a block of the kernels for numbers.</summary>
    public const int FloatRows = VectorThreads / 32;

    // And tokens, where there are several.
    private const int FloatTokens = 8;

    /// <summary>The first of them that are computed together.</summary>
    public LinearGroup First => groups[0];

    /// <summary>Whether they are computed together.</summary>
    public bool AreOne => groups.Count == 1;

    /// <summary>Queues the products.</summary>
    /// <param name="x">[tokens, inputs], the floats.</param>
    /// <param name="tokens">How many.</param>
    /// <param name="input">Where the input is rounded to.</param>
    /// <param name="isRounded">Whether it is in <paramref name="input"/> in the form of the first ones already.</param>
    public void Multiply(IntPtr x, int tokens, RoundedInput input, bool isRounded)
    {
        LinearGroup? current = isRounded ? First : null;
        foreach (LinearGroup group in groups)
        {
            if (group.Float is { } number)
            {
                Multiply(group, number with { X = x, Tokens = tokens });
                continue;
            }

            if (current?.Layout != group.Layout) input.Round(x, tokens, group, slots: 0, gathers: false);
            current = group;
            Multiply(group, input.Of(group, tokens, runs: 0), 1);
        }
    }

    /// <summary>Queues the products of experts.</summary>
    /// <param name="x">[tokens, inputs], or [slots, inputs].</param>
    /// <param name="gathers">Whether it is the tokens'.</param>
    /// <param name="runs">What each expert computes.</param>
    /// <param name="input">Where the input is rounded to.</param>
    /// <param name="isRounded">Whether it is in <paramref name="input"/> in the form of the first ones already.</param>
    public void Multiply(IntPtr x, bool gathers, ExpertRuns runs, RoundedInput input, bool isRounded)
    {
        LinearGroup? current = isRounded ? First : null;
        foreach (LinearGroup group in groups)
        {
            // Numbers are read as they are, unless they are to be gathered first.
            bool reads = group.Float is not null && !gathers;
            if (!reads && (current?.Layout != group.Layout || current.Orders != group.Orders))
            {
                input.Round(x, runs.SlotCount, group, runs.Slots, gathers);
                current = group;
            }

            InputParameters rounded = input.Of(group, runs.RunTokens, runs.Runs);
            if (group.Float is null) Multiply(group, rounded, runs.RunCount);
            else MultiplyRuns(group, reads ? x : rounded.Floats, reads ? group.Inputs : rounded.Stride, runs);
        }
    }

    /// <summary>As many slots as a run of experts should have, where each has so many.</summary>
    public int RunTokens(int slots) => slots < LeastMatrixTokens
        ? LeastMatrixTokens - 1
        : groups.Min(group => group.Layout.Form.SegmentInputs == 0 ? MostRunTokens : MatrixDivision.Choose(group, slots, group.SegmentHalves, kernels.Device).Tokens);

    private void MultiplyRuns(LinearGroup group, IntPtr x, int stride, ExpertRuns runs)
    {
        IntPtr linears = group.Linears, its = runs.Runs;
        void** parameters = stackalloc void*[] { &linears, &x, &stride, &its };
        kernels.Launch("floats", group.RunsKernel, (group.Tiles, (runs.RunTokens + FloatTokens - 1) / FloatTokens, runs.RunCount), VectorThreads, parameters);
    }

    private void Multiply(LinearGroup group, InputParameters input, int runs)
    {
        IntPtr linears = group.Linears;
        int count = group.Count;
        void** parameters = stackalloc void*[] { &linears, &count, &input };
        if (group.Layout.Form.SegmentInputs == 0)
        {
            int together = input.Tokens == 1 ? 1 : 4;
            kernels.Launch(group.VectorModule, together == 1 ? "multiply_float1" : "multiply_float4", (group.Tiles, (input.Tokens + together - 1) / together, runs), VectorThreads, parameters);
        }
        else if (input.Tokens < LeastMatrixTokens)
        {
            // The usual segments have kernels of their own.
            string kernel = group.Layout.Form.SegmentInputs switch { 128 => "multiply_128", 64 => "multiply_64", _ => "multiply" };
            kernels.Launch(group.VectorModule, kernel, (group.VectorBlocks, 1, runs), VectorThreads, parameters);
        }
        else
        {
            MatrixDivision division = input.Runs == 0
                ? MatrixDivision.Choose(group, input.Tokens, input.SegmentHalves, kernels.Device)
                : MatrixDivision.OfRuns(group, input.Tokens, runs, input.SegmentHalves, kernels.Device);
            kernels.Launch(group.MatrixModule, division.Kernel, division.Grid, division.Threads, division.SharedBytes, parameters);
            if (input.Outliers != 0) kernels.Launch(group.VectorModule, "add_outliers", (group.OutlierBlocks, input.Tokens, runs), VectorThreads, parameters);
        }
    }

    private void Multiply(LinearGroup group, FloatLinearParameters linear)
    {
        int together = linear.Tokens == 1 ? 1 : FloatTokens;
        void** parameters = stackalloc void*[] { &linear };
        kernels.Launch("floats", together == 1 ? group.OneKernel : group.ManyKernel, (group.Tiles, (linear.Tokens + together - 1) / together, 1), VectorThreads, parameters);
    }
}

/// <summary>Linears that one kernel computes.</summary>
internal sealed record LinearGroup
{
    public required InputLayout Layout { get; init; }

    public required int Inputs { get; init; }

    /// <summary>Their <see cref="LinearParameters"/>, in memory of the device; of experts those of all, one expert after the other, or their <see cref="FloatLinearParameters"/>.</summary>
    public IntPtr Linears { get; init; }

    /// <summary>How many; of experts, how many each has.</summary>
    public int Count { get; init; }

    /// <summary>Of experts, where each has its order of columns, in memory of the device; 0 where all are in order.</summary>
    public IntPtr Orders { get; init; }

    /// <summary>Half chunks of a segment of their input.</summary>
    public int SegmentHalves => Layout.Form.SegmentInputs / RoundedInput.LeastSegment;

    /// <summary>Blocks of the kernel for few tokens, 16 rows each.</summary>
    public int VectorBlocks { get; init; }

    /// <summary>Blocks of the kernel for floats, 8 rows each.</summary>
    public int Tiles { get; init; }

    /// <summary>Bits of a weight.</summary>
    public int Bits { get; init; }

    /// <summary>Whether weights are entries of a codebook.</summary>
    public bool IsCodebook { get; init; }

    /// <summary>Blocks of the kernels for many tokens, where each has 64 rows.</summary>
    public int MatrixBlocks64 { get; init; }

    /// <summary>Likewise of 128 rows.</summary>
    public int MatrixBlocks128 { get; init; }

    /// <summary>Blocks of the kernel for outliers, 256 rows each.</summary>
    public int OutlierBlocks { get; init; }

    public string VectorModule { get; init; } = "";

    public string MatrixModule { get; init; } = "";

    /// <summary>The one linear, where its weights are numbers.</summary>
    public FloatLinearParameters? Float { get; init; }

    /// <summary>The kernel for it and one token.</summary>
    public string OneKernel { get; init; } = "";

    /// <summary>The kernel for it and several tokens.</summary>
    public string ManyKernel { get; init; } = "";

    /// <summary>The kernel for experts.</summary>
    public string RunsKernel { get; init; } = "";
}
