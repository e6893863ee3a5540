using System.Runtime.InteropServices;

namespace QuantBuild.Quantization;

/// <summary>
/// A linear in the format Codebook4, unpacked: <c>W[n, k] = table[value[n, k]] * absmax[(n * K + k) / blockSize]</c>.
/// </summary>
/// <param name="outputs">N, the rows of the weight.</param>
/// <param name="inputs">K, the columns of the weight.</param>
/// <param name="format">Table, block size, and whether the absolute maxima are quantized.</param>
/// <param name="absmax">The blocks' absolute maxima.</param>
public sealed class CodebookLinear(int outputs, int inputs, Codebook4Format format, BlockAbsmax absmax) : QuantizedLinear(outputs, inputs)
{
    /// <summary>Table, block size, and whether the absolute maxima are quantized.</summary>
    public Codebook4Format Format { get; } = format;

    /// <summary>The indices into the table, [N, K].</summary>
    public byte[] Values { get; } = new byte[(long)outputs * inputs];

    /// <summary>The blocks' absolute maxima.</summary>
    public BlockAbsmax Absmax { get; } = absmax;

    /// <summary>Reads a linear back.</summary>
    internal static CodebookLinear Read(Codebook4Format format, LinearShape shape, LinearPartReader part)
    {
        (int outputs, int inputs) = (shape.Outputs, shape.Inputs);
        long blocks = Codebook4.Blocks(outputs, inputs, format.BlockSize);
        BlockAbsmax absmax = format.HasPowers ? new BlockAbsmax(part(Codebook4.ExponentSuffix, blocks).ToArray()) : format.DoubleQuantized
            ? new BlockAbsmax(
                part(Codebook4.AbsmaxSuffix, blocks).ToArray(),
                Floats(part(Codebook4.NestedAbsmaxSuffix, Codebook4.NestedBlocks(outputs, inputs, format.BlockSize) * sizeof(float))),
                Floats(part(Codebook4.OffsetSuffix, sizeof(float)))[0])
            : new BlockAbsmax(Floats(part(Codebook4.AbsmaxSuffix, blocks * sizeof(float))));
        CodebookLinear linear = new(outputs, inputs, format, absmax);
        PackedRows.Unpack(
            part(Codebook4.WeightSuffix, PackedTiles.Count(outputs) * (long)PackedTiles.Bytes(inputs, Codebook4.Bits)), linear.Values, inputs, Codebook4.Bits);
        return linear;
    }

    /// <inheritdoc/>
    internal override IEnumerable<LinearPart> Parts()
    {
        yield return new(
            Codebook4.WeightSuffix, ElementType.U8, [PackedTiles.Count(Outputs), PackedTiles.Bytes(Inputs, Codebook4.Bits)],
            PackedRows.Pack(Values, Outputs, Inputs, Codebook4.Bits));
        if (Absmax.Codes is not { } codes)
        {
            yield return new(Codebook4.AbsmaxSuffix, ElementType.F32, [Absmax.Values.Length], MemoryMarshal.AsBytes<float>(Absmax.Values).ToArray());
            yield break;
        }

        if (Absmax.Nested is null)
        {
            yield return new(Codebook4.ExponentSuffix, ElementType.U8, [codes.Length], codes);
            yield break;
        }

        yield return new(Codebook4.AbsmaxSuffix, ElementType.U8, [codes.Length], codes);
        yield return new(Codebook4.NestedAbsmaxSuffix, ElementType.F32, [Absmax.Nested.Length], MemoryMarshal.AsBytes<float>(Absmax.Nested).ToArray());
        yield return new(Codebook4.OffsetSuffix, ElementType.F32, [1], BitConverter.GetBytes(Absmax.Offset));
    }

    /// <inheritdoc/>
    internal override CodebookLinear? Take(RowBlocks rows)
    {
        // Blocks go on over the ends of rows, and quantized maxima in blocks of theirs: only whole ones can be moved.
        long whole = Format.BlockSize * (Absmax.Nested is null ? 1L : Codebook4.NestedBlockSize), width = (long)rows.Count * Inputs;
        bool isWhole = Enumerable.Range(0, rows.Blocks).All(block => (rows.First + ((long)block * rows.Stride)) * Inputs % whole == 0 && (width % whole == 0 || block == rows.Blocks - 1));
        if (!isWhole) return null;
        T[] Of<T>(T[] all, long elements)
        {
            T[] taken = new T[((rows.Rows * Inputs) + elements - 1) / elements];
            for (long block = 0; block < rows.Blocks; block++)
            {
                Array.Copy(all, (rows.First + (block * rows.Stride)) * Inputs / elements, taken, block * width / elements, (width + elements - 1) / elements);
            }

            return taken;
        }

        CodebookLinear part = new((int)rows.Rows, Inputs, Format, Absmax.Codes is null
            ? new BlockAbsmax(Of(Absmax.Values, Format.BlockSize))
            : Absmax.Nested is null ? new BlockAbsmax(Of(Absmax.Codes, Format.BlockSize))
            : new BlockAbsmax(Of(Absmax.Codes, Format.BlockSize), Of(Absmax.Nested, whole), Absmax.Offset));
        rows.Take(Values, part.Values);
        return part;
    }

    /// <inheritdoc/>
    protected override void DequantizeRow(int row, Span<float> target)
    {
        ReadOnlySpan<float> table = Codebook4.Values(Format.Codebook);
        long first = (long)row * Inputs;
        for (int k = 0; k < Inputs; k++) target[k] = table[Values[first + k]] * Absmax.Values[(first + k) / Format.BlockSize];
    }

    private static float[] Floats(ReadOnlySpan<byte> bytes) => MemoryMarshal.Cast<byte, float>(bytes).ToArray();
}

/// <summary>The absolute maxima of a weight's blocks, as they are or quantized themselves.</summary>
public sealed class BlockAbsmax
{
    /// <summary>Absolute maxima as they are.</summary>
    /// <param name="values">One a block.</param>
    public BlockAbsmax(float[] values) => Values = values;

    /// <summary>Powers of two in their place: <c>8 * 2^(exponent - 127)</c>.</summary>
    /// <param name="exponents">One a block.</param>
    public BlockAbsmax(byte[] exponents) => (Codes, Values) = (exponents, [.. exponents.Select(Codebook4.Power)]);

    /// <summary>Absolute maxima that are quantized: <c>DynamicMap[code[i]] * nested[i / 256] + offset</c>.</summary>
    /// <param name="codes">One a block.</param>
    /// <param name="nested">One for each 256 blocks.</param>
    /// <param name="offset">Their mean before.</param>
    public BlockAbsmax(byte[] codes, float[] nested, float offset)
    {
        (Codes, Nested, Offset) = (codes, nested, offset);
        Values = new float[codes.Length];
        for (int i = 0; i < codes.Length; i++) Values[i] = (Codebook4.DynamicMap[codes[i]] * nested[i / Codebook4.NestedBlockSize]) + offset;
    }

    /// <summary>What each block's table is multiplied by.</summary>
    public float[] Values { get; }

    /// <summary>Indices into the dynamic map, or exponents; <see langword="null"/> where the maxima are as they are.</summary>
    public byte[]? Codes { get; }

    /// <summary>The scales of the indices, or <see langword="null"/>.</summary>
    public float[]? Nested { get; }

    /// <summary>What is added to each.</summary>
    public float Offset { get; }
}
