namespace QuantBuild.Quantization.Tests;

public sealed class Mxfp4Tests
{
    [Fact]
    public void Every_code_times_every_power_is_what_its_bits_say()
    {
        byte[] codes = [.. Enumerable.Range(0, 256).SelectMany(_ => Enumerable.Range(0, 8).Select(i => (byte)((2 * i) | (((2 * i) + 1) << 4)))).SelectMany(code => new[] { code, code })];
        byte[] scales = [.. Enumerable.Range(0, 256).Select(i => (byte)i)];
        CheckpointTensor weight = Mxfp4.Find("w", Tensors(codes, [256, 1, 16], scales, [256, 1]))!;
        Assert.Equal([256, 32], weight.Shape);
        ushort[] values = weight.ReadAll<ushort>();
        for (int row = 0; row < 256; row++)
        {
            for (int column = 0; column < 32; column++)
            {
                int byteAt = column / 2, code = (codes[(row * 16) + byteAt] >> (column % 2 * 4)) & 15;
                (int exponent, int mantissa) = (code >> 1 & 3, code & 1);
                double value = (code < 8 ? 1 : -1) * (exponent == 0 ? mantissa / 2.0 : (1 + (mantissa / 2.0)) * Math.Pow(2, exponent - 1));
                double expected = row == 255 ? double.NaN : value * Math.Pow(2, row - 127);
                // The largest powers are beyond what BF16 has.
                if (Math.Abs(expected) > float.MaxValue) expected = double.PositiveInfinity * Math.Sign(expected);
                Assert.Equal(expected, BitConverter.UInt32BitsToSingle((uint)values[(row * 32) + column] << 16));
            }
        }
    }

    [Theory]
    [InlineData(0, 2)]
    [InlineData(2, 60)]
    [InlineData(62, 4)]
    [InlineData(64, 64)]
    [InlineData(126, 66)]
    public void Any_part_of_it_can_be_read(int offset, int length)
    {
        Random random = new(3);
        byte[] codes = new byte[6 * 16], scales = [.. Enumerable.Range(0, 6).Select(_ => (byte)random.Next(100, 150))];
        random.NextBytes(codes);
        CheckpointTensor weight = Mxfp4.Find("w", Tensors(codes, [3, 2, 16], scales, [3, 2]))!;
        byte[] part = new byte[length];
        weight.Read(offset, part);
        Assert.Equal(System.Runtime.InteropServices.MemoryMarshal.AsBytes(weight.ReadAll<ushort>().AsSpan()).Slice(offset, length).ToArray(), part);
    }

    [Theory]
    [InlineData(new long[] { 3, 2, 15 }, new long[] { 3, 2 })]
    [InlineData(new long[] { 3, 2, 16 }, new long[] { 2, 3 })]
    [InlineData(new long[] { 96 }, new long[] { 6 })]
    public void Blocks_that_do_not_fit_their_scales_are_named(long[] blocks, long[] scales)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Mxfp4.Find("w", Tensors(new byte[blocks.Aggregate((a, b) => a * b)], blocks, new byte[scales.Aggregate((a, b) => a * b)], scales)));
        Assert.Equal(DiagnosticIds.TensorMismatch, error.Id);
        Assert.Contains("w_blocks", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_weight_without_blocks_is_not_found() => Assert.Null(Mxfp4.Find("w", new Dictionary<string, CheckpointTensor>()));

    private static Dictionary<string, CheckpointTensor> Tensors(byte[] blocks, long[] blockShape, byte[] scales, long[] scaleShape) => new()
    {
        ["w_blocks"] = new("w_blocks", ElementType.U8, blockShape, (offset, target) => blocks.AsSpan((int)offset, target.Length).CopyTo(target)),
        ["w_scales"] = new("w_scales", ElementType.U8, scaleShape, (offset, target) => scales.AsSpan((int)offset, target.Length).CopyTo(target)),
    };
}
