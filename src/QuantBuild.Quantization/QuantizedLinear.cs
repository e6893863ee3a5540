using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// A linear in the format IntAffine, unpacked: <c>W[n, order[j]] = scale[n, j / groupSize] * (value[n, j] - zero[n, j / groupSize])</c>.
/// </summary>
public sealed class QuantizedLinear
{
    /// <summary>Creates a linear of zeros.</summary>
    /// <param name="outputs">N, the rows of the weight.</param>
    /// <param name="inputs">K, the columns of the weight.</param>
    /// <param name="bits">Bits of a value.</param>
    /// <param name="groupSize">Columns that share a scale; divides <paramref name="inputs"/>.</param>
    /// <param name="symmetric">Whether the zero point is always 2^(bits-1).</param>
    public QuantizedLinear(int outputs, int inputs, int bits, int groupSize, bool symmetric)
    {
        (Outputs, Inputs, Bits, GroupSize, Symmetric) = (outputs, inputs, bits, groupSize, symmetric);
        Values = new byte[(long)outputs * inputs];
        Scales = new Half[(long)outputs * Groups];
        Zeros = new byte[(long)outputs * Groups];
    }

    /// <summary>N, the rows of the weight.</summary>
    public int Outputs { get; }

    /// <summary>K, the columns of the weight.</summary>
    public int Inputs { get; }

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

    /// <summary>The weight that the integers stand for, float32 [N, K], inputs in the model's order.</summary>
    /// <param name="device">Where the weight goes.</param>
    public unsafe torch.Tensor Dequantize(torch.Device device)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor weight = torch.empty(Outputs, Inputs, torch.float32);
        fixed (byte* bytes = weight.bytes)
        {
            float* first = (float*)bytes;
            Parallel.For(0, Outputs, row => DequantizeRow(row, new Span<float>(first + ((long)row * Inputs), Inputs)));
        }

        return weight.to(device).MoveToOuterDisposeScope();
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

    /// <summary>Stores a tile's integers of a packed column.</summary>
    internal void SetColumn(int firstRow, int column, ReadOnlySpan<float> values)
    {
        for (int lane = 0; lane < Math.Min(AffineGrid.Lanes, Outputs - firstRow); lane++)
        {
            Values[((long)(firstRow + lane) * Inputs) + column] = (byte)values[lane];
        }
    }

    private void DequantizeRow(int row, Span<float> target)
    {
        ReadOnlySpan<byte> values = Values.AsSpan(row * Inputs, Inputs);
        for (int column = 0; column < Inputs; column++)
        {
            long group = ((long)row * Groups) + (column / GroupSize);
            target[Order is null ? column : Order[column]] = (float)Scales[group] * (values[column] - Zeros[group]);
        }
    }
}
