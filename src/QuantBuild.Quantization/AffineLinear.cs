using System.Runtime.InteropServices;

namespace QuantBuild.Quantization;

/// <summary>
/// A linear in the format IntAffine, unpacked: <c>W[n, order[j]] = scale[n, j / groupSize] * (value[n, j] - zero[n, j / groupSize])</c>.
/// </summary>
public sealed class AffineLinear : QuantizedLinear
{
    /// <summary>Creates a linear of zeros.</summary>
    /// <param name="outputs">N, the rows of the weight.</param>
    /// <param name="inputs">K, the columns of the weight.</param>
    /// <param name="bits">Bits of a value.</param>
    /// <param name="groupSize">Columns that share a scale; divides <paramref name="inputs"/>.</param>
    /// <param name="symmetric">Whether the zero point is always 2^(bits-1).</param>
    public AffineLinear(int outputs, int inputs, int bits, int groupSize, bool symmetric)
        : base(outputs, inputs)
    {
        (Bits, GroupSize, Symmetric) = (bits, groupSize, symmetric);
        Values = new byte[(long)outputs * inputs];
        Scales = new Half[(long)outputs * Groups];
        Zeros = new byte[(long)outputs * Groups];
    }

    /// <summary>Bits of a value.</summary>
    public int Bits { get; }

    /// <summary>Columns that share a scale.</summary>
    public int GroupSize { get; }

    /// <summary>Whether the zero point is always 2^(bits-1), and not stored.</summary>
    public bool Symmetric { get; }

    /// <summary>Groups of a row.</summary>
    public int Groups => Inputs / GroupSize;

    /// <summary>The integers, [N, K] in the order of the packed columns.</summary>
    public byte[] Values { get; }

    /// <summary>The scales, [N, groups].</summary>
    public Half[] Scales { get; }

    /// <summary>The zero points, [N, groups].</summary>
    public byte[] Zeros { get; }

    /// <summary>Which input each packed column is, [K]; <see langword="null"/> where the columns are in their own order.</summary>
    public int[]? Order { get; init; }

    /// <summary>Reads a linear back.</summary>
    internal static AffineLinear Read(IntAffineFormat format, LinearShape shape, LinearPartReader part)
    {
        AffineLinear linear = new(shape.Outputs, shape.Inputs, format.Bits, format.GroupSize, format.Symmetric)
        {
            Order = format.Ordered ? MemoryMarshal.Cast<byte, int>(part(IntAffine.OrderSuffix, shape.Inputs * sizeof(int))).ToArray() : null,
        };
        int tiles = PackedTiles.Count(shape.Outputs);
        PackedRows.Unpack(part(IntAffine.WeightSuffix, (long)tiles * PackedTiles.Bytes(shape.Inputs, format.Bits)), linear.Values, shape.Inputs, format.Bits);
        PackedRows.FromTiles(MemoryMarshal.Cast<byte, Half>(part(IntAffine.ScalesSuffix, tiles * linear.Groups * (long)PackedTiles.Rows * 2)), linear.Scales, linear.Groups);
        if (format.Symmetric) linear.Zeros.AsSpan().Fill((byte)(1 << (format.Bits - 1)));
        else PackedRows.FromTiles(part(IntAffine.ZerosSuffix, tiles * linear.Groups * (long)PackedTiles.Rows), linear.Zeros, linear.Groups);
        return linear;
    }

    /// <inheritdoc/>
    internal override IEnumerable<LinearPart> Parts()
    {
        long tiles = PackedTiles.Count(Outputs);
        yield return new(IntAffine.WeightSuffix, ElementType.U8, [tiles, PackedTiles.Bytes(Inputs, Bits)], PackedRows.Pack(Values, Outputs, Inputs, Bits));
        long[] groups = [tiles, Groups, PackedTiles.Rows];
        yield return new(IntAffine.ScalesSuffix, ElementType.F16, groups, MemoryMarshal.AsBytes<Half>(PackedRows.ToTiles(Scales, Outputs, Groups)).ToArray());
        if (!Symmetric) yield return new(IntAffine.ZerosSuffix, ElementType.U8, groups, PackedRows.ToTiles(Zeros, Outputs, Groups));
        if (Order is not null) yield return new(IntAffine.OrderSuffix, ElementType.I32, [Inputs], MemoryMarshal.AsBytes<int>(Order).ToArray());
    }

