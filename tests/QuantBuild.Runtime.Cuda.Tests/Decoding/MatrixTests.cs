using System.Collections.Concurrent;
using QuantBuild.Cuda.Decoding;
using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;
using QuantBuild.Decoding;
using QuantBuild.Kernels;
using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests.Decoding;

/// <summary>Products of many tokens beside those of the processor: both round the same input alike and sum the same integers, so that only the order of the float sums differs.</summary>
public sealed unsafe class MatrixTests : IDisposable
{
    private static readonly EmulatedDeviceOptions[] Devices =
    [
        new() { Multiprocessors = 4 },
        new() { Major = 9, Multiprocessors = 1, SharedMemoryPerBlockOptin = 227 << 10 },
        new() { Major = 7, Minor = 5, Multiprocessors = 2, SharedMemoryPerBlockOptin = 64 << 10 },
    ];

    // The least that are many, a tile and a token more or fewer, and more than the largest tile has.
    private static readonly int[] Tokens = [9, 32, 63, 64, 65, 129];

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>Formats with numbers of inputs: segments of all sizes, of which the last slice has few or a part, and more slices than a block's groups bring at a time.</summary>
    public static TheoryData<string, int> Formats { get; } = new()
    {
        { "int4 g128 zeros ordered", 2176 },
        { "int4 g96", 192 },
        { "int4 row zeros", 200 },
        { "int2 g32 zeros", 160 },
        { "int3 g48 zeros", 144 },
        { "int8 g64 zeros", 320 },
        { "nf4 64 nested", 192 },
        { "nf4 128", 384 },
        { "mxfp4 32", 96 },
        { "int8row 1.5", 300 },
    };

    [Theory]
    [MemberData(nameof(Formats))]
    public void Products_of_many_tokens_are_those_of_the_processor(string format, int inputs)
    {
        // Rows of the first linear are no whole tiles, and of the others not even aligned.
        string config = TestArtifact.Config(hidden: inputs, intermediate: 64, layers: 1, heads: 4, kvHeads: 1, headDim: 50, tied: true);
        string path = TestModel.Write(folder.File("m"), config, linear => linear.Name.Contains("self_attn") ? TestModel.Format(format, linear) : null);
        using Artifact artifact = Artifact.Open(path);
        ConcurrentDictionary<string, bool> launched = [];
        foreach (EmulatedDeviceOptions device in Devices)
        {
            using TestGpu gpu = new(new EmulatedGpuOptions { Devices = [device], CheckRaces = true, CheckUninitialised = true, LaunchFault = (_, name) => launched.TryAdd(name, true) ? 0 : 0 });
            Compare(gpu, artifact, inputs);
        }

        foreach (string kernel in new[] { "multiply_128x128", "multiply_64x64", "multiply_64x32" }) Assert.Contains(kernel, launched.Keys);
    }

    /// <summary>On an H200: few tokens are many blocks of few rows, whose warps divide the inputs; prompts are in the largest tiles, which read least.</summary>
    [Theory]
    [InlineData(9, 4096, "multiply_64x32", 1, 64, 256)]
    [InlineData(64, 4096, "multiply_64x64", 1, 64, 256)]
    [InlineData(128, 4096, "multiply_64x64", 2, 64, 256)]
    [InlineData(512, 4096, "multiply_128x128", 4, 32, 256)]
    [InlineData(2048, 22016, "multiply_128x128", 16, 172, 256)]
    public void The_division_follows_tokens_and_rows(int tokens, int rows, string kernel, int tokenBlocks, int rowBlocks, int threads)
    {
        using TestGpu gpu = new(new EmulatedGpuOptions { Devices = [new() { Major = 9, Multiprocessors = 132, SharedMemoryPerBlockOptin = 227 << 10 }] });
        using CudaDevice device = new(gpu.Driver(), 0);
        LinearGroup group = new() { Layout = default, Inputs = 4096, Bits = 4, MatrixBlocks64 = rows / 64, MatrixBlocks128 = rows / 128 };
        MatrixDivision division = MatrixDivision.Choose(group, tokens, segmentHalves: 8, device);
        Assert.Equal((kernel, (tokenBlocks, rowBlocks, 1), threads), (division.Kernel, division.Grid, division.Threads));
        Assert.InRange(division.SharedBytes, 1, device.SharedMemoryOfBlock);
    }

