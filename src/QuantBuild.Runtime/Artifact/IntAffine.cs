using System.Buffers.Binary;

namespace QuantBuild;

/// <summary>
/// The format of an integer-quantized linear X with weight W [N outputs, K inputs]: <c>W[n, k] = scale * (q - z)</c>, with one scale and zero point
/// for each group of consecutive packed columns of a row.
/// </summary>
/// <remarks>
/// <c>X.weight</c> U8 [N, <see cref="RowBytes"/>], <c>X.scales</c> F16 [N, groups], <c>X.zeros</c> U8 [N, groups] (absent if symmetric, where
/// z = 2^(bits-1)), and <c>X.order</c> I32 [K] if the columns are permuted: packed column j is input order[j].
/// A row packs in blocks of 32 inputs, each 4 * bits bytes, laid out so that a vector of bytes unpacks to consecutive inputs with one shift and one mask:
/// 8 bits: byte i = v[i]. 4 bits: byte i = v[i] | v[i+16] &lt;&lt; 4. 2 bits: byte i = v[i] | v[i+8] &lt;&lt; 2 | v[i+16] &lt;&lt; 4 | v[i+24] &lt;&lt; 6.
/// 3 bits: the 2-bit form of the low two bits, then a little-endian 32-bit word whose bit i is bit 2 of v[i].
/// </remarks>
public static class IntAffine
{
    /// <summary>The name of the format in a manifest.</summary>
    public const string FormatName = "IntAffine";

    /// <summary>Inputs that are packed together.</summary>
    public const int BlockInputs = 32;

    /// <summary>What follows the linear's name in the name of its packed integers.</summary>
    public const string WeightSuffix = ".weight";

    /// <summary>What follows the linear's name in the name of its scales.</summary>
    public const string ScalesSuffix = ".scales";

    /// <summary>What follows the linear's name in the name of its zero points.</summary>
    public const string ZerosSuffix = ".zeros";

    /// <summary>What follows the linear's name in the name of its column order.</summary>
    public const string OrderSuffix = ".order";

    /// <summary>Inputs of a row after padding to whole blocks.</summary>
    public static int PaddedInputs(int inputs) => checked(inputs + BlockInputs - 1) / BlockInputs * BlockInputs;

    /// <summary>Bytes of a packed row.</summary>
    /// <param name="inputs">Columns of the weight.</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    public static int RowBytes(int inputs, int bits) => checked((int)((long)PaddedInputs(inputs) * CheckBits(bits) / 8));

    /// <summary>Packs a row.</summary>
    /// <param name="values">The integers, one a byte, each below 2^bits.</param>
    /// <param name="packed">Receives <see cref="RowBytes"/> bytes; the padding is zero.</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    /// <exception cref="ArgumentException">A value does not fit, or <paramref name="packed"/> has another length.</exception>
    public static void PackRow(ReadOnlySpan<byte> values, Span<byte> packed, int bits)
    {
        CheckLength(packed.Length, values.Length, bits);
        if (bits < 8 && values.IndexOfAnyInRange((byte)(1 << bits), byte.MaxValue) is >= 0 and int misfit)
        {
            throw new ArgumentException($"Value {values[misfit]} at column {misfit} does not fit {bits} bits.", nameof(values));
        }

        int blockBytes = BlockInputs * bits / 8;
        Span<byte> block = stackalloc byte[BlockInputs];
        for (int start = 0; start < values.Length; start += BlockInputs)
        {
            ReadOnlySpan<byte> present = values.Slice(start, Math.Min(BlockInputs, values.Length - start));
            block.Clear();
            present.CopyTo(block);
            PackBlock(block, packed.Slice(start / BlockInputs * blockBytes, blockBytes), bits);
        }
    }

    /// <summary>Unpacks a row: the inverse of <see cref="PackRow"/>.</summary>
    /// <param name="packed">A packed row.</param>
    /// <param name="values">Receives the integers; its length is the number of inputs.</param>
    /// <param name="bits">2, 3, 4 or 8.</param>
    /// <exception cref="ArgumentException"><paramref name="packed"/> has another length than the inputs ask for.</exception>
    public static void UnpackRow(ReadOnlySpan<byte> packed, Span<byte> values, int bits)
    {
        CheckLength(packed.Length, values.Length, bits);
        int blockBytes = BlockInputs * bits / 8;
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (byte)Value(packed.Slice(i / BlockInputs * blockBytes, blockBytes), i % BlockInputs, bits);
        }
    }

    /// <summary>One value of a block.</summary>
    internal static int Value(ReadOnlySpan<byte> block, int i, int bits) => bits switch
    {
        8 => block[i],
        4 => (block[i & 15] >> (i >> 4 << 2)) & 15,
        2 => LowTwo(block, i),
        _ => LowTwo(block, i) | (int)(((BinaryPrimitives.ReadUInt32LittleEndian(block[8..]) >> i) & 1) << 2),
    };

    private static int LowTwo(ReadOnlySpan<byte> block, int i) => (block[i & 7] >> (i >> 3 << 1)) & 3;

    private static void PackBlock(ReadOnlySpan<byte> v, Span<byte> packed, int bits)
    {
        switch (bits)
        {
            case 8:
                v.CopyTo(packed);
                return;
            case 4:
                for (int i = 0; i < 16; i++) packed[i] = (byte)(v[i] | (v[i + 16] << 4));
                return;
        }

        for (int i = 0; i < 8; i++)
        {
            packed[i] = (byte)((v[i] & 3) | ((v[i + 8] & 3) << 2) | ((v[i + 16] & 3) << 4) | ((v[i + 24] & 3) << 6));
        }

        if (bits == 2) return;
        uint high = 0;
        for (int i = 0; i < BlockInputs; i++) high |= (uint)(v[i] >> 2) << i;
        BinaryPrimitives.WriteUInt32LittleEndian(packed[8..], high);
    }

    private static void CheckLength(int packedLength, int inputs, int bits)
    {
        int expected = RowBytes(inputs, bits);
        if (packedLength != expected)
        {
            throw new ArgumentException($"A row of {inputs} inputs at {bits} bits packs to {expected} bytes; the span has {packedLength}.");
        }
    }

    private static int CheckBits(int bits) => bits is 2 or 3 or 4 or 8
        ? bits
        : throw new ArgumentOutOfRangeException(nameof(bits), bits, "The widths are 2, 3, 4 and 8.");
}
