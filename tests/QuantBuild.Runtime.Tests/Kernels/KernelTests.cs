using System.Runtime.InteropServices;
using QuantBuild.Kernels;

namespace QuantBuild.Runtime.Tests.Kernels;

public unsafe class KernelTests
{
    private static readonly Workers OneThread = new(1);
    private static readonly Workers ManyThreads = new(5);

    public static TheoryData<int, int, int, bool, bool> Formats
    {
        get
        {
            TheoryData<int, int, int, bool, bool> formats = [];
            foreach (int bits in new[] { 2, 3, 4, 8 })
            {
                foreach ((int inputs, int groupSize) in new[] { (256, 16), (256, 32), (256, 128), (256, -1), (48, 16), (144, 48), (100, -1), (33, -1), (7, -1) })
                {
                    foreach (bool symmetric in new[] { false, true })
                    {
                        foreach (bool ordered in new[] { false, true }) formats.Add(bits, inputs, groupSize, symmetric, ordered);
                    }
                }
            }

            return formats;
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void A_quantized_product_is_that_of_the_dequantized_weights(int bits, int inputs, int groupSize, bool symmetric, bool ordered)
    {
        const int outputs = 37;
        Random random = new(bits * inputs);
        QuantizedLinear linear = TestArtifact.Round(
            Floats(random, outputs * inputs), outputs, inputs, new TestArtifact.Rounding(bits, groupSize, symmetric, ordered));
        double[] weights = TestArtifact.Dequantize(linear);
        using Pinned<byte> packed = new(linear.Packed());
        using Pinned<Half> scales = new(linear.Scales);
        using Pinned<byte> zeros = new([.. linear.Zeros.Select(z => (byte)z)]);
        using Pinned<int> order = new(linear.Order ?? []);
        IntAffineParts parts = new(packed.Address, scales.Address, symmetric ? 0 : zeros.Address, ordered ? order.Address : 0);
        WeightMatrix matrix = Matrix(linear, parts);

        foreach (int tokens in new[] { 1, 2, 3, 8 }) AssertProduct(matrix, weights, outputs, inputs, tokens, random);
        if (!ordered) AssertScalarProduct(linear, matrix, weights, random);
    }

    [Theory]
    [InlineData(ElementType.F32, 256)]
    [InlineData(ElementType.F32, 37)]
    [InlineData(ElementType.F16, 256)]
    [InlineData(ElementType.F16, 45)]
    [InlineData(ElementType.BF16, 256)]
    [InlineData(ElementType.BF16, 3)]
    public void A_float_product_is_that_of_its_weights(ElementType type, int inputs)
    {
        const int outputs = 19;
        Random random = new(inputs);
        float[] values = Floats(random, outputs * inputs);
        byte[] bytes = type switch
        {
            ElementType.F32 => MemoryMarshal.AsBytes(values.AsSpan()).ToArray(),
            ElementType.F16 => MemoryMarshal.AsBytes(values.Select(v => (Half)v).ToArray().AsSpan()).ToArray(),
            _ => MemoryMarshal.AsBytes(values.Select(v => (ushort)(BitConverter.SingleToUInt32Bits(v) >> 16)).ToArray().AsSpan()).ToArray(),
        };
        double[] exact = type switch
        {
            ElementType.F32 => [.. values.Select(v => (double)v)],
            ElementType.F16 => [.. values.Select(v => (double)(Half)v)],
            _ => [.. values.Select(v => (double)BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(v) & 0xFFFF0000))],
        };
        using Pinned<byte> weight = new(bytes);
        WeightMatrix matrix = type switch
        {
            ElementType.F32 => new FloatMatrix<F32Element>(outputs, inputs, weight.Address),
            ElementType.F16 => new FloatMatrix<F16Element>(outputs, inputs, weight.Address),
            _ => new FloatMatrix<BF16Element>(outputs, inputs, weight.Address),
        };
        foreach (int tokens in new[] { 1, 4, 7 }) AssertProduct(matrix, exact, outputs, inputs, tokens, random);
    }

    [Fact]
    public void Every_finite_half_is_read_exactly()
    {
        Half[] halves = [.. Enumerable.Range(0, 65536).Select(i => BitConverter.UInt16BitsToHalf((ushort)i)).Where(Half.IsFinite)];
        using Pinned<Half> source = new(halves);
        FloatMatrix<F16Element> matrix = new(1, halves.Length, source.Address);
        float[] read = new float[matrix.PaddedInputs];
        fixed (float* target = read) matrix.ReadRow(0, target);
        Assert.Equal(halves.Select(h => BitConverter.SingleToInt32Bits((float)h)), read.Take(halves.Length).Select(BitConverter.SingleToInt32Bits));
    }

    [Fact]
    public void Threads_do_not_change_a_product()
    {
        const int outputs = 523;
        const int inputs = 1024;
        Random random = new(3);
        using Pinned<float> weight = new(Floats(random, outputs * inputs));
        FloatMatrix<F32Element> matrix = new(outputs, inputs, weight.Address);
        foreach (int tokens in new[] { 1, 2, 64 })
        {
            Activations x = new(tokens, inputs);
            for (int t = 0; t < tokens; t++) Floats(random, inputs).CopyTo(x.Span(t));
            Assert.Equal(Multiply(matrix, x, tokens, OneThread), Multiply(matrix, x, tokens, ManyThreads));
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(1000, 16)]
    [InlineData(1001, 16)]
    [InlineData(15, 16)]
    [InlineData(0, 4)]
    public void Workers_do_every_item_once(int count, int granularity)
    {
        int[] done = new int[count];
        ManyThreads.For(count, granularity, 1 << 20, (from, to) =>
        {
            Assert.Equal(0, from % granularity);
            for (int i = from; i < to; i++) Interlocked.Increment(ref done[i]);
        });
        Assert.All(done, times => Assert.Equal(1, times));
    }

    private static WeightMatrix Matrix(QuantizedLinear l, IntAffineParts parts) => l.Bits switch
    {
        2 => new IntAffineMatrix<TwoBits>(l.Outputs, l.Inputs, l.GroupSize, parts),
        3 => new IntAffineMatrix<ThreeBits>(l.Outputs, l.Inputs, l.GroupSize, parts),
        4 => new IntAffineMatrix<FourBits>(l.Outputs, l.Inputs, l.GroupSize, parts),
        _ => new IntAffineMatrix<EightBits>(l.Outputs, l.Inputs, l.GroupSize, parts),
    };

    private static void AssertProduct(WeightMatrix matrix, double[] weights, int outputs, int inputs, int tokens, Random random)
    {
        Activations x = new(tokens + 1, inputs);
        for (int t = 0; t <= tokens; t++) Floats(random, inputs).CopyTo(x.Span(t));
        float[] y = Multiply(matrix, x, tokens, ManyThreads);
        for (int t = 0; t < tokens; t++) AssertRow(weights, outputs, inputs, x.Span(t), y.AsSpan(t * outputs, outputs));
    }

    private static void AssertScalarProduct(QuantizedLinear linear, WeightMatrix matrix, double[] weights, Random random)
    {
        Activations x = new(1, linear.Inputs);
        Floats(random, linear.Inputs).CopyTo(x.Span(0));
        float[] y = new float[linear.Outputs];
        fixed (float* target = y)
        {
            switch (matrix)
            {
                case IntAffineMatrix<TwoBits> two: two.MultiplyVectorScalar(0, linear.Outputs, x.Row(0), target); break;
                case IntAffineMatrix<ThreeBits> three: three.MultiplyVectorScalar(0, linear.Outputs, x.Row(0), target); break;
                case IntAffineMatrix<FourBits> four: four.MultiplyVectorScalar(0, linear.Outputs, x.Row(0), target); break;
                case IntAffineMatrix<EightBits> eight: eight.MultiplyVectorScalar(0, linear.Outputs, x.Row(0), target); break;
            }
        }

        AssertRow(weights, linear.Outputs, linear.Inputs, x.Span(0), y);
    }

    private static void AssertRow(double[] weights, int outputs, int inputs, ReadOnlySpan<float> x, ReadOnlySpan<float> y)
    {
        for (int n = 0; n < outputs; n++)
        {
            double expected = 0;
            double magnitude = 0;
            for (int k = 0; k < inputs; k++)
            {
                double term = weights[(n * inputs) + k] * x[k];
                expected += term;
                magnitude += Math.Abs(term);
            }

            // A few roundings of float32, relative to what was summed.
            Assert.Equal(expected, y[n], 1e-6 * magnitude);
        }
    }

    private static float[] Multiply(WeightMatrix matrix, Activations x, int tokens, Workers workers)
    {
        float[] y = new float[tokens * matrix.Outputs];
        float[] gathered = new float[tokens * matrix.PaddedInputs];
        fixed (float* target = y) matrix.Multiply(x, 0, target, matrix.Outputs, tokens, gathered, workers);
        return y;
    }

    private static float[] Floats(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)((2 * random.NextDouble()) - 1))];

    /// <summary>An array that does not move.</summary>
    private sealed class Pinned<T>(T[] values) : IDisposable
    {
        private GCHandle handle = GCHandle.Alloc(values, GCHandleType.Pinned);

        public IntPtr Address => handle.AddrOfPinnedObject();

        public void Dispose() => handle.Free();
    }
}
