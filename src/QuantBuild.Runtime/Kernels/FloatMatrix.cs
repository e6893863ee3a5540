using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace QuantBuild.Kernels;

/// <summary>How stored floating-point numbers become float32. Exact for every finite number.</summary>
internal unsafe interface IFloatElement
{
    /// <summary>Bytes of an element.</summary>
    static abstract int Size { get; }

    /// <summary>Eight consecutive elements.</summary>
    static abstract Vector256<float> Load(byte* source);

    /// <summary>One element.</summary>
    static abstract float LoadOne(byte* source);
}

/// <summary>float32.</summary>
internal readonly unsafe struct F32Element : IFloatElement
{
    public static int Size => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(byte* source) => Vector256.Load((float*)source);

    public static float LoadOne(byte* source) => Unsafe.ReadUnaligned<float>(source);
}

/// <summary>bfloat16: the upper half of a float32.</summary>
internal readonly unsafe struct BF16Element : IFloatElement
{
    public static int Size => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(byte* source) => (Widen.UShorts((ushort*)source) << 16).AsSingle();

    public static float LoadOne(byte* source) => BitConverter.UInt32BitsToSingle((uint)Unsafe.ReadUnaligned<ushort>(source) << 16);
}

/// <summary>IEEE half precision.</summary>
internal readonly unsafe struct F16Element : IFloatElement
{
    public static int Size => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(byte* source) => Halves.Load((ushort*)source);

    public static float LoadOne(byte* source) => (float)Unsafe.ReadUnaligned<Half>(source);
}

/// <summary>A weight in floating point.</summary>
internal sealed unsafe class FloatMatrix<TElement>(int outputs, int inputs, IntPtr weight) : WeightMatrix(outputs, inputs)
    where TElement : struct, IFloatElement
{
    private byte* Row(int row) => (byte*)weight + ((long)row * Inputs * TElement.Size);

    public override InputForm Form => default;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void ReadRows(int first, int count, float* weights)
    {
        for (int row = first; row < first + count; row++, weights += PaddedInputs)
        {
            byte* source = Row(row);
            int k = 0;
            for (; k <= Inputs - 8; k += 8) TElement.Load(source + (k * TElement.Size)).Store(weights + k);
            for (; k < Inputs; k++) weights[k] = TElement.LoadOne(source + (k * TElement.Size));
            for (; k < PaddedInputs; k++) weights[k] = 0;
        }
    }

    protected override void MultiplyBytes(LinearInput x, int from, int to, float* y, long yStride) =>
        throw new NotSupportedException("A weight in floating point is multiplied with activations in floating point.");

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    protected override void MultiplyVector(float* x, int from, int to, float* y)
    {
        for (int row = from; row < to; row++)
        {
            byte* source = Row(row);
            Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default;
            int k = 0;
            for (; k <= Inputs - 32; k += 32)
            {
                byte* p = source + ((long)k * TElement.Size);
                s0 = Vector256.MultiplyAddEstimate(TElement.Load(p), Vector256.Load(x + k), s0);
                s1 = Vector256.MultiplyAddEstimate(TElement.Load(p + (8 * TElement.Size)), Vector256.Load(x + k + 8), s1);
                s2 = Vector256.MultiplyAddEstimate(TElement.Load(p + (16 * TElement.Size)), Vector256.Load(x + k + 16), s2);
                s3 = Vector256.MultiplyAddEstimate(TElement.Load(p + (24 * TElement.Size)), Vector256.Load(x + k + 24), s3);
            }

            float sum = Vector256.Sum((s0 + s1) + (s2 + s3));
            for (; k < Inputs; k++) sum += TElement.LoadOne(source + ((long)k * TElement.Size)) * x[k];
            y[row] = sum;
        }
    }
}
