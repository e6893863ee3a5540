using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class BlockCodebookTests
{
    private static readonly double[] Nf4 =
    [
        -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
    ];

    private static readonly double[] Fp4 = [0, 0.0625, 8, 12, 4, 6, 2, 3, -0.0, -0.0625, -8, -12, -4, -6, -2, -3];

    public BlockCodebookTests() => NativeLibraries.Load();

    [Fact]
    public void The_tables_are_those_of_bitsandbytes()
    {
        Assert.Equal(Nf4.Select(v => (float)v), Codebook4.Values(Codebook.Nf4).ToArray());
        Assert.Equal(
            Fp4.Select(v => BitConverter.SingleToInt32Bits((float)(v / 12))), Codebook4.Values(Codebook.Fp4).ToArray().Select(BitConverter.SingleToInt32Bits));
    }

    // The kernel's own decision tree, in its decimals.
    [Theory]
    [InlineData(-0.8480964004993439f, 0)]
    [InlineData(-0.6106329262256622f, 1)]
    [InlineData(-0.4599952697753906f, 2)]
    [InlineData(-0.33967943489551544f, 3)]
    [InlineData(-0.23460740596055984f, 4)]
    [InlineData(-0.13791173323988914f, 5)]
    [InlineData(-0.045525018125772476f, 6)]
    [InlineData(0.03979014977812767f, 7)]
    [InlineData(0.1202552504837513f, 8)]
    [InlineData(0.2035212516784668f, 9)]
    [InlineData(0.2920137718319893f, 10)]
    [InlineData(0.3893125355243683f, 11)]
    [InlineData(0.5016634166240692f, 12)]
    [InlineData(0.6427869200706482f, 13)]
    [InlineData(0.8614784181118011f, 14)]
    public void A_middle_of_NF4_goes_low_and_the_next_number_high(float middle, byte low)
    {
        Assert.Equal((Nf4[low] + Nf4[low + 1]) / 2, middle, 1e-7);
        Assert.Equal(low, BlockCodebook.Nf4Index(middle));
        Assert.Equal(low + 1, BlockCodebook.Nf4Index(MathF.BitIncrement(middle)));
    }

    [Theory]
    [InlineData(0.00260417f, 0, 1)]
    [InlineData(0.0859375f, 1, 6)]
    [InlineData(0.20833333f, 6, 7)]
    [InlineData(0.29166667f, 7, 4)]
    [InlineData(0.4166667f, 4, 5)]
    [InlineData(0.583333f, 5, 2)]
    [InlineData(0.8333333f, 2, 3)]
    public void A_middle_of_FP4_goes_to_the_smaller_magnitude(float middle, byte low, byte high)
    {
        Assert.Equal(low, BlockCodebook.Fp4Index(middle));
        Assert.Equal(high, BlockCodebook.Fp4Index(MathF.BitIncrement(middle)));
        Assert.Equal(low + 8, BlockCodebook.Fp4Index(-middle));
        Assert.Equal(high + 8, BlockCodebook.Fp4Index(-MathF.BitIncrement(middle)));
        // The kernel's decimals are the middles, nearly.
        Assert.Equal((Fp4[low] + Fp4[high]) / 24, middle, 1e-6);
    }

    [Fact]
    public void A_block_worked_out_by_hand()
    {
        // absmax 2, a power of two: dividing by it is exact. NF4: 2 -> 15; -2 -> 0; 0 -> 7; 1 = 0.5 of 2, below the middle 0.50166 -> 12;
        // -0.5 = -0.25, below -0.2346 -> 4; 0.16 = 0.08 -> 8.
        float[] block = new float[32];
        float[] first = [2, -2, 0, 1, -0.5f, 0.16f];
        first.CopyTo(block, 0);
        CodebookLinear nf4 = Quantize(block, 1, 32, new Codebook4Format(Codebook.Nf4, 32, false));
        Assert.Equal(new byte[] { 15, 0, 7, 12, 4, 8, 7, 7 }, nf4.Values[..8]);
        Assert.Equal([2f], nf4.Absmax.Values);
        Assert.Equal([2f, -2f, 0f, 2 * 0.44070982933044434f, 2 * -0.28444138169288635f, 2 * 0.07958029955625534f], Dequantized(nf4)[..6]);
        // FP4 over 12: 2 -> 12 is 3; -2 -> 11; 1 = 6/12 -> 5; -0.5 = -3/12 -> 15; 0.16 = 0.96/12, nearer to 0.0625 (middle 1.03) -> 1.
        CodebookLinear fp4 = Quantize(block, 1, 32, new Codebook4Format(Codebook.Fp4, 32, false));
        Assert.Equal(new byte[] { 3, 11, 0, 5, 15, 1, 0, 0 }, fp4.Values[..8]);
    }

    [Fact]
    public void A_block_of_zeros_has_index_0_and_comes_back_as_zeros()
    {
        foreach (Codebook codebook in Enum.GetValues<Codebook>())
        {
            CodebookLinear linear = Quantize(new float[64], 2, 32, new Codebook4Format(codebook, 32, true));
            Assert.All(linear.Values, value => Assert.Equal(0, value));
            Assert.All(Dequantized(linear), value => Assert.Equal(0, value));
        }
    }

    // Rows of 50 do not end where blocks do, and the last block is short.
    [Theory]
    [InlineData(Codebook.Nf4, 32)]
    [InlineData(Codebook.Nf4, 64)]
    [InlineData(Codebook.Fp4, 32)]
    [InlineData(Codebook.Fp4, 4096)]
    public void Blocks_run_over_the_flattened_weight_as_a_straight_line_float64_implementation_has_them(Codebook codebook, int blockSize)
    {
        const int rows = 37, columns = 50;
        double[,] weight = RandomData.Weight(new Random(4), rows, columns);
        double[] flat = [.. weight.Cast<double>()], table = codebook == Codebook.Nf4 ? Nf4 : [.. Fp4.Select(v => v / 12)];
        CodebookLinear linear = Quantize([.. flat.Select(v => (float)v)], rows, columns, new Codebook4Format(codebook, blockSize, false));
        Assert.Equal((flat.Length + blockSize - 1) / blockSize, linear.Absmax.Values.Length);
        float[] actual = Dequantized(linear);
        for (int i = 0; i < flat.Length; i++)
        {
            int start = i / blockSize * blockSize;
            double absmax = flat[start..Math.Min(flat.Length, start + blockSize)].Max(Math.Abs);
            Assert.Equal((float)absmax, linear.Absmax.Values[i / blockSize]);
            int nearest = Enumerable.Range(0, 16).MinBy(q => Math.Abs((table[q] * absmax) - flat[i]));
            double chosen = table[linear.Values[i]] * absmax;
            // Float32 may fall on the other side of a middle: then both are as near, nearly.
            Assert.Equal(Math.Abs((table[nearest] * absmax) - flat[i]), Math.Abs(chosen - flat[i]), 1e-6 * absmax);
            Assert.Equal(chosen, actual[i], 1e-6 * absmax);
        }
    }

    [Fact]
    public void The_dynamic_map_is_that_of_bitsandbytes_computed_by_torch()
    {
        List<float> expected = [0, 1];
        for (int i = 0; i < 7; i++)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor boundaries = torch.linspace(0.1, 1, (1 << i) + 1, torch.float32);
            torch.Tensor means = boundaries.narrow(0, 0, 1 << i).add(boundaries.narrow(0, 1, 1 << i)) / torch.tensor(new[] { 2f });
            float[] scaled = (means * torch.tensor(new[] { (float)Math.Pow(10, i - 6) })).data<float>().ToArray();
            expected.AddRange(scaled);
            expected.AddRange(scaled.Select(v => -v));
        }

        Assert.Equal(256, expected.Count);
        // Without fused multiplication, torch itself gives another last bit here and there.
        if (System.Runtime.Intrinsics.X86.Fma.IsSupported) Assert.Equal(expected.Order(), Codebook4.DynamicMap.ToArray());
        Assert.All(expected.Order().Zip(Codebook4.DynamicMap.ToArray()), pair => Assert.Equal(pair.First, pair.Second, 1e-7f));
        // By hand: the smallest is 1e-6 times the middle of [0.1, 1], the largest but one the last of 64 middles.
        Assert.Equal(0.55e-6f, Codebook4.DynamicMap[128], 1e-12f);
        Assert.Equal(0.9929688f, Codebook4.DynamicMap[254], 1e-6f);
        Assert.Equal(-0.9929688f, Codebook4.DynamicMap[0], 1e-6f);
    }

    [Fact]
    public void An_index_of_the_dynamic_map_is_what_the_kernels_binary_search_finds_at_every_entry_and_middle()
    {
        float[] map = Codebook4.DynamicMap.ToArray();
        List<float> probes = [-2, -1, 1, 1.0000001f, 2, float.NaN];
        for (int i = 0; i < 255; i++)
        {
            float middle = (map[i] + map[i + 1]) * 0.5f;
            probes.AddRange([map[i], middle, MathF.BitIncrement(middle), MathF.BitDecrement(middle)]);
        }

        Assert.All(probes, x => Assert.Equal(BinarySearch(map, x), BlockCodebook.DynamicIndex(x)));
    }

    [Theory]
    [InlineData(Codebook.Nf4)]
    [InlineData(Codebook.Fp4)]
    public void Vectors_choose_as_one_number_at_a_time_does(Codebook codebook)
    {
        float[] x = [.. RandomData.Normal(new Random(8), 4096 + 13), -0f, 1e-30f, -1e-30f];
        CodebookLinear linear = Quantize(x, 1, x.Length, new Codebook4Format(codebook, 4096, false));
        for (int i = 0; i < x.Length; i++)
        {
            float scaled = x[i] * (1f / linear.Absmax.Values[i / 4096]);
            Assert.Equal(codebook == Codebook.Nf4 ? BlockCodebook.Nf4Index(scaled) : BlockCodebook.Fp4Index(scaled), linear.Values[i]);
        }
    }

    [Fact]
    public void Double_quantization_worked_out_by_hand()
    {
        // The mean is 3; what is left is -1, 1, 0, 0; the largest magnitude 1. 1 is the map's last entry, 0 its 127th, and -1 goes to the first, -0.9929688.
        BlockAbsmax absmax = BlockCodebook.QuantizeAbsmax([2, 4, 3, 3]);
        Assert.Equal(3, absmax.Offset);
        Assert.Equal([1f], absmax.Nested!);
        Assert.Equal(new byte[] { 0, 255, 127, 127 }, absmax.Codes!);
        Assert.Equal([3 + Codebook4.DynamicMap[0], 4f, 3f, 3f], absmax.Values);
    }

    [Fact]
    public void Double_quantization_has_blocks_of_256_and_one_offset()
    {
        Random random = new(5);
        float[] values = [.. Enumerable.Range(0, 600).Select(i => (float)(1 + random.NextDouble() + (i < 256 ? 5 : 0)))];
        BlockAbsmax absmax = BlockCodebook.QuantizeAbsmax(values);
        double offset = (float)values.Average(v => (double)v);
        Assert.Equal((float)offset, absmax.Offset);
        Assert.Equal(3, absmax.Nested!.Length);
        for (int i = 0; i < values.Length; i++)
        {
            double largest = values.Skip(i / 256 * 256).Take(256).Max(v => Math.Abs(v - offset));
            Assert.Equal(largest, absmax.Nested[i / 256], 1e-6);
            double nearest = Codebook4.DynamicMap.ToArray().Min(entry => Math.Abs((entry * largest) + offset - values[i]));
            Assert.Equal(nearest, Math.Abs(absmax.Values[i] - values[i]), 1e-5);
        }
    }

    /// <summary>The search of bitsandbytes' kernel, step by step.</summary>
    private static byte BinarySearch(float[] code, float x)
    {
        int pivot = 127, upperPivot = 255, lowerPivot = 0;
        for (int i = 64; i > 0; i >>= 1)
        {
            if (x > code[pivot])
            {
                lowerPivot = pivot;
                pivot += i;
            }
            else
            {
                upperPivot = pivot;
                pivot -= i;
            }
        }

        if (x > code[pivot]) return (byte)(x > (code[upperPivot] + code[pivot]) * 0.5f ? upperPivot : pivot);
        return (byte)(x < (code[lowerPivot] + code[pivot]) * 0.5f ? lowerPivot : pivot);
    }

    private static CodebookLinear Quantize(float[] weight, int rows, int columns, Codebook4Format format)
    {
        using torch.Tensor tensor = torch.tensor(weight).view(rows, columns);
        return BlockCodebook.Quantize(tensor, format);
    }

    private static float[] Dequantized(QuantizedLinear linear)
    {
        using torch.Tensor weight = linear.Dequantize(torch.CPU);
        return weight.data<float>().ToArray();
    }
}
