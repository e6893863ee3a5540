using System.Numerics;
using System.Numerics.Tensors;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// MXFP4 as its specification has it; and NF4 and FP4 as bitsandbytes has them, to the bit: each block of the flattened weight is divided by its absolute maximum, and each weight
/// goes to an entry of the table. Its CUDA kernels' rules: <c>x * (1 / absmax)</c> in float32; a value equal to the middle of two entries goes to the lower.
/// </summary>
/// <remarks>
/// One thing is defined more exactly here than there: the mean of the absolute maxima is summed in float64, where theirs depends on the order in which a GPU adds.
/// </remarks>
public static class BlockCodebook
{
    // The middles between neighbours in the kernels' own decimals, some of which are a rounding away from the exact middle. FP4's are of magnitudes, in the
    // order of the indices beside them.
    private static readonly float[] Nf4Middles =
    [
        -0.8480964004993439f, -0.6106329262256622f, -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f, -0.13791173323988914f,
        -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f, 0.2035212516784668f, 0.2920137718319893f, 0.3893125355243683f,
        0.5016634166240692f, 0.6427869200706482f, 0.8614784181118011f,
    ];

    private static readonly float[] Fp4Middles = [0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f, 0.4166667f, 0.583333f, 0.8333333f];
    private static readonly float[] Mxfp4Middles = [0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5f];
    private static readonly byte[] Fp4Ascending = [0, 1, 6, 7, 4, 5, 2, 3];
    private const byte Fp4Sign = 8;

    /// <summary>Quantizes a weight.</summary>
    /// <param name="weight">float32 [N, K] on any device; not changed.</param>
    /// <param name="format">Table, block size, and whether to quantize the absolute maxima.</param>
    public static unsafe CodebookLinear Quantize(torch.Tensor weight, Codebook4Format format)
    {
        ArgumentNullException.ThrowIfNull(format);
        using DisposeScope scope = torch.NewDisposeScope();
        (int outputs, int inputs) = ((int)weight.shape[0], (int)weight.shape[1]);
        byte[] values = new byte[(long)outputs * inputs];
        byte[] exponents = format.HasPowers ? new byte[Codebook4.Blocks(outputs, inputs, format.BlockSize)] : [];
        float[] absmax = new float[Codebook4.Blocks(outputs, inputs, format.BlockSize)];
        torch.Tensor host = weight.cpu().contiguous();
        fixed (byte* bytes = host.bytes)
        {
            float* first = (float*)bytes;
            Parallel.For(0, absmax.Length, block =>
            {
                int start = block * format.BlockSize;
                int length = Math.Min(format.BlockSize, values.Length - start);
                ReadOnlySpan<float> weights = new(first + start, length);
                if (format.HasPowers) exponents[block] = QuantizeByPower(weights, values.AsSpan(start, length));
                else absmax[block] = QuantizeBlock(weights, values.AsSpan(start, length), format.Codebook);
            });
        }

        CodebookLinear linear = new(outputs, inputs, format, format.HasPowers ? new BlockAbsmax(exponents) : format.DoubleQuantized ? QuantizeAbsmax(absmax) : new BlockAbsmax(absmax));
        values.CopyTo(linear.Values, 0);
        return linear;
    }

    /// <summary>The index of a value of [-1, 1] in NF4.</summary>
    internal static byte Nf4Index(float x) => (byte)CountBelow(Nf4Middles, x);

    /// <summary>The index of a value of [-1, 1] in FP4: the sign of a negative number stays also where its magnitude becomes 0.</summary>
    internal static byte Fp4Index(float x) => Fp4Value(CountBelow(Fp4Middles, MathF.Abs(x)), x);

    /// <summary>The index of a value of [-8, 8] in MXFP4, whose table is over 8: the nearest, of two the even one, and the largest beyond it (OCP Microscaling Formats, 5.3.3 and 6.3).</summary>
    internal static byte Mxfp4Index(float x)
    {
        float magnitude = MathF.Abs(x);
        int index = 0;
        for (int i = 0; i < Mxfp4Middles.Length; i++)
        {
            // Between i and i + 1: of two as near the even one.
            if (magnitude > Mxfp4Middles[i] || (magnitude == Mxfp4Middles[i] && i % 2 == 1)) index = i + 1;
        }

        return (byte)(index + (x < 0 ? Fp4Sign : 0));
    }

