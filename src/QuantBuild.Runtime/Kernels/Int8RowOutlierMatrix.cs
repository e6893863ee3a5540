using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace QuantBuild.Kernels;

/// <summary>A weight of signed bytes with one scale a row, as <see cref="Int8RowOutlier"/> describes it.</summary>
/// <param name="outputs">Rows.</param>
/// <param name="inputs">Columns.</param>
/// <param name="threshold">Activations of at least this magnitude are not rounded.</param>
/// <param name="weight">[outputs, padded inputs].</param>
/// <param name="absmax">[outputs].</param>
internal sealed unsafe class Int8RowOutlierMatrix(int outputs, int inputs, float threshold, IntPtr weight, IntPtr absmax) : WeightMatrix(outputs, inputs)
{
    protected override bool PreparesActivations => threshold > 0;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadRow(int row, float* weights)
    {
        sbyte* values = Row(row);
        Vector256<float> scale = Vector256.Create(Absmax(row));
        // In the order of Dequantize, so that the two are the same to the last bit.
        Vector256<float> step = Vector256.Create(1f / Int8RowOutlier.Largest);
        for (int k = 0; k < PaddedInputs; k += 8) (Load(values + k) * scale * step).Store(weights + k);
    }

    protected override void Prepare(float* x, float* prepared)
    {
        Int8RowOutlier.RoundActivations(new ReadOnlySpan<float>(x, Inputs), new Span<float>(prepared, Inputs), threshold);
        for (int k = Inputs; k < PaddedInputs; k++) prepared[k] = 0;
    }

    protected override void MultiplyVector(int from, int to, float* x, float* y)
    {
        if (!Vector128.IsHardwareAccelerated)
        {
            MultiplyVectorScalar(from, to, x, y);
            return;
        }

        for (int row = from; row < to; row++) y[row] = Dot(Row(row), x) * Absmax(row) * (1f / Int8RowOutlier.Largest);
    }

    /// <summary>The same product without vectors: for processors that have none, and to test the others against.</summary>
    internal void MultiplyVectorScalar(int from, int to, float* x, float* y)
    {
        for (int row = from; row < to; row++)
        {
            sbyte* values = Row(row);
            float sum = 0;
            for (int k = 0; k < Inputs; k++) sum += values[k] * x[k];
            y[row] = sum * Absmax(row) * (1f / Int8RowOutlier.Largest);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private float Dot(sbyte* values, float* x)
    {
        Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default;
        for (int k = 0; k < PaddedInputs; k += IntAffine.BlockInputs)
        {
            s0 = Vector256.MultiplyAddEstimate(Load(values + k), Vector256.Load(x + k), s0);
            s1 = Vector256.MultiplyAddEstimate(Load(values + k + 8), Vector256.Load(x + k + 8), s1);
            s2 = Vector256.MultiplyAddEstimate(Load(values + k + 16), Vector256.Load(x + k + 16), s2);
            s3 = Vector256.MultiplyAddEstimate(Load(values + k + 24), Vector256.Load(x + k + 24), s3);
        }

        return Vector256.Sum((s0 + s1) + (s2 + s3));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Load(sbyte* source)
    {
        if (Avx2.IsSupported) return Vector256.ConvertToSingle(Avx2.ConvertToVector256Int32(source));
        Vector128<short> values = Vector128.WidenLower(Vector128.CreateScalar(*(ulong*)source).AsSByte());
        return Vector256.ConvertToSingle(Vector256.Create(Vector128.WidenLower(values), Vector128.WidenUpper(values)));
    }

    private sbyte* Row(int row) => (sbyte*)weight + ((long)row * PaddedInputs);

    private float Absmax(int row) => ((float*)absmax)[row];
}
