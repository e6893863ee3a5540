using System.Buffers;

namespace QuantBuild.Quantization;

/// <summary>
/// A tensor of a model's weight files, however they store it: what is read is of the type and shape that it says, row after row, little-endian. Nothing is
/// read before it is asked for, and no more than is asked for.
/// </summary>
public sealed class CheckpointTensor
{
    private const int PieceBytes = 1 << 20;

    private readonly Reader read;

    /// <summary>Describes a tensor.</summary>
    /// <param name="name">Its name in the checkpoint.</param>
    /// <param name="type">The elements that <paramref name="read"/> gives.</param>
    /// <param name="shape">Its sizes, the slowest first; what they make has been checked against the file.</param>
    /// <param name="read">Reads its bytes.</param>
    /// <param name="storedBytes">The bytes that it takes in the file, where it is converted while it is read.</param>
    internal CheckpointTensor(string name, ElementType type, IReadOnlyList<long> shape, Reader read, long? storedBytes = null)
    {
        (Name, Type, Shape, this.read) = (name, type, shape, read);
        ByteLength = shape.Aggregate((long)type.Size(), (product, size) => checked(product * size));
        StoredBytes = storedBytes ?? ByteLength;
    }

    /// <summary>Reads bytes of a tensor.</summary>
    /// <param name="offset">The first, from the tensor's first; a multiple of the element's size.</param>
    /// <param name="target">Receives as many as it is long, a multiple of the element's size.</param>
    internal delegate void Reader(long offset, Span<byte> target);

    /// <summary>Its name in the checkpoint.</summary>
    public string Name { get; }

    /// <summary>The elements that reading gives.</summary>
    public ElementType Type { get; }

    /// <summary>Its sizes, the slowest first.</summary>
    public IReadOnlyList<long> Shape { get; }

    /// <summary>How many bytes reading gives.</summary>
    public long ByteLength { get; }

    /// <summary>How many bytes it takes in its file.</summary>
    public long StoredBytes { get; }

    /// <summary>Number of elements.</summary>
    internal long Elements => ByteLength / Type.Size();

    /// <summary>The same tensor under another name.</summary>
    internal CheckpointTensor Renamed(string name) => name == Name ? this : new CheckpointTensor(name, Type, Shape, read, StoredBytes);

    /// <summary>One of the parts along its slowest dimension.</summary>
    internal CheckpointTensor Part(int index)
    {
        long start = ByteLength / Shape[0] * index;
        return new CheckpointTensor(Name, Type, [.. Shape.Skip(1)], (offset, target) => read(start + offset, target), StoredBytes / Shape[0]);
    }

    /// <summary>Tensors of one shape as one, with the rows of each after those of the one before.</summary>
    /// <param name="name">What to call it.</param>
    /// <param name="parts">The tensors.</param>
    /// <exception cref="QuantBuildException">QB2007: they differ in type.</exception>
    internal static CheckpointTensor Joined(string name, IReadOnlyList<CheckpointTensor> parts)
    {
        CheckpointTensor first = parts[0];
        if (parts.Count == 1) return first;
        if (parts.FirstOrDefault(part => part.Type != first.Type) is { } other)
        {
            throw new QuantBuildException(
                DiagnosticIds.TensorMismatch,
                $"The tensor {other.Name} has the element type {other.Type.HeaderName()}, and {first.Name}, which it is a part of one tensor with, {first.Type.HeaderName()}. " +
                "Files of different models are mixed: copy the model again.");
        }

        return new CheckpointTensor(name, first.Type, [first.Shape[0] * parts.Count, .. first.Shape.Skip(1)], Read, parts.Sum(part => part.StoredBytes));

        void Read(long offset, Span<byte> target)
        {
            while (target.Length > 0)
            {
                (long part, long start) = Math.DivRem(offset, first.ByteLength);
                int count = (int)Math.Min(first.ByteLength - start, target.Length);
                parts[(int)part].Read(start, target[..count]);
                offset += count;
                target = target[count..];
            }
        }
    }

    /// <summary>Reads some of its bytes: see <see cref="Reader"/>.</summary>
    internal void Read(long offset, Span<byte> target)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + target.Length, ByteLength, nameof(offset));
        if (target.Length > 0) read(offset, target);
    }

    /// <summary>All of its elements. For what is small beside a layer: scales and zero points; or is to be repacked as a whole.</summary>
    internal T[] ReadAll<T>()
        where T : unmanaged
    {
        T[] values = new T[Elements];
        Span<byte> bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan());
        if (bytes.Length != ByteLength) throw new InvalidOperationException($"{Name} is {Type}, read as {typeof(T).Name}.");
        Read(0, bytes);
        return values;
    }

    /// <summary>The tensor as one that an artifact is written from, under a name of the model's.</summary>
    internal TensorSource ToSource(string name) => new(name, Type, Shape, ByteLength, stream =>
    {
        byte[] piece = ArrayPool<byte>.Shared.Rent(PieceBytes);
        for (long offset = 0; offset < ByteLength; offset += PieceBytes)
        {
            Span<byte> bytes = piece.AsSpan(0, (int)Math.Min(PieceBytes, ByteLength - offset));
            Read(offset, bytes);
            stream.Write(bytes);
        }

        ArrayPool<byte>.Shared.Return(piece);
    });
}
