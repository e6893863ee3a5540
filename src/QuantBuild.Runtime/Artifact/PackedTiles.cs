namespace QuantBuild;

/// <summary>
/// How integers of 2, 3, 4 or 8 bits [N outputs, K inputs] are packed: in tiles of 8 rows, as the kernels read them. A vector of 32 bytes holds 4 consecutive inputs
/// of each of the 8 rows, so that one instruction multiplies them with 4 activations and each lane sums a row of its own.
/// </summary>
/// <remarks>
/// A tile is a run of chunks, each 32 inputs of its 8 rows, 32 * bits bytes. With v[r, k] the integers of a chunk, V[j] is the vector of 32 bytes whose byte 4 r + c is v[r, 4 j + c], for j = 0 … 7.
/// 8 bits: V[0] … V[7]. 4 bits: for m = 0 … 3, V[2 m] | V[2 m + 1] &lt;&lt; 4. 2 bits: for m = 0, 1, V[4 m] | V[4 m + 1] &lt;&lt; 2 | V[4 m + 2] &lt;&lt; 4 | V[4 m + 3] &lt;&lt; 6.
/// 3 bits: the low two bits as for 2 bits, then a vector whose bit j of each byte is bit 2 of V[j]. Missing rows and inputs are zero.
/// </remarks>
public static class PackedTiles
{
    /// <summary>Rows of a tile.</summary>
    public const int Rows = 8;

    /// <summary>Inputs that are packed together.</summary>
    public const int ChunkInputs = 32;

    // Inputs of a row that lie side by side in a vector.
    private const int Adjacent = 4;

    private const int VectorBytes = Rows * Adjacent;

    /// <summary>Tiles of a weight.</summary>
    public static int Count(int outputs) => (int)(((long)outputs + Rows - 1) / Rows);

    /// <summary>Inputs of a row after padding to whole chunks.</summary>
    public static int PaddedInputs(int inputs) => checked(inputs + ChunkInputs - 1) / ChunkInputs * ChunkInputs;

    /// <summary>Bytes of a tile.</summary>
    /// <param name="inputs">K, the columns of the weight.</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    public static int Bytes(int inputs, int bits) => checked((int)((long)PaddedInputs(inputs) * CheckBits(bits)));

    /// <summary>Packs a tile.</summary>
    /// <param name="values">The integers, one a byte, each below 2^bits: [1 to 8 rows, <paramref name="inputs"/>].</param>
    /// <param name="inputs">K.</param>
    /// <param name="packed">Receives <see cref="Bytes"/> bytes.</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    /// <exception cref="ArgumentException">A value does not fit, or a length is not what the inputs ask for.</exception>
    public static void Pack(ReadOnlySpan<byte> values, int inputs, Span<byte> packed, int bits)
    {
        int rows = CheckLengths(values.Length, inputs, packed.Length, bits);
        if (bits < 8 && values.IndexOfAnyInRange((byte)(1 << bits), byte.MaxValue) is >= 0 and int misfit)
        {
            throw new ArgumentException($"Value {values[misfit]} of row {misfit / inputs}, column {misfit % inputs} does not fit {bits} bits.", nameof(values));
        }

        packed.Clear();
        int chunkBytes = ChunkInputs * bits;
        for (int row = 0; row < rows; row++)
        {
            ReadOnlySpan<byte> source = values.Slice(row * inputs, inputs);
            for (int first = 0; first < inputs; first += ChunkInputs)
            {
                PackRun(source.Slice(first, Math.Min(ChunkInputs, inputs - first)), packed.Slice(first / ChunkInputs * chunkBytes, chunkBytes), row, bits);
            }
        }
    }

    /// <summary>Unpacks a tile: the inverse of <see cref="Pack"/>.</summary>
    /// <param name="packed">A packed tile.</param>
    /// <param name="inputs">K.</param>
    /// <param name="values">Receives the integers of the first rows: [1 to 8 rows, <paramref name="inputs"/>].</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    /// <exception cref="ArgumentException">A length is not what the inputs ask for.</exception>
    public static void Unpack(ReadOnlySpan<byte> packed, int inputs, Span<byte> values, int bits)
    {
        int rows = CheckLengths(values.Length, inputs, packed.Length, bits);
        for (int row = 0; row < rows; row++)
        {
            for (int k = 0; k < inputs; k++) values[(row * inputs) + k] = (byte)Value(packed, row, k, bits);
        }
    }

    /// <summary>One integer of a tile.</summary>
    internal static int Value(ReadOnlySpan<byte> packed, int row, int input, int bits)
    {
        ReadOnlySpan<byte> chunk = packed.Slice(input / ChunkInputs * ChunkInputs * bits, ChunkInputs * bits);
        int j = input % ChunkInputs / Adjacent;
        int at = (row * Adjacent) + (input % Adjacent);
        return bits switch
        {
            8 => chunk[(j * VectorBytes) + at],
            4 => (chunk[(j / 2 * VectorBytes) + at] >> (j % 2 * 4)) & 15,
            2 => LowTwo(chunk, j, at),
            _ => LowTwo(chunk, j, at) | (((chunk[(2 * VectorBytes) + at] >> j) & 1) << 2),
        };
    }

    private static int LowTwo(ReadOnlySpan<byte> chunk, int j, int at) => (chunk[(j / 4 * VectorBytes) + at] >> (j % 4 * 2)) & 3;

    /// <summary>Adds up to 32 integers of a row to a chunk of zeros.</summary>
    private static void PackRun(ReadOnlySpan<byte> values, Span<byte> chunk, int row, int bits)
    {
        for (int k = 0; k < values.Length; k++)
        {
            int value = values[k], j = k / Adjacent, at = (row * Adjacent) + (k % Adjacent);
            switch (bits)
            {
                case 8:
                    chunk[(j * VectorBytes) + at] = (byte)value;
                    break;
                case 4:
                    chunk[(j / 2 * VectorBytes) + at] |= (byte)(value << (j % 2 * 4));
                    break;
                default:
                    chunk[(j / 4 * VectorBytes) + at] |= (byte)((value & 3) << (j % 4 * 2));
                    if (bits == 3) chunk[(2 * VectorBytes) + at] |= (byte)(value >> 2 << j);
                    break;
            }
        }
    }

    private static int CheckLengths(int values, int inputs, int packed, int bits)
    {
        int expected = Bytes(inputs, bits);
        if (packed != expected) throw new ArgumentException($"A tile of {inputs} inputs at {bits} bits packs to {expected} bytes; the span has {packed}.");
        int rows = inputs > 0 && values % inputs == 0 ? values / inputs : 0;
        return rows is >= 1 and <= Rows ? rows : throw new ArgumentException($"A tile has 1 to {Rows} rows of {inputs} inputs; the span has {values} integers.");
    }

    private static int CheckBits(int bits) => bits is 2 or 3 or 4 or 8
        ? bits
        : throw new ArgumentOutOfRangeException(nameof(bits), bits, "The widths are 2, 3, 4 and 8.");
}