    private static void Compare(TestGpu gpu, Artifact artifact, int inputs)
    {
        int most = Tokens.Max();
        using CudaDevice device = new(gpu.Driver(), 0);
        KernelLibrary kernels = new(device);
        DeviceArena arena = new(device);
        LayerWeights layer = new DecoderWeights(artifact).Layers[0];
        WeightMatrix[] matrices = [layer.Query, layer.Key, layer.Value];
        Random random = new(7);
        layer.Key.Bias = Numbers(random, layer.Key.Outputs);
        layer.Query.Bias = Numbers(random, layer.Query.Outputs);
        LinearShape[] shapes = [.. new[] { "q_proj", "k_proj", "v_proj" }.Select(name => artifact.Config.Linears(0).Single(linear => linear.Name.EndsWith(name, StringComparison.Ordinal)))];
        IntPtr[] products = [.. matrices.Select(matrix => arena.Take((long)most * matrix.Outputs * sizeof(float)))];
        float?[] scales = [null, 0.5f, null];
        float[] residual = Numbers(random, most * layer.Key.Outputs);

        DeviceWeights weights = new(artifact, device, kernels, floatActivations: false);
        DeviceLinears linears = weights.Linears([.. matrices.Select((matrix, i) => new LinearSource(shapes[i], matrix, products[i], matrix.Outputs, scales[i]))]);
        weights.Dispose();
        Activations x = new(most, inputs);
        for (int t = 0; t < most; t++)
        {
            foreach (ref float value in x.Span(t)) value = (float)(2 * random.NextDouble() - 1) * (random.Next(50) == 0 ? 3 : 1);
        }

        IntPtr input = arena.Take((long)most * inputs * sizeof(float));
        for (int t = 0; t < most; t++) device.CopyTo(input + (nint)((long)t * inputs * sizeof(float)), x.Row(t), inputs * sizeof(float));
        RoundedInput rounded = new(kernels, arena, most, (long)most * PackedTiles.PaddedInputs(inputs), hasOutliers: layer.Query.Form.Outliers > 0, weights.Orders);
        foreach (int tokens in Tokens)
        {
            fixed (float* values = residual) device.CopyTo(products[1], values, (long)tokens * layer.Key.Outputs * sizeof(float));
            linears.Multiply(input, tokens, rounded, isRounded: false);
            device.Synchronize();
            Assert.True(gpu.Violations.Count == 0, $"{tokens} tokens: {string.Join(Environment.NewLine, gpu.Violations.Take(3))}");
            for (int i = 0; i < matrices.Length; i++)
            {
                int count = tokens * matrices[i].Outputs;
                float[] found = new float[count];
                fixed (float* values = found) device.CopyFrom(values, products[i], (long)count * sizeof(float));
                device.Synchronize();
                float[] right = OnProcessor(matrices[i], x, tokens);
                if (scales[i] is { } scale) right = [.. right.Select((product, place) => residual[place] + (scale * product))];
                float largest = right.Max(Math.Abs);
                int worst = Enumerable.Range(0, count).MaxBy(place => Math.Abs(right[place] - found[place]));
                Assert.True(
                    Math.Abs(right[worst] - found[worst]) <= 1e-5 * largest,
                    $"{tokens} tokens, linear {i}: product {worst % matrices[i].Outputs} of token {worst / matrices[i].Outputs} is {found[worst]}, expected {right[worst]}; the largest is {largest}");
            }
        }
    }

    private static float[] OnProcessor(WeightMatrix matrix, Activations x, int tokens)
    {
        LinearInput input = new(tokens, matrix.Inputs);
        if (input.Begin(matrix.Form, x, 0, tokens)) input.Prepare(0, tokens);
        float[] products = new float[tokens * matrix.Outputs];
        fixed (float* target = products) matrix.Multiply(input, 0, matrix.Outputs, target, matrix.Outputs);
        return products;
    }

    private static float[] Numbers(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() - 0.5))];
}