    /// <inheritdoc/>
    internal override AffineLinear Take(RowBlocks rows)
    {
        // A row has scales and zero points of its own, and all have one order of inputs.
        AffineLinear part = new((int)rows.Rows, Inputs, Bits, GroupSize, Symmetric) { Order = Order };
        rows.Take(Values, part.Values);
        rows.Take(Scales, part.Scales);
        rows.Take(Zeros, part.Zeros);
        return part;
    }

    /// <summary>Linears of some rows each as one, with the rows of each after those of the one before.</summary>
    /// <param name="parts">One or more, alike but for their rows.</param>
    internal static AffineLinear Joined(IReadOnlyList<AffineLinear> parts)
    {
        AffineLinear first = parts[0];
        if (parts.Count == 1) return first;
        AffineLinear joined = new(parts.Sum(part => part.Outputs), first.Inputs, first.Bits, first.GroupSize, first.Symmetric) { Order = first.Order };
        long row = 0;
        foreach (AffineLinear part in parts)
        {
            part.Values.CopyTo(joined.Values, row * first.Inputs);
            part.Scales.CopyTo(joined.Scales, row * first.Groups);
            part.Zeros.CopyTo(joined.Zeros, row * first.Groups);
            row += part.Outputs;
        }

        return joined;
    }

    /// <summary>Stores what a tile found for a group.</summary>
    internal void SetGroup(int firstRow, int group, ReadOnlySpan<float> scales, ReadOnlySpan<float> zeros)
    {
        for (int lane = 0; lane < Math.Min(AffineGrid.Lanes, Outputs - firstRow); lane++)
        {
            long index = ((long)(firstRow + lane) * Groups) + group;
            Scales[index] = (Half)scales[lane];
            Zeros[index] = (byte)zeros[lane];
        }
    }

    /// <summary>What <see cref="SetGroup"/> stored, for the rows that there are.</summary>
    internal void GetGroup(int firstRow, int group, Span<float> scales, Span<float> zeros)
    {
        for (int lane = 0; lane < Math.Min(AffineGrid.Lanes, Outputs - firstRow); lane++)
        {
            long index = ((long)(firstRow + lane) * Groups) + group;
            scales[lane] = (float)Scales[index];
            zeros[lane] = Zeros[index];
        }
    }

    /// <summary>Stores a tile's integers of a packed column.</summary>
    internal void SetColumn(int firstRow, int column, ReadOnlySpan<float> values)
    {
        for (int lane = 0; lane < Math.Min(AffineGrid.Lanes, Outputs - firstRow); lane++)
        {
            Values[((long)(firstRow + lane) * Inputs) + column] = (byte)values[lane];
        }
    }

    /// <summary>Stores a tile's integers of packed columns that follow each other: a row's together, for those of one column are a page apart in many a weight.</summary>
    /// <param name="firstRow">The tile's first row.</param>
    /// <param name="firstColumn">The first column.</param>
    /// <param name="values">The integers, [columns, <see cref="AffineGrid.Lanes"/>].</param>
    internal void SetColumns(int firstRow, int firstColumn, ReadOnlySpan<byte> values)
    {
        for (int lane = 0; lane < Math.Min(AffineGrid.Lanes, Outputs - firstRow); lane++)
        {
            Span<byte> row = Values.AsSpan(((firstRow + lane) * Inputs) + firstColumn, values.Length / AffineGrid.Lanes);
            for (int column = 0; column < row.Length; column++) row[column] = values[(column * AffineGrid.Lanes) + lane];
        }
    }

    /// <inheritdoc/>
    protected override void DequantizeRow(int row, Span<float> target)
    {
        ReadOnlySpan<byte> values = Values.AsSpan(row * Inputs, Inputs);
        for (int start = 0, group = row * Groups; start < Inputs; start += GroupSize, group++)
        {
            (float scale, int zero) = ((float)Scales[group], Zeros[group]);
            ReadOnlySpan<byte> own = values.Slice(start, GroupSize);
            if (Order is null)
            {
                Span<float> weights = target.Slice(start, GroupSize);
                for (int i = 0; i < own.Length; i++) weights[i] = scale * (own[i] - zero);
            }
            else
            {
                ReadOnlySpan<int> order = Order.AsSpan(start, GroupSize);
                for (int i = 0; i < own.Length; i++) target[order[i]] = scale * (own[i] - zero);
            }
        }
    }
}
