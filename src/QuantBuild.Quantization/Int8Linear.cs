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
        int rowBytes = IntAffine.PaddedInputs(shape.Inputs);
        ReadOnlySpan<sbyte> rows = MemoryMarshal.Cast<byte, sbyte>(part(Int8RowOutlier.WeightSuffix, (long)shape.Outputs * rowBytes));
        for (int row = 0; row < shape.Outputs; row++)
        {
            rows.Slice(row * rowBytes, shape.Inputs).CopyTo(linear.Values.AsSpan(row * shape.Inputs));
        }

        MemoryMarshal.Cast<byte, float>(part(Int8RowOutlier.AbsmaxSuffix, shape.Outputs * (long)sizeof(float))).CopyTo(linear.Absmax);
        return linear;
    }

    /// <inheritdoc/>
    internal override IEnumerable<LinearPart> Parts()
    {
        int rowBytes = IntAffine.PaddedInputs(Inputs);
        byte[] rows = new byte[(long)Outputs * rowBytes];
        for (int row = 0; row < Outputs; row++)
        {
            MemoryMarshal.AsBytes(Values.AsSpan(row * Inputs, Inputs)).CopyTo(rows.AsSpan(row * rowBytes));
        }

        yield return new(Int8RowOutlier.WeightSuffix, ElementType.I8, [Outputs, rowBytes], rows);
        yield return new(Int8RowOutlier.AbsmaxSuffix, ElementType.F32, [Outputs], MemoryMarshal.AsBytes<float>(Absmax).ToArray());
    }

    /// <inheritdoc/>
    protected override void DequantizeRow(int row, Span<float> target)
    {
        for (int k = 0; k < Inputs; k++) target[k] = Int8RowOutlier.Dequantize(Values[(row * Inputs) + k], Absmax[row]);
    }
}
