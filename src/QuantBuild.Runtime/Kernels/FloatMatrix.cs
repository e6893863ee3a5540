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
    /// <summary>[outputs, inputs].</summary>
    public IntPtr Weight => weight;

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

    /// <summary>Each product is summed in one order, whatever the number of tokens: a token's result is the same alone and among others.</summary>
    protected override void MultiplyFloats(float* x, long xStride, int tokens, int from, int to, float* y, long yStride)
    {
        for (int row = from; row < to; row++)
        {
            int t = 0;
            for (; t <= tokens - 3; t += 3) Three(Row(row), x + (t * xStride), xStride, y + (t * yStride) + row, yStride);
            for (; t < tokens; t++) y[(t * yStride) + row] = One(Row(row), x + (t * xStride));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private float One(byte* source, float* x)
    {
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

        return AddRest(Vector256.Sum((s0 + s1) + (s2 + s3)), source, x, k);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Three(byte* source, float* x, long xStride, float* y, long yStride)
    {
        float* x1 = x + xStride, x2 = x1 + xStride;
        Vector256<float> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector256<float> b0 = default, b1 = default, b2 = default, b3 = default;
        Vector256<float> c0 = default, c1 = default, c2 = default, c3 = default;
        int k = 0;
        for (; k <= Inputs - 32; k += 32)
        {
            byte* p = source + ((long)k * TElement.Size);
            Vector256<float> w = TElement.Load(p);
            a0 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x + k), a0);
            b0 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x1 + k), b0);
            c0 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x2 + k), c0);
            w = TElement.Load(p + (8 * TElement.Size));
            a1 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x + k + 8), a1);
            b1 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x1 + k + 8), b1);
            c1 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x2 + k + 8), c1);
            w = TElement.Load(p + (16 * TElement.Size));
            a2 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x + k + 16), a2);
            b2 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x1 + k + 16), b2);
            c2 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x2 + k + 16), c2);
            w = TElement.Load(p + (24 * TElement.Size));
            a3 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x + k + 24), a3);
            b3 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x1 + k + 24), b3);
            c3 = Vector256.MultiplyAddEstimate(w, Vector256.Load(x2 + k + 24), c3);
        }

        y[0] = AddRest(Vector256.Sum((a0 + a1) + (a2 + a3)), source, x, k);
        y[yStride] = AddRest(Vector256.Sum((b0 + b1) + (b2 + b3)), source, x1, k);
        y[2 * yStride] = AddRest(Vector256.Sum((c0 + c1) + (c2 + c3)), source, x2, k);
    }

    private float AddRest(float sum, byte* source, float* x, int k)
    {
        for (; k < Inputs; k++) sum += TElement.LoadOne(source + ((long)k * TElement.Size)) * x[k];
        return sum;
    }
}
