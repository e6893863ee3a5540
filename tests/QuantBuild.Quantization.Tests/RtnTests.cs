using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class RtnTests
{
    public RtnTests() => NativeLibraries.Load();

    [Theory]
    [InlineData(2, false, 16)]
    [InlineData(3, false, 32)]
    [InlineData(4, false, QuantizationSpec.PerChannel)]
    [InlineData(8, false, 32)]
    [InlineData(2, true, 32)]
    [InlineData(3, true, QuantizationSpec.PerChannel)]
    [InlineData(4, true, 16)]
    [InlineData(8, true, 48)]
    public void It_chooses_the_integers_of_scalar_rounding_in_float64(int bits, bool symmetric, int groupSize)
    {
        double[,] weight = RandomData.Weight(new Random(9), 50, 96);
        ReferenceQuantizers.Result expected = new ReferenceQuantizers(bits, symmetric, groupSize < 0 ? 96 : groupSize).Rtn(weight);
        using torch.Tensor tensor = RandomData.Tensor(weight);
        GptqTests.AssertSame(expected, Rtn.Quantize(tensor, new QuantizationSpec { Bits = bits, Symmetric = symmetric, GroupSize = groupSize }));
    }

    // The bound of a grid that spans the whole range: half a step of a group's range, and float16's rounding of the scale. The search for the best
    // grid may give single weights up for the many, so the bound holds for the mean square, not for each.
    [Theory]
    [InlineData(2, false)]
    [InlineData(3, false)]
    [InlineData(4, false)]
    [InlineData(8, false)]
    [InlineData(2, true)]
    [InlineData(3, true)]
    [InlineData(4, true)]
    [InlineData(8, true)]
    public void Dequantizing_gives_the_weights_back_within_half_a_step(int bits, bool symmetric)
    {
        const int groupSize = 32;
        double[,] weight = RandomData.Weight(new Random(10), 40, 96);
        using torch.Tensor tensor = RandomData.Tensor(weight);
        using torch.Tensor result = Rtn.Quantize(tensor, new QuantizationSpec { Bits = bits, Symmetric = symmetric, GroupSize = groupSize }).Dequantize(torch.CPU);
        float[] actual = result.data<float>().ToArray();
        for (int row = 0; row < 40; row++)
        {
            for (int start = 0; start < 96; start += groupSize)
            {
                double[] group = [.. Enumerable.Range(start, groupSize).Select(k => weight[row, k])];
                double low = Math.Min(0, group.Min()), high = Math.Max(0, group.Max());
                double range = symmetric ? 2 * Math.Max(-low, high) : high - low;
                double bound = range / ((1 << bits) - 1) * (symmetric ? 1.0 : 0.5) * 1.001;
                double meanSquare = Enumerable.Range(start, groupSize).Average(k => Math.Pow(weight[row, k] - actual[(row * 96) + k], 2));
                Assert.InRange(Math.Sqrt(meanSquare), 0, bound);
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Weights_on_a_grid_come_back_exactly(bool symmetric)
    {
        // Every group of 16 has all 16 values of a 4-bit grid with a power of two as its scale.
        float[] values = [.. Enumerable.Range(0, 32 * 32).Select(i => ((i * 7 % 16) - 8) * 0.125f)];
        using torch.Tensor tensor = torch.tensor(values).view(32, 32);
        using torch.Tensor result = Rtn.Quantize(tensor, new QuantizationSpec { Bits = 4, GroupSize = 16, Symmetric = symmetric }).Dequantize(torch.CPU);
        float[] actual = result.data<float>().ToArray();
        if (!symmetric) Assert.Equal(values, actual);
        else Assert.All(values.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 0.07f));
    }

    [Fact]
    public void A_group_of_zeros_and_a_group_of_huge_or_tiny_weights_stay_finite_and_in_range()
    {
        float[] values = [.. Enumerable.Repeat(0f, 16), .. Enumerable.Range(0, 16).Select(i => i * 1e-10f), .. Enumerable.Range(0, 16).Select(i => i * 1e6f)];
        using torch.Tensor tensor = torch.tensor(values).view(1, 48);
        AffineLinear linear = Rtn.Quantize(tensor, new QuantizationSpec { Bits = 4, GroupSize = 16 });
        Assert.All(linear.Scales, scale => Assert.True(Half.IsFinite(scale) && scale > (Half)0));
        using torch.Tensor result = linear.Dequantize(torch.CPU);
        Assert.Equal(Enumerable.Repeat(0f, 16), result.data<float>().ToArray()[..16]);
    }
}
