using System.Runtime.InteropServices;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>A linear in the format Int8RowOutlier, unpacked: <c>W[n, k] = value[n, k] * absmax[n] / 127</c>.</summary>
/// <param name="outputs">N, the rows of the weight.</param>
/// <param name="inputs">K, the columns of the weight.</param>
/// <param name="format">The threshold of activations.</param>
public sealed class Int8Linear(int outputs, int inputs, Int8RowOutlierFormat format) : QuantizedLinear(outputs, inputs)
{
    /// <summary>The threshold of activations.</summary>
    public Int8RowOutlierFormat Format { get; } = format;

    /// <summary>The integers, -127 to 127, [N, K].</summary>
    public sbyte[] Values { get; } = new sbyte[(long)outputs * inputs];

    /// <summary>The rows' absolute maxima, [N].</summary>
    public float[] Absmax { get; } = new float[outputs];

    /// <inheritdoc/>
    internal override Func<torch.Tensor, torch.Tensor>? ActivationRounding
    {
        get
        {
            // Keeps the number alive, not the linear.
            float threshold = (float)Format.OutlierThreshold;
            return threshold > 0 ? activations => RowInt8.RoundActivations(activations, threshold) : null;
        }
    }

    /// <summary>Reads a linear back.</summary>
    internal static Int8Linear Read(Int8RowOutlierFormat format, LinearShape shape, LinearPartReader part)
    {
        Int8Linear linear = new(shape.Outputs, shape.Inputs, format);
        int tiles = PackedTiles.Count(shape.Outputs);
        PackedRows.Unpack(
            part(Int8RowOutlier.WeightSuffix, (long)tiles * PackedTiles.Bytes(shape.Inputs, 8)), MemoryMarshal.AsBytes(linear.Values.AsSpan()), shape.Inputs, 8);
        ReadOnlySpan<byte> absmax = part(Int8RowOutlier.AbsmaxSuffix, tiles * PackedTiles.Rows * (long)sizeof(float));
        MemoryMarshal.Cast<byte, float>(absmax)[..shape.Outputs].CopyTo(linear.Absmax);
        return linear;
    }

    /// <inheritdoc/>
    internal override Int8Linear Take(RowBlocks rows)
    {
        Int8Linear part = new((int)rows.Rows, Inputs, Format);
        rows.Take(Values, part.Values);
        rows.Take(Absmax, part.Absmax);
        return part;
    }

    /// <inheritdoc/>
    internal override IEnumerable<LinearPart> Parts()
    {
        int tiles = PackedTiles.Count(Outputs);
        float[] absmax = new float[tiles * PackedTiles.Rows];
        Absmax.CopyTo(absmax, 0);
        yield return new(
            Int8RowOutlier.WeightSuffix, ElementType.I8, [tiles, PackedTiles.Bytes(Inputs, 8)], PackedRows.Pack(MemoryMarshal.AsBytes(Values.AsSpan()).ToArray(), Outputs, Inputs, 8));
        yield return new(Int8RowOutlier.AbsmaxSuffix, ElementType.F32, [tiles, PackedTiles.Rows], MemoryMarshal.AsBytes<float>(absmax).ToArray());
    }

    /// <inheritdoc/>
    protected override void DequantizeRow(int row, Span<float> target)
    {
        for (int k = 0; k < Inputs; k++) target[k] = Int8RowOutlier.Dequantize(Values[(row * Inputs) + k], Absmax[row]);
    }
}
