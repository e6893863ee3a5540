using System.Runtime.InteropServices;
using QuantBuild.Kernels;

namespace QuantBuild.Runtime.Tests.Kernels;

/// <summary>Products of every format, with every kind of instructions that this processor has, against float64.</summary>
public unsafe class KernelTests
{
    private const int Outputs = 37;

    // Up to and beyond the tokens that are taken together.
    private static readonly int[] TokenCounts = [1, 2, 3, 16, 17, 35];

    public static TheoryData<int, int, int, bool, bool> Formats
    {
        get
        {
            TheoryData<int, int, int, bool, bool> formats = [];
            foreach (int bits in new[] { 2, 3, 4, 8 })
            {
                foreach ((int inputs, int groupSize) in new[]
                {
                    (256, 16), (256, 32), (256, 128), (512, 256), (384, 192), (256, -1), (48, 16), (144, 48), (100, -1), (33, -1), (7, -1), (320, -1), (192, -1), (200, -1),
                })
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

    public static TheoryData<Codebook, int, int, bool> Codebooks
    {
        get
        {
            TheoryData<Codebook, int, int, bool> formats = [];
            // Rows that are whole blocks, rows that are whole chunks of 32 but not whole blocks, and rows that are neither.
            foreach ((int inputs, int blockSize) in new[] { (256, 64), (256, 32), (512, 256), (96, 64), (96, 4096), (100, 32), (100, 64), (33, 32), (7, 32), (7, 128) })
            {
                foreach (Codebook codebook in new[] { Codebook.Nf4, Codebook.Fp4 })
                {
                    foreach (bool nested in new[] { false, true }) formats.Add(codebook, inputs, blockSize, nested);
                }
            }

            return formats;
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void A_product_of_integers_is_that_of_the_weights_they_stand_for(int bits, int inputs, int groupSize, bool symmetric, bool ordered)
    {
        Random random = new(bits * inputs);
        QuantizedLinear linear = TestArtifact.Round(
            Floats(random, Outputs * inputs), Outputs, inputs, new TestArtifact.Rounding(bits, groupSize, symmetric, ordered));
        // All integers that there are, -128 among the signed ones.
        random.NextBytes(linear.Values);
        for (int i = 0; i < linear.Values.Length; i++) linear.Values[i] &= (byte)((1 << bits) - 1);
        double[] weights = TestArtifact.Dequantize(linear);
        IntAffineFormat format = new(bits, linear.GroupSize, symmetric, ordered);
        Dictionary<string, Array> tensors = new()
        {
            ["x.weight"] = linear.Packed(), ["x.scales"] = linear.TileScales(), ["x.zeros"] = linear.TileZeros(), ["x.order"] = linear.Order ?? [],
        };
        AssertProducts(format, inputs, tensors, weights, linear.Order, rounding: null, exactBytes: true);
    }

    [Theory]
    [MemberData(nameof(Codebooks))]
    public void A_product_of_table_entries_is_that_of_the_weights_they_stand_for(Codebook codebook, int inputs, int blockSize, bool nested)
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

        Dictionary<string, Array> tensors = new()
        {
            ["x.weight"] = QuantizedLinear.Pack(values, Outputs, inputs, 4), ["x.absmax"] = nested ? codes : absmax, ["x.nested_absmax"] = nestedAbsmax, ["x.offset"] = offset,
        };
        AssertProducts(new Codebook4Format(codebook, blockSize, nested), inputs, tensors, weights, order: null, rounding: null, exactBytes: false);
    }

    [Theory]
    [InlineData(256, 32)]
    [InlineData(256, 64)]
    [InlineData(96, 64)]
    [InlineData(100, 32)]
    [InlineData(7, 32)]
    public void A_product_of_MXFP4_rounds_no_weight_also_in_bytes(int inputs, int blockSize)
    {
        Random random = new(inputs + blockSize);
        byte[] values = new byte[Outputs * inputs];
        random.NextBytes(values);
        for (int i = 0; i < values.Length; i++) values[i] &= 15;
        byte[] exponents = [.. Enumerable.Range(0, (values.Length + blockSize - 1) / blockSize).Select(_ => (byte)random.Next(124, 131))];
        double[] magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
        double[] weights = [.. values.Select((value, i) => (value < 8 ? 1 : -1) * magnitudes[value & 7] * Math.Pow(2, exponents[i / blockSize] - 127))];
        Dictionary<string, Array> tensors = new() { ["x.weight"] = QuantizedLinear.Pack(values, Outputs, inputs, 4), ["x.exponent"] = exponents };
        AssertProducts(new Codebook4Format(Codebook.Mxfp4, blockSize, false), inputs, tensors, weights, order: null, rounding: null, exactBytes: true);
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
        byte[] values = new byte[Outputs * inputs];
        float[] absmax = [.. Floats(random, Outputs), .. new float[3]];
        double[] weights = new double[Outputs * inputs];
        for (int i = 0; i < weights.Length; i++)
        {
            sbyte value = (sbyte)random.Next(-127, 128);
            values[i] = (byte)value;
            weights[i] = value * (double)absmax[i / inputs] / 127;
        }

        double[] Rounded(double[] x)
        {
            double largest = x.Where(v => Math.Abs(v) < threshold).Select(Math.Abs).DefaultIfEmpty(1).Max();
            return [.. x.Select(v => Math.Abs(v) >= threshold ? v : Math.Round(v * 127 / largest) * largest / 127)];
        }

        Dictionary<string, Array> tensors = new() { ["x.weight"] = QuantizedLinear.Pack(values, Outputs, inputs, 8), ["x.absmax"] = absmax };
        AssertProducts(new Int8RowOutlierFormat(threshold), inputs, tensors, weights, order: null, threshold > 0 ? Rounded : null, exactBytes: true);
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
        Random random = new(inputs);
        float[] values = Floats(random, Outputs * inputs);
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
        using PinnedArrays pinned = new();
        WeightMatrix matrix = type switch
        {
            ElementType.F32 => new FloatMatrix<F32Element>(Outputs, inputs, pinned.Address(bytes)),
            ElementType.F16 => new FloatMatrix<F16Element>(Outputs, inputs, pinned.Address(bytes)),
            _ => new FloatMatrix<BF16Element>(Outputs, inputs, pinned.Address(bytes)),
        };
        foreach (int tokens in TokenCounts)
        {
            Activations x = Random(random, tokens, inputs);
            float[] y = Multiply(matrix, matrix.Form, x, tokens, out _);
            for (int t = 0; t < tokens; t++)
            {
                AssertRow(exact, inputs, Doubles(x.Span(t)), y.AsSpan(t * Outputs, Outputs), 1e-6);
                Activations alone = new(1, inputs);
                x.Span(t).CopyTo(alone.Span(0));
                Assert.Equal(y.AsSpan(t * Outputs, Outputs).ToArray(), Multiply(matrix, matrix.Form, alone, 1, out _));
            }
        }
    }

    [Fact]
    public void Every_finite_half_is_read_exactly()
    {
        Half[] halves = [.. Enumerable.Range(0, 65536).Select(i => BitConverter.UInt16BitsToHalf((ushort)i)).Where(Half.IsFinite)];
        using PinnedArrays pinned = new();
        FloatMatrix<F16Element> matrix = new(1, halves.Length, pinned.Address(halves));
        float[] read = new float[matrix.PaddedInputs];
        fixed (float* target = read) matrix.ReadRows(0, 1, target);
        Assert.Equal(halves.Select(h => BitConverter.SingleToInt32Bits((float)h)), read.Take(halves.Length).Select(BitConverter.SingleToInt32Bits));
    }

    [Fact]
    public void An_input_that_is_not_a_number_makes_outputs_that_are_not()
    {
        QuantizedLinear linear = TestArtifact.Round(Floats(new Random(1), Outputs * 256), Outputs, 256, new TestArtifact.Rounding(4, 128, false, false));
        using PinnedArrays pinned = new();
        WeightMatrix matrix = new IntAffineFormat(4, 128, false, false).Open(
            new LinearShape("x", 256, Outputs),
            name => name == "x.weight" ? pinned.Address(linear.Packed()) : name == "x.scales" ? pinned.Address(linear.TileScales()) : pinned.Address(linear.TileZeros()));
        Activations x = Random(new Random(2), 1, 256);
        x.Span(0)[200] = float.NaN;
        Assert.All(Multiply(matrix, matrix.Form, x, 1, out _), y => Assert.True(float.IsNaN(y)));
    }

    /// <summary>Checks rows and products of a weight in a format, by all instructions.</summary>
    private static void AssertProducts(
        LayerFormat format, int inputs, Dictionary<string, Array> tensors, double[] weights, int[]? order, Func<double[], double[]>? rounding, bool exactBytes)
    {
        using PinnedArrays pinned = new();
        LinearShape shape = new("x", inputs, Outputs);
        WeightMatrix[] matrices = [.. AllInstructions(format.Open(shape, name => pinned.Address(tensors[name])))];
        Assert.True(matrices.Length >= 2);
        AssertRows(matrices[0], weights, inputs, order);
        Random random = new(inputs);
        foreach (int tokens in TokenCounts)
        {
            Activations x = Random(random, tokens, inputs);
            float[] floats = Multiply(matrices[0], matrices[0].FloatForm, x, tokens, out _);
            for (int t = 0; t < tokens; t++)
            {
                double[] exact = Doubles(x.Span(t));
                AssertRow(weights, inputs, rounding is null ? exact : rounding(exact), floats.AsSpan(t * Outputs, Outputs), 2e-6);
            }

            float[] bytes = Multiply(matrices[0], matrices[0].Form, x, tokens, out LinearInput read);
            for (int t = 0; t < tokens; t++)
            {
                double[] rounded = Read(read, t, x.Span(t), order);
                if (rounding is not null) Assert.All(rounding(Doubles(x.Span(t))).Zip(rounded), pair => Assert.Equal(pair.First, pair.Second, 1e-6));
                // A table entry is rounded to a byte: by up to half of 1/127 of its block's maximum.
                AssertRow(weights, inputs, rounded, bytes.AsSpan(t * Outputs, Outputs), exactBytes ? 2e-6 : 0.02);
                // A token's result is the same to the last bit when it is alone.
                Activations alone = new(1, inputs);
                x.Span(t).CopyTo(alone.Span(0));
                Assert.Equal(bytes.AsSpan(t * Outputs, Outputs).ToArray(), Multiply(matrices[0], matrices[0].Form, alone, 1, out _));
            }

            foreach (WeightMatrix other in matrices.Skip(1)) Assert.Equal(bytes, Multiply(other, other.Form, x, tokens, out _));
        }
    }

    /// <summary>The kernel that the processor gets, and the same with each other kind of instructions that it has.</summary>
    private static IEnumerable<WeightMatrix> AllInstructions(WeightMatrix chosen)
    {
        yield return chosen;
        foreach (Type dot in new[] { typeof(Avx2DotProduct), typeof(AvxVnniDotProduct), typeof(ArmDotProduct), typeof(PortableDotProduct) })
        {
            if (!(bool)dot.GetProperty(nameof(PortableDotProduct.IsSupported))!.GetValue(null)!) continue;
            Type[] types = chosen.GetType().GetGenericArguments();
            object copy = System.Runtime.CompilerServices.RuntimeHelpers.GetUninitializedObject(typeof(PackedMatrix<,,>).MakeGenericType(types[0], types[1], dot));
            // The fields are the same in each.
            for (Type from = chosen.GetType(), to = copy.GetType(); from != typeof(object); from = from.BaseType!, to = to.BaseType!)
            {
                foreach (System.Reflection.FieldInfo field in from.GetFields(System.Reflection.BindingFlags.Instance | System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Public | System.Reflection.BindingFlags.DeclaredOnly))
                {
                    to.GetField(field.Name, System.Reflection.BindingFlags.Instance | System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Public)!.SetValue(copy, field.GetValue(chosen));
                }
            }

            yield return (WeightMatrix)copy;
        }
    }

    /// <summary>What the kernel reads of a token: the outliers, and the bytes times their scales.</summary>
    private static double[] Read(LinearInput input, int token, ReadOnlySpan<float> x, int[]? order)
    {
        double[] result = Doubles(x);
        int segment = input.Form.SegmentInputs;
        if (segment == 0) return result;
        int first = token / 16 * 16, count = Math.Min(16, input.Tokens - first), place = token - first;
        for (int j = 0; j < x.Length; j++)
        {
            double scale = input.Scales(first)[(j / segment * count) + place];
            int q = input.Bytes(first)[(((j / 32 * count) + place) * 32) + (j % 32)];
            int k = order?[j] ?? j;
            double rounded = q * scale;
            foreach ((int outlier, float value) in input.Outliers(token)) if (outlier == j) rounded = value;
            Assert.Equal(result[k], rounded, (0.5001 * scale) + 1e-12);
            result[k] = rounded;
        }

        return result;
    }

    private static void AssertRows(WeightMatrix matrix, double[] weights, int inputs, int[]? order)
    {
        float[] rows = new float[8 * matrix.PaddedInputs];
        for (int first = 0; first < Outputs; first += 8)
        {
            int count = Math.Min(8, Outputs - first);
            fixed (float* target = rows) matrix.ReadRows(first, count, target);
            for (int r = 0; r < count; r++)
            {
                Span<float> row = rows.AsSpan(r * matrix.PaddedInputs, matrix.PaddedInputs);
                for (int j = 0; j < inputs; j++) Assert.Equal(weights[((first + r) * inputs) + (order?[j] ?? j)], row[j], 1e-5 + (1e-6 * Math.Abs(row[j])));
                Assert.All(row[inputs..].ToArray(), padding => Assert.Equal(0, padding));
                float[] alone = new float[matrix.PaddedInputs];
                fixed (float* target = alone) matrix.ReadRows(first + r, 1, target);
                Assert.Equal(row.ToArray(), alone);
            }
        }
    }

    private static float[] Multiply(WeightMatrix matrix, InputForm form, Activations x, int tokens, out LinearInput input)
    {
        input = new LinearInput(tokens, matrix.Inputs);
        if (input.Begin(form, x, 0, tokens)) input.Prepare(0, tokens);
        float[] y = new float[tokens * matrix.Outputs];
        // In parts, as threads do it.
        fixed (float* target = y)
        {
            for (int from = 0; from < matrix.Outputs; from += 16) matrix.Multiply(input, from, Math.Min(matrix.Outputs, from + 16), target, matrix.Outputs);
        }

        return y;
    }

    private static void AssertRow(double[] weights, int inputs, double[] x, ReadOnlySpan<float> y, double tolerance)
    {
        for (int n = 0; n < y.Length; n++)
        {
            double expected = 0, magnitude = 0;
            for (int k = 0; k < inputs; k++)
            {
                expected += weights[(n * inputs) + k] * x[k];
                magnitude += Math.Abs(weights[(n * inputs) + k] * x[k]);
            }

            // A few roundings of float32, relative to what was summed.
            Assert.Equal(expected, y[n], (tolerance * magnitude) + 1e-5);
        }
    }

    private static Activations Random(Random random, int tokens, int inputs)
    {
        Activations x = new(tokens, inputs);
        for (int t = 0; t < tokens; t++) Floats(random, inputs).CopyTo(x.Span(t));
        return x;
    }

    private static double[] Doubles(ReadOnlySpan<float> values)
    {
        double[] result = new double[values.Length];
        for (int i = 0; i < result.Length; i++) result[i] = values[i];
        return result;
    }

    private static float[] Floats(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)((2 * random.NextDouble()) - 1))];
}

/// <summary>Arrays that do not move.</summary>
internal sealed class PinnedArrays : IDisposable
{
    private readonly List<GCHandle> handles = [];

    public IntPtr Address(Array values)
    {
        GCHandle handle = GCHandle.Alloc(values, GCHandleType.Pinned);
        handles.Add(handle);
        return handle.AddrOfPinnedObject();
    }

    public void Dispose()
    {
        foreach (GCHandle handle in handles) handle.Free();
    }
}
