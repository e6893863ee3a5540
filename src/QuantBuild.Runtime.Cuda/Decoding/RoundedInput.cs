using QuantBuild.Cuda.Driver;
using QuantBuild.Kernels;

namespace QuantBuild.Cuda.Decoding;

/// <summary>The input of the next linears, in the form in which they read it.</summary>
internal sealed unsafe class RoundedInput
{
    /// <summary>Threads of a block of the kernels that round.</summary>
    public const int Threads = 256;

    /// <summary>Inputs that a segment has at least.</summary>
    public const int LeastSegment = 16;

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
    /// <param name="rows">Most rows.</param>
    /// <param name="numbers">Most numbers, rows padded.</param>
    /// <param name="hasOutliers">Whether some linear has activations that are not rounded.</param>
    /// <param name="orders">For each order of columns in the artifact's memory, its copy on the device.</param>
    public RoundedInput(KernelLibrary kernels, DeviceArena arena, int rows, long numbers, bool hasOutliers, IReadOnlyDictionary<IntPtr, IntPtr> orders)
    {
        (this.kernels, this.orders) = (kernels, orders);
        bytes = arena.Take(numbers);
        // Of each its scale and its sum.
        segments = arena.Take(numbers / LeastSegment * (sizeof(float) + sizeof(int)));
        floats = arena.Take(numbers * sizeof(float));
        if (!hasOutliers) return;
        outliers = arena.Take(rows * sizeof(int));
        places = arena.Take(numbers * sizeof(int));
        values = arena.Take(numbers * sizeof(float));
    }

    /// <summary>Bytes that an input takes.</summary>
    public static long BytesFor(int rows, long numbers, bool hasOutliers) => numbers + (numbers / 2) + (numbers * 4) + (hasOutliers ? (numbers * 8) + (rows * sizeof(int)) : 0);

    /// <summary>Queues the rounding of numbers.</summary>
    /// <param name="x">[rows, inputs]; [tokens, inputs] where they are gathered.</param>
    /// <param name="rows">How many are rounded.</param>
    /// <param name="group">The linears that read them.</param>
    /// <param name="slots">What is in the rows, of experts; else 0.</param>
    /// <param name="gathers">Whether each row is that of its slot's token.</param>
    public void Round(IntPtr x, int rows, LinearGroup group, IntPtr slots, bool gathers)
    {
        RoundedParameters target = Target(group, slots);
        int inputs = group.Inputs, gathering = gathers ? 1 : 0;
        void** parameters = stackalloc void*[] { &x, &inputs, &gathering, &target };
        kernels.Launch("decoder", "round_tokens", (target.Outliers == 0 ? Blocks(inputs, target.SegmentInputs) : 1, rows, 1), Threads, parameters);
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
    /// <param name="group">The linears that read it.</param>
    /// <param name="slots">What is in the rows, of experts; else 0.</param>
    public RoundedParameters Target(LinearGroup group, IntPtr slots = 0)
    {
        (InputForm form, bool interleaved) = group.Layout;
        int stride = PackedTiles.PaddedInputs(group.Inputs);
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
            Slots = slots,
            Orders = group.Orders,
            Threshold = form.Outliers,
            Inputs = group.Inputs,
            Stride = stride,
            SegmentCount = rounds ? (stride + form.SegmentInputs - 1) / form.SegmentInputs : 0,
            SegmentInputs = form.SegmentInputs,
            Interleaved = interleaved ? 1 : 0,
        };
    }

    /// <summary>What the kernels of linears read.</summary>
    /// <param name="group">The linears.</param>
    /// <param name="tokens">How many; of runs, how many each has at most.</param>
    /// <param name="runs">The runs of experts; else 0.</param>
    public InputParameters Of(LinearGroup group, int tokens, IntPtr runs)
    {
        RoundedParameters target = Target(group);
        return new InputParameters
        {
            Bytes = bytes,
            Segments = segments,
            Floats = floats,
            Outliers = target.Outliers,
            Places = places,
            Values = values,
            Runs = runs,
            Tokens = tokens,
            Stride = target.Stride,
            SegmentCount = target.SegmentCount,
            SegmentHalves = group.SegmentHalves,
        };
    }

    /// <summary>What a number is multiplied by, and shifted by 32 bits, to be divided: 0 for 1.</summary>
    public static uint Reciprocal(int divisor) => divisor == 1 ? 0 : (uint)(((1UL << 32) + (uint)divisor - 1) / (uint)divisor);
}

/// <summary>What linears ask of their input.</summary>
/// <param name="Form">As on the processor.</param>
/// <param name="Interleaved">Whether of eight bytes the first four and the last four lie in turn, as the kernel of codebooks reads them.</param>
internal readonly record struct InputLayout(InputForm Form, bool Interleaved);