    /// <summary>Divides a block by the power of two that leaves its largest magnitude between 4 and 8.</summary>
    private static byte QuantizeByPower(ReadOnlySpan<float> block, Span<byte> values)
    {
        float absmax = MathF.Abs(TensorPrimitives.MaxMagnitude(block));
        int exponent = absmax == 0 ? 0 : Math.Clamp(MathF.ILogB(absmax) - 2, -127, Codebook4.LargestExponent - 127);
        for (int i = 0; i < block.Length; i++) values[i] = Mxfp4Index(MathF.ScaleB(block[i], -exponent));
        return (byte)(exponent + 127);
    }

    /// <summary>
    /// The index of a value of [-1, 1] in the dynamic map. The kernel's binary search ends at an even index and compares the value with the
    /// middle towards the odd neighbour on the value's side: a value equal to a middle goes to the even index, and what is not a number to index 0.
    /// </summary>
    internal static byte DynamicIndex(float x)
    {
        ReadOnlySpan<float> map = Codebook4.DynamicMap;
        int upper = map.BinarySearch(x);
        if (upper < 0) upper = ~upper;
        if (upper == 0) return 0;
        if (upper == map.Length) return (byte)(map.Length - 1);
        int lower = upper - 1;
        float middle = (map[lower] + map[upper]) * 0.5f;
        if (x == middle) return (byte)(lower % 2 == 0 ? lower : upper);
        return (byte)(x > middle ? upper : lower);
    }

    /// <summary>Quantizes absolute maxima: less their mean, in blocks of 256, to the dynamic map.</summary>
    internal static BlockAbsmax QuantizeAbsmax(float[] absmax)
    {
        float offset = (float)(absmax.Sum(value => (double)value) / absmax.Length);
        byte[] codes = new byte[absmax.Length];
        float[] nested = new float[(absmax.Length + Codebook4.NestedBlockSize - 1) / Codebook4.NestedBlockSize];
        float[] centred = [.. absmax.Select(value => value - offset)];
        for (int block = 0; block < nested.Length; block++)
        {
            int start = block * Codebook4.NestedBlockSize;
            int end = Math.Min(absmax.Length, start + Codebook4.NestedBlockSize);
            nested[block] = MathF.Abs(TensorPrimitives.MaxMagnitude(centred.AsSpan(start..end)));
            float inverse = 1f / nested[block];
            for (int i = start; i < end; i++) codes[i] = DynamicIndex(centred[i] * inverse);
        }

        return new BlockAbsmax(codes, nested, offset);
    }

    private static float QuantizeBlock(ReadOnlySpan<float> block, Span<byte> values, Codebook codebook)
    {
        float absmax = MathF.Abs(TensorPrimitives.MaxMagnitude(block));
        // Infinite for a block of zeros, and 0 times it not a number, which is above no middle: index 0, as in the kernel.
        float inverse = 1f / absmax;
        Span<int> counts = stackalloc int[Vector<float>.Count];
        float[] middles = codebook == Codebook.Nf4 ? Nf4Middles : Fp4Middles;
        int i = 0;
        for (; i <= block.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> x = new Vector<float>(block[i..]) * inverse;
            if (codebook == Codebook.Fp4) x = Vector.Abs(x);
            Vector<int> count = Vector<int>.Zero;
            // A comparison that holds is -1.
            foreach (float middle in middles) count -= Vector.GreaterThan(x, new Vector<float>(middle));
            count.CopyTo(counts);
            for (int lane = 0; lane < counts.Length; lane++)
            {
                values[i + lane] = codebook == Codebook.Nf4 ? (byte)counts[lane] : Fp4Value(counts[lane], block[i + lane] * inverse);
            }
        }

        for (; i < block.Length; i++)
        {
            float x = block[i] * inverse;
            values[i] = codebook == Codebook.Nf4 ? Nf4Index(x) : Fp4Index(x);
        }

        return absmax;
    }

    private static byte Fp4Value(int count, float x) => (byte)(Fp4Ascending[count] + (x < 0 ? Fp4Sign : 0));

    private static int CountBelow(ReadOnlySpan<float> middles, float x)
    {
        int count = 0;
        foreach (float middle in middles) count += x > middle ? 1 : 0;
        return count;
    }
}
