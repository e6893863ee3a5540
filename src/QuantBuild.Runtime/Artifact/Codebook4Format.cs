using QuantBuild.Kernels;

namespace QuantBuild;

/// <summary>A linear in the format <see cref="Codebook4"/>.</summary>
/// <param name="Codebook">The table.</param>
/// <param name="BlockSize">Consecutive weights that share an absolute maximum: a power of two from 32 to 4,096.</param>
/// <param name="DoubleQuantized">Whether the absolute maxima are quantized.</param>
public sealed record Codebook4Format(Codebook Codebook, int BlockSize, bool DoubleQuantized) : LayerFormat
{
    /// <summary>Whether blocks have powers of two in place of absolute maxima.</summary>
    internal bool HasPowers => Codebook == Codebook.Mxfp4;

    /// <summary>The table as kernels have it.</summary>
    internal float[] KernelTable => [.. Codebook4.Values(Codebook).ToArray().Select(value => value * Codebook4.KernelFactor(Codebook))];

    internal override void Verify(SafetensorsFile file, LinearShape linear)
    {
        (string name, int outputs, int inputs) = (linear.Name, linear.Outputs, linear.Inputs);
        if (!Enum.IsDefined(Codebook)) throw Artifact.Malformed(file, $"{name} has the codebook {Codebook}, expected one of {string.Join(", ", Enum.GetNames<Codebook>())}");
        if (!Codebook4.IsBlockSize(BlockSize)) throw Artifact.Malformed(file, $"{name} has blocks of {BlockSize}, expected a power of two from 32 to 4096");

        if (HasPowers && DoubleQuantized) throw Artifact.Malformed(file, $"{name} has the codebook {Codebook} and quantized maxima, which it has not");
        long blocks = Codebook4.Blocks(outputs, inputs, BlockSize);
        Artifact.Find(file, name + Codebook4.WeightSuffix, [ElementType.U8], [PackedTiles.Count(outputs), PackedTiles.Bytes(inputs, Codebook4.Bits)]);
        if (HasPowers)
        {
            Artifact.Find(file, name + Codebook4.ExponentSuffix, [ElementType.U8], [blocks]);
            return;
        }

        Artifact.Find(file, name + Codebook4.AbsmaxSuffix, [DoubleQuantized ? ElementType.U8 : ElementType.F32], [blocks]);
        if (!DoubleQuantized) return;
        Artifact.Find(file, name + Codebook4.NestedAbsmaxSuffix, [ElementType.F32], [Codebook4.NestedBlocks(outputs, inputs, BlockSize)]);
        Artifact.Find(file, name + Codebook4.OffsetSuffix, [ElementType.F32], [1]);
    }

    internal override unsafe WeightMatrix Open(LinearShape linear, Func<string, IntPtr> tensor)
    {
        int segment = SegmentInputs(linear.Inputs);
        BlockScales scales = new(
            tensor(linear.Name + (HasPowers ? Codebook4.ExponentSuffix : Codebook4.AbsmaxSuffix)),
            HasPowers,
            DoubleQuantized ? tensor(linear.Name + Codebook4.NestedAbsmaxSuffix) : 0,
            DoubleQuantized ? *(float*)tensor(linear.Name + Codebook4.OffsetSuffix) : 0,
            linear,
            BlockSize,
            Math.Max(1, segment));
        return PackedKernels.Create<TableEntries, BlockScales>(
            linear, tensor(linear.Name + Codebook4.WeightSuffix), new TableEntries(KernelTable), scales, new InputForm(segment, 0, 0));
    }

    // Blocks that are parts of rows begin and end at the same inputs in all rows of a tile; others at any multiple of 32, or anywhere.
    private int SegmentInputs(int inputs)
    {
        if (inputs % BlockSize == 0) return Math.Min(BlockSize, PackedKernels.LargestSegment);
        return inputs % PackedTiles.ChunkInputs == 0 ? PackedTiles.ChunkInputs : 0;
    }
}
