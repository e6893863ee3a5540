using System.Runtime.InteropServices;
using QuantBuild.Cuda.Driver;
using QuantBuild.Kernels;

namespace QuantBuild.Cuda.Decoding;

/// <summary>Linears that are computed one after the other from one input: those that read it in one form, and are packed alike, together.</summary>
/// <param name="kernels">The kernels.</param>
/// <param name="groups">Consecutive linears that one kernel computes.</param>
internal sealed unsafe class DeviceLinears(KernelLibrary kernels, IReadOnlyList<LinearGroup> groups)
{
    // From so many tokens on, tensor cores are faster than a product for each.
    private const int LeastMatrixTokens = 9;

    private const int VectorThreads = 256;
    private const int MatrixThreads = 128;
    private const int MatrixRows = 128;
    private const int MatrixTokens = 64;

    /// <summary>The form in which the first of them read their input.</summary>
    public InputForm FirstForm => groups[0].Form;

    /// <summary>Whether the first of them read the input as it is.</summary>
    public bool FirstIsFloat => groups[0].Float is not null;

    /// <summary>Queues the products.</summary>
    /// <param name="x">[tokens, inputs], the floats.</param>
    /// <param name="tokens">How many.</param>
    /// <param name="input">Where the input is rounded to.</param>
    /// <param name="isRounded">Whether it is in <paramref name="input"/> in the form of the first ones already.</param>
    public void Multiply(IntPtr x, int tokens, RoundedInput input, bool isRounded)
    {
        InputForm? current = isRounded ? FirstForm : null;
        foreach (LinearGroup group in groups)
        {
            if (group.Float is { } number)
            {
                Multiply(group, number with { X = x, Tokens = tokens });
                continue;
            }

            if (current != group.Form)
            {
                input.Round(x, group.Inputs, tokens, group.Form);
                current = group.Form;
            }

            Multiply(group, input.Of(group.Inputs, tokens, group.Form));
        }
    }

    private void Multiply(LinearGroup group, InputParameters input)
    {
        IntPtr linears = group.Linears;
        int count = group.Count;
        void** parameters = stackalloc void*[] { &linears, &count, &input };
        if (group.Form.SegmentInputs == 0)
        {
            int together = input.Tokens == 1 ? 1 : 4;
            kernels.Launch("linear-" + group.Format, $"multiply_float{together}", (group.Tiles, (input.Tokens + together - 1) / together, 1), VectorThreads, parameters);
        }
        else if (input.Tokens < LeastMatrixTokens)
        {
            int together = input.Tokens <= 2 ? input.Tokens : input.Tokens <= 4 ? 4 : 8;
            kernels.Launch("linear-" + group.Format, Together(together), (group.Tiles, 1, 1), VectorThreads, parameters);
        }
        else
        {
            kernels.Launch(
                kernels.Newest("matrix-" + group.Format), "multiply_matrix", (group.MatrixBlocks, (input.Tokens + MatrixTokens - 1) / MatrixTokens, 1), MatrixThreads, parameters);
        }
    }

    private void Multiply(LinearGroup group, FloatLinearParameters linear)
    {
        const int rows = VectorThreads / 32, many = 8;
        int together = linear.Tokens == 1 ? 1 : many;
        void** parameters = stackalloc void*[] { &linear };
        kernels.Launch("floats", $"multiply_{group.Format}_{together}", ((linear.Outputs + rows - 1) / rows, (linear.Tokens + together - 1) / together, 1), VectorThreads, parameters);
    }

    // No text is made for each launch.
    private static string Together(int tokens) => tokens switch { 1 => "multiply1", 2 => "multiply2", 4 => "multiply4", _ => "multiply8" };

    /// <summary>Blocks of the matrix kernel for a weight.</summary>
    public static int MatrixBlocksOf(int outputs) => (outputs + MatrixRows - 1) / MatrixRows;
}

/// <summary>Linears that one kernel computes.</summary>
internal sealed record LinearGroup
{
    /// <summary>How they are packed, as files of kernels are named; the type of their numbers where they are not packed.</summary>
    public required string Format { get; init; }

    public required InputForm Form { get; init; }

    public required int Inputs { get; init; }

    /// <summary>Their <see cref="LinearParameters"/>, in memory of the device.</summary>
    public IntPtr Linears { get; init; }

    public int Count { get; init; }

    /// <summary>Tiles of all of them.</summary>
    public int Tiles { get; init; }

    public int MatrixBlocks { get; init; }

    /// <summary>The one linear, where its weights are numbers.</summary>
    public FloatLinearParameters? Float { get; init; }
}
