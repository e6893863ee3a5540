namespace QuantBuild.Quantization;

/// <summary>A weight's integers and scales, row after row, in the tiles of an artifact and back.</summary>
internal static class PackedRows
{
    /// <summary>Packs integers.</summary>
    /// <param name="values">[outputs, inputs], each below 2^bits.</param>
    /// <param name="outputs">N.</param>
    /// <param name="inputs">K.</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    public static byte[] Pack(byte[] values, int outputs, int inputs, int bits)
    {
        int tileBytes = PackedTiles.Bytes(inputs, bits), tiles = PackedTiles.Count(outputs);
        byte[] packed = new byte[(long)tiles * tileBytes];
        Parallel.For(0, tiles, tile =>
        {
            int first = tile * PackedTiles.Rows, rows = Math.Min(PackedTiles.Rows, outputs - first);
            PackedTiles.Pack(values.AsSpan(first * inputs, rows * inputs), inputs, packed.AsSpan(tile * tileBytes, tileBytes), bits);
        });
        return packed;
    }

    /// <summary>Unpacks integers: the inverse of <see cref="Pack"/>.</summary>
    public static void Unpack(ReadOnlySpan<byte> packed, Span<byte> values, int inputs, int bits)
    {
        int tileBytes = PackedTiles.Bytes(inputs, bits), outputs = values.Length / inputs;
        for (int first = 0; first < outputs; first += PackedTiles.Rows)
        {
            int rows = Math.Min(PackedTiles.Rows, outputs - first);
            PackedTiles.Unpack(packed.Slice(first / PackedTiles.Rows * tileBytes, tileBytes), inputs, values.Slice(first * inputs, rows * inputs), bits);
        }
    }

    /// <summary>[outputs, groups] as [tiles, groups, 8], with zeros where there is no row.</summary>
    public static T[] ToTiles<T>(T[] rows, int outputs, int groups)
    {
        T[] tiles = new T[(long)PackedTiles.Count(outputs) * groups * PackedTiles.Rows];
        for (int row = 0; row < outputs; row++)
        {
            for (int group = 0; group < groups; group++) tiles[Place(row, group, groups)] = rows[(row * groups) + group];
        }

        return tiles;
    }

    /// <summary>[tiles, groups, 8] as [outputs, groups]: the inverse of <see cref="ToTiles"/>.</summary>
    public static void FromTiles<T>(ReadOnlySpan<T> tiles, Span<T> rows, int groups)
    {
        for (int i = 0; i < rows.Length; i++) rows[i] = tiles[Place(i / groups, i % groups, groups)];
    }

    private static int Place(int row, int group, int groups) => (((row / PackedTiles.Rows * groups) + group) * PackedTiles.Rows) + (row % PackedTiles.Rows);
}
