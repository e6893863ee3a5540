using QuantBuild.Kernels;

namespace QuantBuild;

/// <summary>A linear in the format <see cref="Int8RowOutlier"/>.</summary>
/// <param name="OutlierThreshold">Activations of at least this magnitude stay in floating point; 0 keeps all.</param>
public sealed record Int8RowOutlierFormat(double OutlierThreshold) : LayerFormat
{
    internal override void Verify(SafetensorsFile file, LinearShape linear)
    {
        if (!(OutlierThreshold >= 0)) throw Artifact.Malformed(file, $"{linear.Name} has the outlier threshold {OutlierThreshold}, expected at least 0");
        Artifact.Find(file, linear.Name + Int8RowOutlier.WeightSuffix, [ElementType.I8], [PackedTiles.Count(linear.Outputs), PackedTiles.Bytes(linear.Inputs, 8)]);
        Artifact.Find(file, linear.Name + Int8RowOutlier.AbsmaxSuffix, [ElementType.F32], [PackedTiles.Count(linear.Outputs), PackedTiles.Rows]);
    }

    internal override WeightMatrix Open(LinearShape linear, Func<string, IntPtr> tensor) => PackedKernels.Create<SignedBytes, RowScales>(
        linear,
        tensor(linear.Name + Int8RowOutlier.WeightSuffix),
        default,
        new RowScales(tensor(linear.Name + Int8RowOutlier.AbsmaxSuffix)),
        new InputForm(PackedKernels.LargestSegment, 0, (float)OutlierThreshold));
}
