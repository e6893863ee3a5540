using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>A quantized linear, unpacked, in one of the formats that an artifact holds.</summary>
public abstract class QuantizedLinear
{
    /// <summary>Creates the part that all formats share.</summary>
    /// <param name="outputs">N, the rows of the weight.</param>
    /// <param name="inputs">K, the columns of the weight.</param>
    protected QuantizedLinear(int outputs, int inputs) => (Outputs, Inputs) = (outputs, inputs);

    /// <summary>N, the rows of the weight.</summary>
    public int Outputs { get; }

    /// <summary>K, the columns of the weight.</summary>
    public int Inputs { get; }

    /// <summary>What the kernels make of the linear's activations before the product, or <see langword="null"/> where they take them as they are.</summary>
    internal virtual Func<torch.Tensor, torch.Tensor>? ActivationRounding => null;

    /// <summary>The weight that the values stand for, float32 [N, K], inputs in the model's order.</summary>
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

    /// <summary>The tensors of the linear as an artifact holds them.</summary>
    internal abstract IEnumerable<LinearPart> Parts();

    /// <summary>Some of its outputs as a linear of their own, every value as it is.</summary>
    /// <param name="rows">Which rows; this linear has as many as they are of.</param>
    /// <returns>The linear; <see langword="null"/> where values of other rows share a scale with these, so that they cannot be taken apart.</returns>
    internal abstract QuantizedLinear? Take(RowBlocks rows);

    /// <summary>Writes the weights that a row's values stand for.</summary>
    protected abstract void DequantizeRow(int row, Span<float> target);
}

/// <summary>One tensor of a quantized linear.</summary>
/// <param name="Suffix">What follows the linear's name in the tensor's.</param>
/// <param name="Type">Its elements.</param>
/// <param name="Shape">Its sizes.</param>
/// <param name="Bytes">Its bytes.</param>
internal sealed record LinearPart(string Suffix, ElementType Type, long[] Shape, byte[] Bytes);

/// <summary>The bytes of one tensor of a quantized linear.</summary>
/// <param name="suffix">What follows the linear's name in the tensor's.</param>
/// <param name="length">How many bytes there have to be.</param>
/// <exception cref="InvalidDataException">There are more or fewer, or they are damaged.</exception>
internal delegate ReadOnlySpan<byte> LinearPartReader(string suffix, long length);

/// <summary>Which format a specification gives a linear, and which class reads it.</summary>
internal static class LinearFormats
{
    /// <summary>The format that a method's values are stored in.</summary>
    /// <param name="spec">How the linear is quantized.</param>
    /// <param name="linear">Which one.</param>
    public static LayerFormat Of(QuantizationSpec spec, LinearShape linear) => spec.Method switch
    {
        QuantizationMethod.Nf4 => new Codebook4Format(Codebook.Nf4, spec.BlockSize, spec.DoubleQuantization),
        QuantizationMethod.Fp4 => new Codebook4Format(Codebook.Fp4, spec.BlockSize, spec.DoubleQuantization),
        QuantizationMethod.Mxfp4 => new Codebook4Format(Codebook.Mxfp4, spec.GroupSize, DoubleQuantized: false),
        QuantizationMethod.Int8 => new Int8RowOutlierFormat(spec.OutlierThreshold),
        _ => new IntAffineFormat(
            spec.Bits,
            spec.GroupSize == QuantizationSpec.PerChannel ? linear.Inputs : spec.GroupSize,
            spec.Symmetric,
            Ordered: spec is { Method: QuantizationMethod.Gptq, ActOrder: true, StaticGroups: false }),
    };

    /// <summary>Reads a linear back.</summary>
    public static QuantizedLinear Read(LayerFormat format, LinearShape linear, LinearPartReader part) => format switch
    {
        Codebook4Format codebook => CodebookLinear.Read(codebook, linear, part),
        Int8RowOutlierFormat int8 => Int8Linear.Read(int8, linear, part),
        IntAffineFormat affine => AffineLinear.Read(affine, linear, part),
        _ => throw new InvalidDataException(format.ToString()),
    };
}
