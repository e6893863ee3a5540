using System.Buffers;
using System.Runtime.InteropServices;

namespace QuantBuild.Quantization;

/// <summary>
/// Weights in MXFP4 (OCP Microscaling Formats, 2023), as BF16, which has all of their values: 32 numbers of a sign, two bits of exponent and one of mantissa, and a power of two for them.
/// A checkpoint has them as <c>X_blocks</c> U8 [..., inputs / 32, 16], the first of two in the low half, and <c>X_scales</c> U8 [..., inputs / 32], the exponent and 127.
/// </summary>
internal static class Mxfp4
{
    /// <summary>Numbers that share a power of two.</summary>
    public const int BlockSize = 32;

    private const int Pairs = BlockSize / 2;

    private static readonly float[] Magnitudes = [0, 0.5f, 1, 1.5f, 2, 3, 4, 6];

    /// <summary>The value of a code, before its power of two.</summary>
    public static float Value(int code) => (code & 8) == 0 ? Magnitudes[code] : -Magnitudes[code & 7];

    /// <summary>The power of two of a scale; what is not a number where it says so.</summary>
    public static float Power(byte scale) => scale == byte.MaxValue ? float.NaN : MathF.ScaleB(1, scale - 127);

    /// <summary>A weight in BF16, if the checkpoint has its blocks and scales.</summary>
    /// <param name="name">The weight's name.</param>
    /// <param name="tensors">All tensors.</param>
    /// <exception cref="QuantBuildException">QB2007: blocks and scales do not fit one another.</exception>
    public static CheckpointTensor? Find(string name, IReadOnlyDictionary<string, CheckpointTensor> tensors)
    {
        if (!tensors.TryGetValue(name + "_blocks", out CheckpointTensor? blocks) || !tensors.TryGetValue(name + "_scales", out CheckpointTensor? scales)) return null;
        if (blocks.Type != ElementType.U8 || scales.Type != ElementType.U8 || !blocks.Shape.SequenceEqual([.. scales.Shape, Pairs]))
        {
            throw new QuantBuildException(
                DiagnosticIds.TensorMismatch,
                $"{blocks.Name} is {Form(blocks)} and {scales.Name} {Form(scales)}, expected U8 [..., inputs / {BlockSize}, {Pairs}] and U8 [..., inputs / {BlockSize}]: the blocks and the scales of one weight in MXFP4. Copy the model again.");
        }

        return new CheckpointTensor(
            name, ElementType.BF16, [.. scales.Shape.SkipLast(1), scales.Shape[^1] * BlockSize], (offset, target) => Read(blocks, scales, offset, target), blocks.StoredBytes + scales.StoredBytes);
        static string Form(CheckpointTensor tensor) => $"{tensor.Type.HeaderName()} [{string.Join(", ", tensor.Shape)}]";
    }

    private static void Read(CheckpointTensor blocks, CheckpointTensor scales, long offset, Span<byte> target)
    {
        Span<ushort> values = MemoryMarshal.Cast<byte, ushort>(target);
        long first = offset / sizeof(ushort), firstBlock = first / BlockSize;
        int count = (int)(((first + values.Length + BlockSize - 1) / BlockSize) - firstBlock);
        byte[] rented = ArrayPool<byte>.Shared.Rent(count * (Pairs + 1));
        Span<byte> codes = rented.AsSpan(0, count * Pairs), exponents = rented.AsSpan(count * Pairs, count);
        blocks.Read(firstBlock * Pairs, codes);
        scales.Read(firstBlock, exponents);
        for (int i = 0; i < values.Length; i++)
        {
            int place = (int)(first - (firstBlock * BlockSize)) + i;
            int code = (codes[place / 2] >> (place % 2 * 4)) & 15;
            // Four bits of mantissa and exponent, and 16 zeros below: nothing is cut off.
            values[i] = (ushort)(BitConverter.SingleToUInt32Bits(Value(code) * Power(exponents[place / BlockSize])) >> 16);
        }

        ArrayPool<byte>.Shared.Return(rented);
    }
}
