using System.Buffers;

namespace QuantBuild.Quantization;

/// <summary>A tensor as both forward passes know it, in the place where a checkpoint has it: a tensor of its own, rows of a fused one, or one that is transposed.</summary>
/// <param name="name">Its own name.</param>
/// <param name="shape">Its own shape, [rows] or [rows, columns].</param>
/// <param name="place">Where it is.</param>
/// <param name="whole">The tensor of that place.</param>
internal sealed class PlacedTensor(string name, IReadOnlyList<int> shape, TensorPlace place, CheckpointTensor whole)
{
    private const long PieceBytes = 1 << 20;

    private readonly int columns = shape.Count == 1 ? 1 : shape[1];
    private readonly int elementBytes = whole.Type.Size();

    /// <summary>The type of its elements.</summary>
    public ElementType Type => whole.Type;

    /// <summary>Its sizes.</summary>
    public long[] Shape { get; } = [.. shape.Select(size => (long)size)];

    /// <summary>Bytes of a row.</summary>
    public long RowBytes => (long)columns * elementBytes;

    /// <summary>Bytes of all rows.</summary>
    public long ByteLength => shape[0] * RowBytes;

    /// <summary>Bytes that they take in their file.</summary>
    public long StoredBytes => (long)((double)whole.StoredBytes / whole.ByteLength * ByteLength);

    /// <summary>The shape that the checkpoint's tensor should have, or each of several, or the expert's part of it.</summary>
    /// <param name="shape">The tensor's own.</param>
    /// <param name="place">Where it is.</param>
    public static long[] ShapeIn(IReadOnlyList<int> shape, TensorPlace place)
    {
        long[] whole = [(place.Rows?.Total ?? shape[0]) / (place.Parts ?? 1) / (place.Stack ?? 1), .. shape.Skip(1).Select(size => (long)size)];
        return place.Transposed ? [.. whole.Reverse()] : place.Stack is { } stack ? [stack, .. whole] : whole;
    }

    /// <summary>Reads some consecutive rows.</summary>
    /// <param name="first">The first row.</param>
    /// <param name="target">Receives them: whole rows.</param>
    public void Read(long first, Span<byte> target)
    {
        if (place.Transposed)
        {
            ReadColumns(first, target);
            return;
        }

        if (place.Rows is not { } rows)
        {
            whole.Read(first * RowBytes, target);
            return;
        }

        while (target.Length > 0)
        {
            // To the end of the block at most.
            long count = Math.Min(rows.Count - (first % rows.Count), target.Length / RowBytes);
            whole.Read(rows[first] * RowBytes, target[..(int)(count * RowBytes)]);
            target = target[(int)(count * RowBytes)..];
            first += count;
        }
    }

    /// <summary>The tensor for a new file, under its own name.</summary>
    public TensorSource Source() => place is { Rows: null, Transposed: false, Stack: null }
        ? whole.ToSource(name)
        : new TensorSource(name, Type, Shape, ByteLength, Copy);

    /// <summary>Rows that are columns of the checkpoint's tensor.</summary>
    private void ReadColumns(long first, Span<byte> target)
    {
        int rows = (int)(target.Length / RowBytes);
        RowBlocks blocks = place.Rows ?? RowBlocks.Run(0, shape[0], shape[0]);
        // From the first of them to the last, with what lies between.
        int[] places = [.. Enumerable.Range(0, rows).Select(row => (int)(blocks[first + row] - blocks[first]) * elementBytes)];
        byte[] rented = ArrayPool<byte>.Shared.Rent(places[^1] + elementBytes);
        Span<byte> column = rented.AsSpan(0, places[^1] + elementBytes);
        for (int k = 0; k < columns; k++)
        {
            whole.Read((((long)k * blocks.Total) + blocks[first]) * elementBytes, column);
            for (int row = 0; row < rows; row++) column.Slice(places[row], elementBytes).CopyTo(target[(int)((row * RowBytes) + (k * elementBytes))..]);
        }

        ArrayPool<byte>.Shared.Return(rented);
    }

    private void Copy(Stream stream)
    {
        int most = (int)Math.Clamp(PieceBytes / RowBytes, 1, shape[0]);
        byte[] piece = ArrayPool<byte>.Shared.Rent(checked((int)(most * RowBytes)));
        for (int row = 0; row < shape[0]; row += most)
        {
            Span<byte> rows = piece.AsSpan(0, (int)(Math.Min(most, shape[0] - row) * RowBytes));
            Read(row, rows);
            stream.Write(rows);
        }

        ArrayPool<byte>.Shared.Return(piece);
    }
}
