namespace QuantBuild.Runtime.Tests;

public class PackedTilesTests
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
            foreach (int rows in new[] { 1, 5, 8 })
            {
                byte[] values = [.. Enumerable.Range(0, rows * inputs).Select(_ => (byte)random.Next(1 << bits))];
                byte[] packed = new byte[PackedTiles.Bytes(inputs, bits)];
                Assert.Equal((inputs + 31) / 32 * 32 * bits, packed.Length);
                packed.AsSpan().Fill(0xFF);
                PackedTiles.Pack(values, inputs, packed, bits);
                byte[] unpacked = new byte[values.Length];
                PackedTiles.Unpack(packed, inputs, unpacked, bits);
                Assert.Equal(values, unpacked);
            }
        }
    }

    [Fact]
    public void The_layout_is_the_documented_one()
    {
        byte[] values = [.. Enumerable.Range(0, 8 * 32).Select(i => (byte)(i * 37 % 256))];
        int V(int j, int i, int mask) => values[(i / 4 * 32) + (4 * j) + (i % 4)] & mask;
        byte[] Packed(int bits)
        {
            byte[] packed = new byte[32 * bits];
            PackedTiles.Pack([.. values.Select(v => (byte)(v & ((1 << bits) - 1)))], 32, packed, bits);
            return packed;
        }

        byte[] eight = Packed(8), four = Packed(4), three = Packed(3), two = Packed(2);
        for (int i = 0; i < 32; i++)
        {
            for (int j = 0; j < 8; j++) Assert.Equal(V(j, i, 255), eight[(32 * j) + i]);
            for (int m = 0; m < 4; m++) Assert.Equal(V(2 * m, i, 15) | (V((2 * m) + 1, i, 15) << 4), four[(32 * m) + i]);
            for (int m = 0; m < 2; m++)
            {
                int low = Enumerable.Range(0, 4).Sum(f => V((4 * m) + f, i, 3) << (2 * f));
                Assert.Equal(low, two[(32 * m) + i]);
                Assert.Equal(low, three[(32 * m) + i]);
            }

            Assert.Equal(Enumerable.Range(0, 8).Sum(j => ((V(j, i, 7) >> 2) & 1) << j), three[64 + i]);
        }
    }

    [Fact]
    public void A_value_that_does_not_fit_is_refused()
    {
        Assert.Throws<ArgumentException>(() => PackedTiles.Pack([16], 1, new byte[128], 4));
        Assert.Throws<ArgumentException>(() => PackedTiles.Pack([1], 1, new byte[127], 4));
        Assert.Throws<ArgumentException>(() => PackedTiles.Pack(new byte[9], 1, new byte[128], 4));
        Assert.Throws<ArgumentException>(() => PackedTiles.Unpack(new byte[129], 1, new byte[1], 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => PackedTiles.Bytes(32, 5));
    }
}
