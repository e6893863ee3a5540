using QuantBuild.Kernels;

namespace QuantBuild.Runtime.Tests.Kernels;

public unsafe class CodebookAndInt8KernelTests
{
    private const int Outputs = 37;

    private static readonly Workers Threads = new(3);

    public static TheoryData<Codebook, int, int, bool> Formats
    {
        get
        {
            TheoryData<Codebook, int, int, bool> formats = [];
            // Rows that are whole blocks, rows that are whole runs of 32 but not whole blocks, and rows that are neither.
            foreach ((int inputs, int blockSize) in new[] { (256, 64), (256, 32), (96, 64), (96, 4096), (100, 32), (100, 64), (33, 32), (7, 32), (7, 128) })
            {
                foreach (Codebook codebook in Enum.GetValues<Codebook>())
                {
                    foreach (bool nested in new[] { false, true }) formats.Add(codebook, inputs, blockSize, nested);
                }
            }

            return formats;
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void A_product_of_table_entries_is_that_of_the_dequantized_weights(Codebook codebook, int inputs, int blockSize, bool nested)
    {
        Random random = new(inputs + blockSize);
        byte[] values = new byte[Outputs * inputs];
        random.NextBytes(values);
        for (int i = 0; i < values.Length; i++) values[i] &= 15;
        int blocks = (values.Length + blockSize - 1) / blockSize;
        float[] absmax = Floats(random, blocks), nestedAbsmax = Floats(random, (blocks + 255) / 256), offset = [0.7f];
        byte[] codes = new byte[blocks];
        random.NextBytes(codes);
        double[] weights = new double[values.Length];
        for (int i = 0; i < weights.Length; i++)
        {
            int block = i / blockSize;
            double scale = nested ? (Codebook4.DynamicMap[codes[block]] * (double)nestedAbsmax[block / 256]) + offset[0] : absmax[block];
            weights[i] = Codebook4.Values(codebook)[values[i]] * scale;
        }

        int rowBytes = IntAffine.RowBytes(inputs, 4);
        byte[] packed = new byte[Outputs * rowBytes];
        for (int n = 0; n < Outputs; n++) IntAffine.PackRow(values.AsSpan(n * inputs, inputs), packed.AsSpan(n * rowBytes, rowBytes), 4);
        // Exactly as many bytes as the format has: a read past a block would not be seen here, but a wrong one would.
        fixed (byte* w = packed, c = codes)
        {
            fixed (float* a = absmax, na = nestedAbsmax, o = offset)
            {
                Codebook4Matrix matrix = new(
                    Outputs, inputs, new Codebook4Format(codebook, blockSize, nested), new((IntPtr)w, (IntPtr)(nested ? c : (byte*)a), nested ? (IntPtr)na : 0, nested ? (IntPtr)o : 0));
                AssertRows(matrix, weights, inputs);
                foreach (int tokens in new[] { 1, 2, 8 }) AssertProduct(matrix, weights, inputs, tokens, random, x => x);
                AssertScalar(weights, inputs, random, (x, y) => matrix.MultiplyVectorScalar(0, Outputs, (float*)x, (float*)y));
            }
        }
    }

    [Theory]
    [InlineData(256, 0)]
    [InlineData(256, 0.9)]
    [InlineData(256, 6)]
    [InlineData(100, 0.5)]
    [InlineData(7, 1e-3)]
    public void A_product_of_bytes_rounds_the_activations_below_the_threshold_and_no_others(int inputs, double threshold)
    {
        Random random = new(inputs);
        int stride = IntAffine.PaddedInputs(inputs);
        sbyte[] values = new sbyte[Outputs * stride];
        float[] absmax = Floats(random, Outputs);
        double[] weights = new double[Outputs * inputs];
        for (int i = 0; i < weights.Length; i++)
        {
            sbyte value = (sbyte)random.Next(-127, 128);
            values[(i / inputs * stride) + (i % inputs)] = value;
            weights[i] = value * (double)absmax[i / inputs] / 127;
        }

        double[] Rounded(double[] x)
        {
            double largest = x.Where(v => Math.Abs(v) < threshold).Select(Math.Abs).DefaultIfEmpty(1).Max();
            return [.. x.Select(v => Math.Abs(v) >= threshold ? v : Math.Round(v * 127 / largest) * largest / 127)];
        }

        fixed (sbyte* w = values)
        {
            fixed (float* a = absmax)
            {
                Int8RowOutlierMatrix matrix = new(Outputs, inputs, (float)threshold, (IntPtr)w, (IntPtr)a);
                AssertRows(matrix, weights, inputs);
                foreach (int tokens in new[] { 1, 2, 8 }) AssertProduct(matrix, weights, inputs, tokens, random, Rounded);
                AssertScalar(weights, inputs, random, (x, y) => matrix.MultiplyVectorScalar(0, Outputs, (float*)x, (float*)y));
            }
        }
    }

    private static void AssertRows(WeightMatrix matrix, double[] weights, int inputs)
    {
        float[] row = new float[matrix.PaddedInputs];
        for (int n = 0; n < Outputs; n++)
        {
            fixed (float* target = row) matrix.ReadRow(n, target);
            for (int k = 0; k < inputs; k++) Assert.Equal(weights[(n * inputs) + k], row[k], 1e-6);
            Assert.All(row[inputs..], padding => Assert.Equal(0, padding));
        }
    }

    private static void AssertProduct(WeightMatrix matrix, double[] weights, int inputs, int tokens, Random random, Func<double[], double[]> prepared)
    {
        Activations x = new(tokens, inputs);
        for (int t = 0; t < tokens; t++) Floats(random, inputs).CopyTo(x.Span(t));
        float[] y = new float[tokens * Outputs], room = new float[tokens * matrix.PaddedInputs];
        fixed (float* target = y) matrix.Multiply(x, 0, target, Outputs, tokens, room, Threads);
        for (int t = 0; t < tokens; t++)
        {
            AssertRow(weights, inputs, prepared([.. x.Span(t).ToArray().Select(v => (double)v)]), y.AsSpan(t * Outputs, Outputs));
        }
    }

    private static void AssertScalar(double[] weights, int inputs, Random random, Action<IntPtr, IntPtr> multiply)
    {
        float[] x = Floats(random, inputs), y = new float[Outputs];
        fixed (float* source = x, target = y) multiply((IntPtr)source, (IntPtr)target);
        AssertRow(weights, inputs, [.. x.Select(v => (double)v)], y);
    }

    private static void AssertRow(double[] weights, int inputs, double[] x, ReadOnlySpan<float> y)
    {
        for (int n = 0; n < Outputs; n++)
        {
            double expected = 0, magnitude = 0;
            for (int k = 0; k < inputs; k++)
            {
                expected += weights[(n * inputs) + k] * x[k];
                magnitude += Math.Abs(weights[(n * inputs) + k] * x[k]);
            }

            // A few roundings of float32, relative to what was summed.
            Assert.Equal(expected, y[n], (1e-6 * magnitude) + 1e-30);
        }
    }

    private static float[] Floats(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)((2 * random.NextDouble()) - 1))];
}
