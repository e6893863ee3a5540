using System.Buffers;

namespace QuantBuild;

/// <summary>A named tensor that is about to be written.</summary>
public sealed class TensorSource
{
    private const int PieceBytes = 1 << 20;

    private readonly Action<Stream> copy;

    internal TensorSource(string name, ElementType type, IReadOnlyList<long> shape, long byteLength, Action<Stream> copy)
    {
        Name = name;
        Type = type;
        Shape = shape;
        ByteLength = byteLength;
        this.copy = copy;
    }

    /// <summary>The tensor's name.</summary>
    public string Name { get; }

    /// <summary>The type of its elements.</summary>
    public ElementType Type { get; }

    /// <summary>Its sizes, the slowest first.</summary>
    public IReadOnlyList<long> Shape { get; }

    /// <summary>How many bytes it has.</summary>
    public long ByteLength { get; }

    /// <summary>A tensor whose bytes are in memory, in the order of a safetensors file: little-endian, the last size fastest.</summary>
    /// <exception cref="ArgumentException">The bytes are more or fewer than the shape takes.</exception>
    public static TensorSource FromBytes(string name, ElementType type, IReadOnlyList<long> shape, byte[] bytes)
    {
        ArgumentNullException.ThrowIfNull(shape);
        ArgumentNullException.ThrowIfNull(bytes);
        long expected = shape.Aggregate((long)type.Size(), (product, size) => checked(product * size));
        if (expected != bytes.Length)
        {
            throw new ArgumentException(
                $"{name} is {type.HeaderName()} [{string.Join(", ", shape)}], which takes {expected} bytes; {bytes.Length} were given.", nameof(bytes));
        }

        return new TensorSource(name, type, shape, bytes.Length, stream => stream.Write(bytes));
    }

    /// <summary>A tensor of another file, which must stay open until this one was written.</summary>
    /// <param name="file">The file that holds it.</param>
    /// <param name="entry">Which tensor of it.</param>
    /// <param name="newName">Its name in the new file; <see langword="null"/> keeps the old one.</param>
    public static TensorSource FromFile(SafetensorsFile file, TensorEntry entry, string? newName = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(entry);
        return new TensorSource(newName ?? entry.Name, entry.Type, entry.Shape, entry.ByteLength, stream => Copy(file, entry, stream));
    }

    /// <summary>Writes the tensor's bytes.</summary>
    public void CopyTo(Stream stream) => copy(stream);

    private static void Copy(SafetensorsFile file, TensorEntry entry, Stream stream)
    {
        byte[] piece = ArrayPool<byte>.Shared.Rent(PieceBytes);
        for (long offset = 0; offset < entry.ByteLength; offset += PieceBytes)
        {
            Span<byte> bytes = piece.AsSpan(0, (int)Math.Min(PieceBytes, entry.ByteLength - offset));
            file.Read(entry, offset, bytes);
            stream.Write(bytes);
        }

        ArrayPool<byte>.Shared.Return(piece);
    }
}
