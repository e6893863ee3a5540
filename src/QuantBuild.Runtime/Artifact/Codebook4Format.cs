using QuantBuild.Kernels;

namespace QuantBuild;

/// <summary>A linear in the format <see cref="Codebook4"/>.</summary>
/// <param name="Codebook">The table.</param>
/// <param name="BlockSize">Consecutive weights that share an absolute maximum: a power of two from 32 to 4,096.</param>
/// <param name="DoubleQuantized">Whether the absolute maxima are quantized.</param>
public sealed record Codebook4Format(Codebook Codebook, int BlockSize, bool DoubleQuantized) : LayerFormat
{
    internal override void Verify(SafetensorsFile file, LinearShape linear)
    {
        (string name, int outputs, int inputs) = (linear.Name, linear.Outputs, linear.Inputs);
        if (!Enum.IsDefined(Codebook)) throw Artifact.Malformed(file, $"{name} has the codebook {Codebook}, expected one of {string.Join(", ", Enum.GetNames<Codebook>())}");
        if (!Codebook4.IsBlockSize(BlockSize)) throw Artifact.Malformed(file, $"{name} has blocks of {BlockSize}, expected a power of two from 32 to 4096");

        long blocks = Codebook4.Blocks(outputs, inputs, BlockSize);
        Artifact.Find(file, name + Codebook4.WeightSuffix, [ElementType.U8], [outputs, IntAffine.RowBytes(inputs, Codebook4.Bits)]);
        Artifact.Find(file, name + Codebook4.AbsmaxSuffix, [DoubleQuantized ? ElementType.U8 : ElementType.F32], [blocks]);
        if (!DoubleQuantized) return;
        Artifact.Find(file, name + Codebook4.NestedAbsmaxSuffix, [ElementType.F32], [Codebook4.NestedBlocks(outputs, inputs, BlockSize)]);
        Artifact.Find(file, name + Codebook4.OffsetSuffix, [ElementType.F32], [1]);
    }

    internal override WeightMatrix Open(LinearShape linear, Func<string, IntPtr> tensor) => new Codebook4Matrix(
        linear.Outputs,
        linear.Inputs,
        this,
        new Codebook4Parts(
            tensor(linear.Name + Codebook4.WeightSuffix),
            tensor(linear.Name + Codebook4.AbsmaxSuffix),
            DoubleQuantized ? tensor(linear.Name + Codebook4.NestedAbsmaxSuffix) : 0,
            DoubleQuantized ? tensor(linear.Name + Codebook4.OffsetSuffix) : 0));
}
