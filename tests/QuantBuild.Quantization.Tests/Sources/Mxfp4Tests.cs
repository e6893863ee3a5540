using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class Mxfp4Tests
{
    private static readonly Codebook4Format Format = new(Codebook.Mxfp4, 32, DoubleQuantized: false);

    public Mxfp4Tests() => NativeLibraries.Load();

    [Fact]
    public void Every_code_times_every_power_is_what_its_bits_say()
    {
        // A row for each exponent whose values are finite, of all pairs of codes.
        int rows = Codebook4.LargestExponent + 1;
        byte[] pairs = [.. Enumerable.Range(0, rows * 16).Select(i => (byte)((i % 16) | ((15 - (i % 16)) << 4)))];
        byte[] scales = [.. Enumerable.Range(0, rows).Select(i => (byte)i)];
        CodebookLinear linear = Read(pairs, scales, rows, 32);
        using torch.Tensor weight = linear.Dequantize(torch.CPU);
        float[] actual = weight.data<float>().ToArray();
        for (int i = 0; i < actual.Length; i++)
        {
            int code = i % 2 == 0 ? i % 32 / 2 : 15 - (i % 32 / 2);
            Assert.Equal((float)(E2M1(code) * Math.Pow(2, (i / 32) - 127)), actual[i]);
            Assert.True(float.IsFinite(actual[i]));
        }
    }

    [Theory]
    [InlineData(255)]
    [InlineData(252)]
    public void An_exponent_that_is_no_number_is_named(int exponent)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Read(new byte[32], [127, (byte)exponent], 1, 64));
        Assert.Equal(DiagnosticIds.TensorMismatch, error.Id);
        Assert.Contains($"w_scales has the exponent {exponent}", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(new long[] { 1, 2, 2, 15 }, new long[] { 1, 2, 2 })]
    [InlineData(new long[] { 1, 2, 2, 16 }, new long[] { 2, 2 })]
    [InlineData(new long[] { 2, 2, 2, 16 }, new long[] { 2, 2, 2 })]
    public void Blocks_and_scales_of_another_shape_are_named(long[] blocks, long[] scales)
    {
        Dictionary<string, CheckpointTensor> tensors = Tensors(new byte[blocks.Aggregate((a, b) => a * b)], blocks, new byte[scales.Aggregate((a, b) => a * b)], scales);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Mxfp4.Find(new CheckpointLinear("w", new LinearShape("x", 64, 2), tensors, _ => { }), Format, new ExpertPart(0, 1)));
        Assert.Equal(DiagnosticIds.TensorMismatch, error.Id);
        Assert.Contains("The tensor w_", error.Message, StringComparison.Ordinal);
    }

    // The nearest of all values that there are, of two as near the one whose last bit is 0, and the largest for what is beyond it.
    [Fact]
    public void A_weight_goes_to_the_nearest_value()
    {
        for (double x = -9; x <= 9; x += 1 / 64.0)
        {
            int[] nearest = [.. Enumerable.Range(0, 16).Where(code => (code < 8) == (x >= 0)).GroupBy(code => Math.Abs(E2M1(code) - x)).MinBy(group => group.Key)!];
            int expected = nearest.Length == 1 ? nearest[0] : nearest.Single(code => code % 2 == 0);
            Assert.Equal(expected, BlockCodebook.Mxfp4Index((float)x));
        }
    }

    [Fact]
    public void A_block_is_divided_by_the_power_of_two_that_its_specification_says()
    {
        Random random = new(11);
        float[] values = [.. RandomData.Normal(random, 5 * 64).Select((v, i) => v * MathF.ScaleB(1, i / 32 * 5 - 20)), .. new float[32], .. Enumerable.Repeat(1e-45f, 32)];
        using torch.Tensor weight = torch.tensor(values).view(6, 64);
        CodebookLinear linear = BlockCodebook.Quantize(weight, Format);
        using torch.Tensor back = linear.Dequantize(torch.CPU);
        float[] actual = back.data<float>().ToArray();
        for (int block = 0; block < values.Length / 32; block++)
        {
            double largest = values.Skip(block * 32).Take(32).Max(Math.Abs);
            // The exponent of the largest magnitude, less that of the largest value, 6 = 1.5 * 2^2.
            int exponent = largest == 0 ? 0 : Math.Max((int)Math.Floor(Math.Log2(largest)) - 2, -127);
            Assert.Equal(exponent + 127, linear.Absmax.Codes![block]);
            for (int i = block * 32; i < (block + 1) * 32; i++)
            {
                double power = Math.Pow(2, exponent), nearest = Enumerable.Range(0, 16).Min(code => Math.Abs((E2M1(code) * power) - values[i]));
                Assert.Equal(nearest, Math.Abs((double)actual[i] - values[i]), 1e-6 * power);
            }
        }
    }

    // A sign, two bits of exponent with a bias of 1, and a bit of mantissa.
    private static double E2M1(int code)
    {
        (int exponent, int mantissa) = (code >> 1 & 3, code & 1);
        return (code < 8 ? 1 : -1) * (exponent == 0 ? mantissa / 2.0 : (1 + (mantissa / 2.0)) * Math.Pow(2, exponent - 1));
    }

    private static CodebookLinear Read(byte[] pairs, byte[] scales, int outputs, int inputs) => Mxfp4.Find(
        new CheckpointLinear("w", new LinearShape("x", inputs, outputs), Tensors(pairs, [1, outputs, inputs / 32, 16], scales, [1, outputs, inputs / 32]), _ => { }), Format, new ExpertPart(0, 1))();

    private static Dictionary<string, CheckpointTensor> Tensors(byte[] blocks, long[] blockShape, byte[] scales, long[] scaleShape) => new()
    {
        ["w_blocks"] = new("w_blocks", ElementType.U8, blockShape, (offset, target) => blocks.AsSpan((int)offset, target.Length).CopyTo(target)),
        ["w_scales"] = new("w_scales", ElementType.U8, scaleShape, (offset, target) => scales.AsSpan((int)offset, target.Length).CopyTo(target)),
    };
}
