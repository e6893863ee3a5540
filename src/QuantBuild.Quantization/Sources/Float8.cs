using System.Runtime.InteropServices;

namespace QuantBuild.Quantization;

/// <summary>
/// Weights in 8-bit floating point, as float32: E4M3 (the FN form: no infinity, one NaN) and E5M2. A checkpoint that was scaled to fit them has the scales beside:
/// one for the weight, one a row, or one for each block of rows and columns.
/// </summary>
internal static class Float8
{
    private static readonly float[] E4M3 = [.. Enumerable.Range(0, 256).Select(FromE4M3)];
    private static readonly float[] E5M2 = [.. Enumerable.Range(0, 256).Select(code => (float)BitConverter.UInt16BitsToHalf((ushort)(code << 8)))];

    // Both names are in use, and both scales are multiplied with: DeepSeek's "inverse" is that of what the quantizer multiplied with.
    private static readonly string[] ScaleSuffixes = ["_scale_inv", "_scale"];

    /// <summary>What a code of a type stands for.</summary>
    public static ReadOnlySpan<float> Values(ElementType type) => type == ElementType.F8E4M3 ? E4M3 : E5M2;

    /// <summary>A weight in float32, with its scales where the checkpoint has them.</summary>
    /// <param name="weight">The weight.</param>
    /// <param name="tensors">All tensors.</param>
    /// <param name="block">Rows and columns of a block, where <c>config.json</c> says.</param>
    /// <exception cref="QuantBuildException">QB2007: the scales do not fit the weight.</exception>
    public static CheckpointTensor Scaled(CheckpointTensor weight, IReadOnlyDictionary<string, CheckpointTensor> tensors, (int Rows, int Columns)? block)
    {
        CheckpointTensor? scale = ScaleSuffixes.Select(suffix => tensors.GetValueOrDefault(weight.Name + suffix)).FirstOrDefault(found => found is not null);
        ElementType type = weight.Type;
        if (scale is null) return new CheckpointTensor(weight.Name, ElementType.F32, weight.Shape, (offset, target) => Read(weight, offset, target, Values(type)), weight.ByteLength);

        long columns = weight.Shape.Count == 2 ? weight.Shape[1] : weight.Elements;
        (long blockRows, long blockColumns) = Blocks(weight, scale, block);
        long blocksInRow = (columns + blockColumns - 1) / blockColumns;
        Lazy<float[]> scales = new(() => Floats(scale));
        return new CheckpointTensor(
            weight.Name,
            ElementType.F32,
            weight.Shape,
            (offset, target) =>
            {
                Read(weight, offset, target, Values(type));
                Span<float> values = MemoryMarshal.Cast<byte, float>(target);
                long first = offset / sizeof(float);
                for (int i = 0; i < values.Length; i++)
                {
                    (long row, long column) = Math.DivRem(first + i, columns);
                    values[i] *= scales.Value[(row / blockRows * blocksInRow) + (column / blockColumns)];
                }
            },
            weight.ByteLength + scale.ByteLength);
    }

    private static void Read(CheckpointTensor weight, long offset, Span<byte> target, ReadOnlySpan<float> table)
    {
        Span<float> values = MemoryMarshal.Cast<byte, float>(target);
        // The codes go where the last quarter of the values will be: each is read before its place is written to.
        Span<byte> codes = target[^values.Length..];
        weight.Read(offset / sizeof(float), codes);
        for (int i = 0; i < values.Length; i++) values[i] = table[codes[i]];
    }

    /// <summary>How many rows and columns share a scale.</summary>
    private static (long Rows, long Columns) Blocks(CheckpointTensor weight, CheckpointTensor scale, (int Rows, int Columns)? block)
    {
        const long all = long.MaxValue / 2;
        string Shape(IEnumerable<long> sizes) => $"[{string.Join(", ", sizes)}]";
        if (scale.Elements == 1) return (all, all);
        if (weight.Shape is [long rows, long columns])
        {
            if (scale.Elements == rows && (scale.Shape is [_] or [_, 1])) return (1, all);
            if (block is { } size && scale.Shape is [long across, long along]
                && across == (rows + size.Rows - 1) / size.Rows && along == (columns + size.Columns - 1) / size.Columns)
            {
                return (size.Rows, size.Columns);
            }
        }

        throw new QuantBuildException(
            DiagnosticIds.TensorMismatch,
            $"The scales {scale.Name} have the shape {Shape(scale.Shape)}, and the weight {Shape(weight.Shape)}: expected one for the weight, one for each row" +
            (block is { } b ? $", or one for each block of {b.Rows} x {b.Columns}" : ", or blocks, whose size config.json would give as \"weight_block_size\"") +
            ". config.json and the weights are not of the same model: copy the model again.");
    }

    private static float[] Floats(CheckpointTensor scale) => scale.Type switch
    {
        ElementType.F32 => scale.ReadAll<float>(),
        ElementType.F16 => [.. scale.ReadAll<Half>().Select(value => (float)value)],
        ElementType.BF16 => [.. scale.ReadAll<ushort>().Select(value => BitConverter.UInt32BitsToSingle((uint)value << 16))],
        _ => throw new QuantBuildException(
            DiagnosticIds.TensorMismatch, $"The scales {scale.Name} have the element type {scale.Type.HeaderName()}, expected F32, F16 or BF16. Copy the model again."),
    };

    private static float FromE4M3(int code)
    {
        int exponent = (code >> 3) & 15, mantissa = code & 7;
        float magnitude = exponent == 15 && mantissa == 7 ? float.NaN
            : exponent == 0 ? MathF.ScaleB(mantissa, -9)
            : MathF.ScaleB(8 + mantissa, exponent - 10);
        return code >= 128 ? -magnitude : magnitude;
    }
}
