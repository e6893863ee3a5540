using QuantBuild.Kernels;

namespace QuantBuild;

/// <summary>A linear in the format <see cref="Int8RowOutlier"/>.</summary>
/// <param name="OutlierThreshold">Activations of at least this magnitude stay in floating point; 0 keeps all.</param>
public sealed record Int8RowOutlierFormat(double OutlierThreshold) : LayerFormat
{
    internal override void Verify(SafetensorsFile file, LinearShape linear)
    {
        if (!(OutlierThreshold >= 0)) throw Artifact.Malformed(file, $"{linear.Name} has the outlier threshold {OutlierThreshold}, expected at least 0");
        Artifact.Find(file, linear.Name + Int8RowOutlier.WeightSuffix, [ElementType.I8], [linear.Outputs, IntAffine.PaddedInputs(linear.Inputs)]);
        Artifact.Find(file, linear.Name + Int8RowOutlier.AbsmaxSuffix, [ElementType.F32], [linear.Outputs]);
    }

    internal override WeightMatrix Open(LinearShape linear, Func<string, IntPtr> tensor) => new Int8RowOutlierMatrix(
        linear.Outputs,
        linear.Inputs,
        (float)OutlierThreshold,
        tensor(linear.Name + Int8RowOutlier.WeightSuffix),
        tensor(linear.Name + Int8RowOutlier.AbsmaxSuffix));
}
