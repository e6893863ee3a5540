using System.Numerics.Tensors;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// NF4 and FP4 as bitsandbytes has them, to the bit: each block of the flattened weight is divided by its absolute maximum, and each weight
/// goes to an entry of the table. Its CUDA kernels' rules: <c>x * (1 / absmax)</c> in float32; a value equal to the middle of two entries goes to the lower.
/// </summary>
/// <remarks>
/// One thing is defined more exactly here than there: the mean of the absolute maxima is summed in float64, where theirs depends on the order in which a GPU adds.
/// </remarks>
public static class BlockCodebook
{
    // The middles of the entries of FP4 by magnitude, and the entries' indices. The kernel has these decimals, two of them short of the exact middle.
    private static readonly float[] Fp4Middles = [0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f, 0.4166667f, 0.583333f, 0.8333333f];
    private static readonly byte[] Fp4Ascending = [0, 1, 6, 7, 4, 5, 2, 3];
    private const byte Fp4Sign = 8;

    private static readonly float[] Nf4Middles = Middles(Codebook4.Values(Codebook.Nf4));

    /// <summary>Quantizes a weight.</summary>
    /// <param name="weight">float32 [N, K] on any device; not changed.</param>
    /// <param name="format">Table, block size, and whether to quantize the absolute maxima.</param>
    public static unsafe CodebookLinear Quantize(torch.Tensor weight, Codebook4Format format)
    {
        ArgumentNullException.ThrowIfNull(format);
        using DisposeScope scope = torch.NewDisposeScope();
        (int outputs, int inputs) = ((int)weight.shape[0], (int)weight.shape[1]);
        byte[] values = new byte[(long)outputs * inputs];
        float[] absmax = new float[Codebook4.Blocks(outputs, inputs, format.BlockSize)];
        torch.Tensor host = weight.cpu().contiguous();
        fixed (byte* bytes = host.bytes)
        {
            float* first = (float*)bytes;
            Parallel.For(0, absmax.Length, block =>
            {
                int start = block * format.BlockSize;
                int length = Math.Min(format.BlockSize, values.Length - start);
                absmax[block] = QuantizeBlock(new ReadOnlySpan<float>(first + start, length), values.AsSpan(start, length), format.Codebook);
            });
        }

        CodebookLinear linear = new(outputs, inputs, format, format.DoubleQuantized ? QuantizeAbsmax(absmax) : new BlockAbsmax(absmax));
        values.CopyTo(linear.Values, 0);
        return linear;
    }

    /// <summary>The index of a value of [-1, 1] in NF4.</summary>
    internal static byte Nf4Index(float x) => CountBelow(Nf4Middles, x);

    /// <summary>The index of a value of [-1, 1] in FP4: the sign of a negative number stays also where its magnitude becomes 0.</summary>
    internal static byte Fp4Index(float x) => (byte)(Fp4Ascending[CountBelow(Fp4Middles, MathF.Abs(x))] + (x < 0 ? Fp4Sign : 0));

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
        for (int i = 0; i < block.Length; i++)
        {
            float x = block[i] * inverse;
            values[i] = codebook == Codebook.Nf4 ? Nf4Index(x) : Fp4Index(x);
        }

        return absmax;
    }

    private static byte CountBelow(ReadOnlySpan<float> middles, float x)
    {
        int count = 0;
        foreach (float middle in middles) count += x > middle ? 1 : 0;
        return (byte)count;
    }

    private static float[] Middles(ReadOnlySpan<float> ascending)
    {
        float[] middles = new float[ascending.Length - 1];
        for (int i = 0; i < middles.Length; i++) middles[i] = (float)(((double)ascending[i] + ascending[i + 1]) / 2);
        return middles;
    }
}
