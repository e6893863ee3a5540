using QuantBuild.Cuda.Driver;
using QuantBuild.Kernels;

namespace QuantBuild.Cuda.Decoding;

/// <summary>The input of the next linears, in the form in which they read it.</summary>
internal sealed unsafe class RoundedInput
{
    /// <summary>Threads of a block of the kernels that round.</summary>
    public const int Threads = 256;

    // A segment has at least 16 inputs.
    private const int LeastSegment = 16;

    private readonly KernelLibrary kernels;
    private readonly IReadOnlyDictionary<IntPtr, IntPtr> orders;
    private readonly IntPtr bytes;
    private readonly IntPtr segments;
    private readonly IntPtr floats;
    private readonly IntPtr outliers;
    private readonly IntPtr places;
    private readonly IntPtr values;

    /// <param name="kernels">The kernels.</param>
    /// <param name="arena">Where memory is from.</param>
    /// <param name="tokens">Most tokens.</param>
    /// <param name="width">Most inputs.</param>
    /// <param name="hasOutliers">Whether some linear has activations that are not rounded.</param>
    /// <param name="orders">For each order of columns in the artifact's memory, its copy on the device.</param>
    public RoundedInput(KernelLibrary kernels, DeviceArena arena, int tokens, int width, bool hasOutliers, IReadOnlyDictionary<IntPtr, IntPtr> orders)
    {
        (this.kernels, this.orders) = (kernels, orders);
        long numbers = (long)tokens * PackedTiles.PaddedInputs(width);
        bytes = arena.Take(numbers);
        // Of each its scale and its sum.
        segments = arena.Take(numbers / LeastSegment * (sizeof(float) + sizeof(int)));
        floats = arena.Take(numbers * sizeof(float));
        if (!hasOutliers) return;
        outliers = arena.Take(tokens * sizeof(int));
        places = arena.Take(numbers * sizeof(int));
        values = arena.Take(numbers * sizeof(float));
    }

    /// <summary>Bytes that an input takes.</summary>
    public static long BytesFor(int tokens, int width, bool hasOutliers)
    {
        long numbers = (long)tokens * PackedTiles.PaddedInputs(width);
        return numbers + (numbers / 2) + (numbers * 4) + (hasOutliers ? numbers * 8 : 0);
    }

    /// <summary>Queues the rounding of numbers.</summary>
    /// <param name="x">[tokens, inputs].</param>
    /// <param name="inputs">Their width.</param>
    /// <param name="tokens">How many.</param>
    /// <param name="layout">What the linears ask for.</param>
    public void Round(IntPtr x, int inputs, int tokens, InputLayout layout)
    {
        RoundedParameters target = Target(inputs, layout);
        void** parameters = stackalloc void*[] { &x, &inputs, &target };
        kernels.Launch("decoder", "round_tokens", (target.Outliers == 0 ? Blocks(inputs, target.SegmentInputs) : 1, tokens, 1), Threads, parameters);
    }

    /// <summary>How many stripes a token's inputs are, each of which a warp rounds: whole segments (decoder.cu).</summary>
    public static int Stripes(int inputs, int segmentInputs)
    {
        int stripe = segmentInputs == 96 ? 96 : 128;
        return (PackedTiles.PaddedInputs(inputs) + stripe - 1) / stripe;
    }

    /// <summary>Blocks that round them.</summary>
    public static int Blocks(int inputs, int segmentInputs) => (Stripes(inputs, segmentInputs) + (Threads / 32) - 1) / (Threads / 32);

    /// <summary>Where a kernel puts what it rounds.</summary>
    public RoundedParameters Target(int inputs, InputLayout layout)
    {
        InputForm form = layout.Form;
        int stride = PackedTiles.PaddedInputs(inputs);
        bool rounds = form.SegmentInputs > 0, limits = rounds && form.Outliers > 0;
        return new RoundedParameters
        {
            Bytes = rounds ? bytes : 0,
            Segments = segments,
            Floats = floats,
            Outliers = limits ? outliers : 0,
            Places = places,
            Values = values,
            Order = form.Order == 0 ? 0 : orders[form.Order],
            Threshold = form.Outliers,
            Inputs = inputs,
            Stride = stride,
            SegmentCount = rounds ? (stride + form.SegmentInputs - 1) / form.SegmentInputs : 0,
            SegmentInputs = form.SegmentInputs,
            Interleaved = layout.Interleaved ? 1 : 0,
        };
    }

    /// <summary>What the kernels of linears read.</summary>
    public InputParameters Of(int inputs, int tokens, InputLayout layout)
    {
        RoundedParameters target = Target(inputs, layout);
        return new InputParameters
        {
            Bytes = bytes,
            Segments = segments,
            Floats = floats,
            Outliers = target.Outliers,
            Places = places,
            Values = values,
            Tokens = tokens,
            Stride = target.Stride,
            SegmentCount = target.SegmentCount,
            SegmentHalves = layout.Form.SegmentInputs / LeastSegment,
        };
    }

    /// <summary>What a number is multiplied by, and shifted by 32 bits, to be divided: 0 for 1.</summary>
    public static uint Reciprocal(int divisor) => divisor == 1 ? 0 : (uint)(((1UL << 32) + (uint)divisor - 1) / (uint)divisor);
}

/// <summary>What linears ask of their input.</summary>
/// <param name="Form">As on the processor.</param>
/// <param name="Interleaved">Whether of eight bytes the first four and the last four lie in turn, as the kernel of codebooks reads them.</param>
internal readonly record struct InputLayout(InputForm Form, bool Interleaved);
