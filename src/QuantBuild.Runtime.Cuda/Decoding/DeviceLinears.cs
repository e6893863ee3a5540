using System.Runtime.InteropServices;
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

    /// <summary>The form in which the first of them read their input.</summary>
    public InputLayout FirstLayout => groups[0].Layout;

    /// <summary>Whether the first of them read the input as it is.</summary>
    public bool FirstIsFloat => groups[0].Float is not null;

    /// <summary>Queues the products.</summary>
    /// <param name="x">[tokens, inputs], the floats.</param>
    /// <param name="tokens">How many.</param>
    /// <param name="input">Where the input is rounded to.</param>
    /// <param name="isRounded">Whether it is in <paramref name="input"/> in the form of the first ones already.</param>
    public void Multiply(IntPtr x, int tokens, RoundedInput input, bool isRounded)
    {
        InputLayout? current = isRounded ? FirstLayout : null;
        foreach (LinearGroup group in groups)
        {
            if (group.Float is { } number)
            {
                Multiply(group, number with { X = x, Tokens = tokens });
                continue;
            }

            if (current != group.Layout)
            {
                input.Round(x, group.Inputs, tokens, group.Layout);
                current = group.Layout;
            }

            Multiply(group, input.Of(group.Inputs, tokens, group.Layout));
        }
    }

    private void Multiply(LinearGroup group, InputParameters input)
    {
        IntPtr linears = group.Linears;
        int count = group.Count;
        void** parameters = stackalloc void*[] { &linears, &count, &input };
        if (group.Layout.Form.SegmentInputs == 0)
        {
            int together = input.Tokens == 1 ? 1 : 4;
            kernels.Launch(group.VectorModule, together == 1 ? "multiply_float1" : "multiply_float4", (group.Tiles, (input.Tokens + together - 1) / together, 1), VectorThreads, parameters);
        }
        else if (input.Tokens < LeastMatrixTokens)
        {
            // The usual segments have kernels of their own.
            string kernel = group.Layout.Form.SegmentInputs switch { 128 => "multiply_128", 64 => "multiply_64", _ => "multiply" };
            kernels.Launch(group.VectorModule, kernel, (group.VectorBlocks, 1, 1), VectorThreads, parameters);
        }
        else
        {
            MatrixDivision division = MatrixDivision.Choose(group, input.Tokens, input.SegmentHalves, kernels.Device);
            kernels.Launch(group.MatrixModule, division.Kernel, division.Grid, division.Threads, division.SharedBytes, parameters);
            if (input.Outliers != 0) kernels.Launch(group.VectorModule, "add_outliers", (group.OutlierBlocks, input.Tokens, 1), VectorThreads, parameters);
        }
    }

    private void Multiply(LinearGroup group, FloatLinearParameters linear)
    {
        const int rows = VectorThreads / 32, many = 8;
        int together = linear.Tokens == 1 ? 1 : many;
        void** parameters = stackalloc void*[] { &linear };
        kernels.Launch("floats", together == 1 ? group.OneKernel : group.ManyKernel, ((linear.Outputs + rows - 1) / rows, (linear.Tokens + together - 1) / together, 1), VectorThreads, parameters);
    }
}

/// <summary>Linears that one kernel computes.</summary>
internal sealed record LinearGroup
{
    public required InputLayout Layout { get; init; }

    public required int Inputs { get; init; }

    /// <summary>Their <see cref="LinearParameters"/>, in memory of the device.</summary>
    public IntPtr Linears { get; init; }

    public int Count { get; init; }

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
}
