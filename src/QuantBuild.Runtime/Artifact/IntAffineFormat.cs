using System.Runtime.InteropServices;
using QuantBuild.Kernels;

namespace QuantBuild;

/// <summary>A linear in the format <see cref="IntAffine"/>.</summary>
/// <param name="Bits">Bits per weight.</param>
/// <param name="GroupSize">Consecutive packed columns that share a scale; the number of inputs where a row is one group.</param>
/// <param name="Symmetric">Whether zero points are 2^(bits-1) and not stored.</param>
/// <param name="Ordered">Whether the columns are permuted, with the order stored.</param>
public sealed record IntAffineFormat(int Bits, int GroupSize, bool Symmetric, bool Ordered) : LayerFormat
{
    internal override void Verify(SafetensorsFile file, LinearShape linear)
    {
        string name = linear.Name;
        if (!QuantizationSpec.SupportedBits.Contains(Bits))
        {
            throw Artifact.Malformed(file, $"{name} has {Bits} bits, expected one of {string.Join(", ", QuantizationSpec.SupportedBits)}");
        }

        bool groupSizeFits = GroupSize == linear.Inputs || (GroupSize >= 16 && GroupSize % 16 == 0 && linear.Inputs % GroupSize == 0);
        if (!groupSizeFits)
        {
            throw Artifact.Malformed(file, $"{name} has groups of {GroupSize}, expected {linear.Inputs} or a multiple of 16 that divides it");
        }

        long groups = linear.Inputs / GroupSize, tiles = PackedTiles.Count(linear.Outputs);
        Artifact.Find(file, name + IntAffine.WeightSuffix, [ElementType.U8], [tiles, PackedTiles.Bytes(linear.Inputs, Bits)]);
        Artifact.Find(file, name + IntAffine.ScalesSuffix, [ElementType.F16], [tiles, groups, PackedTiles.Rows]);
        if (!Symmetric) Artifact.Find(file, name + IntAffine.ZerosSuffix, [ElementType.U8], [tiles, groups, PackedTiles.Rows]);
        if (Ordered) VerifyOrder(file, Artifact.Find(file, name + IntAffine.OrderSuffix, [ElementType.I32], [linear.Inputs]));
    }

    internal override WeightMatrix Open(LinearShape linear, Func<string, IntPtr> tensor)
    {
        int segment = SegmentInputs(linear.Inputs);
        GroupScales scales = new(
            tensor(linear.Name + IntAffine.ScalesSuffix),
            Symmetric ? 0 : tensor(linear.Name + IntAffine.ZerosSuffix),
            1 << (Bits - 1),
            Bits == 8 ? EightBits.Offset : 0,
            linear.Inputs / GroupSize,
            GroupSize / segment);
        IntPtr weight = tensor(linear.Name + IntAffine.WeightSuffix);
        InputForm form = new(segment, Ordered ? tensor(linear.Name + IntAffine.OrderSuffix) : 0, 0);
        return Bits switch
        {
            2 => PackedKernels.Create<TwoBits, GroupScales>(linear, weight, default, scales, form),
            3 => PackedKernels.Create<ThreeBits, GroupScales>(linear, weight, default, scales, form),
            4 => PackedKernels.Create<FourBits, GroupScales>(linear, weight, default, scales, form),
            _ => PackedKernels.Create<EightBits, GroupScales>(linear, weight, default, scales, form),
        };
    }

    // The largest part of a group that is rounded well with one scale: activations have outliers.
    private int SegmentInputs(int inputs)
    {
        if (GroupSize == inputs) return PackedKernels.LargestSegment;
        int[] sizes = [PackedKernels.LargestSegment, 96, 64, 32, 16];
        return sizes.First(size => GroupSize % size == 0);
    }

    // The kernels read inputs where the order points: it must be a permutation.
    private static void VerifyOrder(SafetensorsFile file, TensorEntry entry)
    {
        ReadOnlySpan<int> order = MemoryMarshal.Cast<byte, int>(file.Bytes(entry));
        bool[] seen = new bool[order.Length];
        foreach (int input in order)
        {
            if ((uint)input >= (uint)seen.Length || seen[input])
            {
                throw Artifact.Malformed(file, $"{entry.Name} is not a permutation: {input} is out of range or appears twice among {order.Length} inputs");
            }

            seen[input] = true;
        }
    }
}
