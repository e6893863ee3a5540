namespace QuantBuild.Runtime.Tests;

public class IntAffineTests
{
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(8)]
    public void Packing_is_undone_by_unpacking(int bits)
    {
        Random random = new(bits);
        foreach (int inputs in new[] { 1, 7, 31, 32, 33, 64, 100, 255, 256, 1000 })
        {
            byte[] values = [.. Enumerable.Range(0, inputs).Select(_ => (byte)random.Next(1 << bits))];
            byte[] packed = new byte[IntAffine.RowBytes(inputs, bits)];
            Assert.Equal((inputs + 31) / 32 * 4 * bits, packed.Length);
            packed.AsSpan().Fill(0xFF);
            IntAffine.PackRow(values, packed, bits);
            byte[] unpacked = new byte[inputs];
            IntAffine.UnpackRow(packed, unpacked, bits);
            Assert.Equal(values, unpacked);
        }
    }

    [Fact]
    public void The_layout_is_the_documented_one()
    {
        byte[] v = [.. Enumerable.Range(0, 32).Select(i => (byte)((i * 5) % 16))];
        byte[] four = new byte[16];
        IntAffine.PackRow(v, four, 4);
        Assert.All(Enumerable.Range(0, 16), i => Assert.Equal(v[i] | (v[i + 16] << 4), four[i]));

        byte[] low = [.. v.Select(x => (byte)(x & 3))];
        byte[] two = new byte[8];
        IntAffine.PackRow(low, two, 2);
        Assert.All(Enumerable.Range(0, 8), i => Assert.Equal(low[i] | (low[i + 8] << 2) | (low[i + 16] << 4) | (low[i + 24] << 6), two[i]));

        byte[] three = new byte[12];
        IntAffine.PackRow([.. v.Select(x => (byte)(x & 7))], three, 3);
        Assert.Equal(two, three[..8]);
        Assert.Equal(Enumerable.Range(0, 32).Aggregate(0u, (word, i) => word | ((uint)((v[i] >> 2) & 1) << i)), BitConverter.ToUInt32(three, 8));
    }

    [Fact]
    public void A_value_that_does_not_fit_is_refused()
    {
        Assert.Throws<ArgumentException>(() => IntAffine.PackRow([16], new byte[16], 4));
        Assert.Throws<ArgumentException>(() => IntAffine.PackRow([1], new byte[15], 4));
        Assert.Throws<ArgumentException>(() => IntAffine.UnpackRow(new byte[17], new byte[1], 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => IntAffine.RowBytes(32, 5));
    }
}
