using System.Collections.Concurrent;
using QuantBuild.Cuda.Decoding;
using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;
using QuantBuild.Decoding;
using QuantBuild.Kernels;
using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests.Decoding;

/// <summary>Experts on a device beside what the processor gives for each token of each.</summary>
public sealed unsafe class ExpertTests : IDisposable
{
    private const int Hidden = 96, Width = 160, Most = 300;

    // A step, as many as the kernel for few takes and more, and a prompt.
    private static readonly int[] Tokens = [1, 3, 8, 9, 40, Most];

    private readonly TemporaryFolder folder = new();
    private readonly Random random = new(3);

    public void Dispose() => folder.Dispose();

    /// <summary>Of each token the experts of highest score, the first of equal ones, with the processor's shares; each of their slots in one run.</summary>
    [Theory]
    [InlineData(4, 2, true, 8)]
    [InlineData(8, 8, false, 9)]
    [InlineData(33, 1, false, 8)]
    [InlineData(128, 8, true, 9)]
    [InlineData(200, 32, true, 7)]
    public void Tokens_go_to_the_experts_of_highest_score(int experts, int each, bool normalizes, int major)
    {
        using Artifact artifact = Artifact.Open(TestModel.Write(folder.File("m"), Config(4, 2, 16, 16), _ => null));
        DecoderConfig config = artifact.Config with { Experts = experts, ExpertsPerToken = each, NormalizesExperts = normalizes };
        using TestGpu gpu = Gpu(new EmulatedDeviceOptions { Major = major, Minor = major == 7 ? 5 : 0 });
        using CudaDevice device = new(gpu.Driver(), 0);
        KernelLibrary kernels = new(device);
        DeviceArena arena = new(device);
        ExpertRouting routing = new(kernels, arena, config, Most);
        IntPtr scores = arena.Take((long)Most * experts * sizeof(float)), y = arena.Take((long)Most * config.HiddenSize * sizeof(float)), given = arena.Take((long)Most * each * config.HiddenSize * sizeof(float));
        DeviceMlp floats = new(new DeviceLinears(kernels, [new LinearGroup { Layout = default, Inputs = 1 }]), new DeviceLinears(kernels, [new LinearGroup { Layout = default, Inputs = 1 }]), 1);
        foreach (int tokens in Tokens)
        {
            // Of so few values that there are equal ones.
            float[] values = [.. Enumerable.Range(0, tokens * experts).Select(_ => random.Next(-40, 40) / 8f)];
            Write(device, scores, values);
            ExpertRuns runs = routing.Route(scores, tokens, floats);
            int[] slots = Read<int>(device, runs.Slots, 2 * runs.SlotCount), ran = Read<int>(device, runs.Runs, 3 * runs.RunCount);
            float[] right = new float[tokens * experts];
            values.CopyTo(right, 0);
            for (int t = 0; t < tokens; t++) Decoder.Choose(config, right.AsSpan(t * experts, experts));
            (int Token, int Expert)[] expected =
                [.. Enumerable.Range(0, experts).SelectMany(expert => Enumerable.Range(0, tokens).Where(t => right[(t * experts) + expert] > 0).Select(t => (t, expert)))];
            Assert.Equal(expected, slots.Chunk(2).Select(slot => (slot[0], slot[1])));
            int next = 0;
            foreach (int[] run in ran.Chunk(3).TakeWhile(run => run[2] > 0))
            {
                Assert.Equal(next, run[1]);
                Assert.InRange(run[2], 1, runs.RunTokens);
                Assert.All(expected[next..(next + run[2])], slot => Assert.Equal(run[0], slot.Expert));
                // Only the last run of an expert is not full.
                if (run[2] < runs.RunTokens && next + run[2] < expected.Length) Assert.NotEqual(run[0], expected[next + run[2]].Expert);
                next += run[2];
            }

            Assert.Equal(expected.Length, next);
            Assert.All(ran.Chunk(3).SkipWhile(run => run[2] > 0), run => Assert.Equal(0, run[2]));

            float[] gave = Numbers(runs.SlotCount * config.HiddenSize), mixed = new float[tokens * config.HiddenSize];
            Write(device, given, gave);
            for (int slot = 0; slot < expected.Length; slot++)
            {
                (int token, int expert) = expected[slot];
                for (int k = 0; k < config.HiddenSize; k++) mixed[(token * config.HiddenSize) + k] += right[(token * experts) + expert] * gave[(slot * config.HiddenSize) + k];
            }

            routing.Mix(given, tokens, 0, 0, y);
            Near(mixed, Read<float>(device, y, mixed.Length), 1e-6, $"{tokens} tokens, mixed");
        }

        Assert.Empty(gpu.Violations);
    }

    /// <summary>A router that gives no numbers ends in no numbers, as on the processor, and in nothing worse.</summary>
    [Fact]
    public void Scores_that_are_no_numbers_make_outputs_that_are_none()
    {
        using Artifact artifact = Artifact.Open(TestModel.Write(folder.File("m"), Config(4, 2, 16, 16), _ => null));
        using TestGpu gpu = Gpu(new EmulatedDeviceOptions());
        using CudaDevice device = new(gpu.Driver(), 0);
        KernelLibrary kernels = new(device);
        DeviceArena arena = new(device);
        const int tokens = 4, width = 16;
        ExpertRouting routing = new(kernels, arena, artifact.Config, tokens);
        IntPtr scores = arena.Take(4 * tokens * sizeof(float)), given = arena.Take(2 * tokens * width * sizeof(float)), y = arena.Take(tokens * width * sizeof(float));
        DeviceLinears floats = new(kernels, [new LinearGroup { Layout = default, Inputs = 1 }]);
        // What is not a number has a sign, which differs between processors.
        float positive = BitConverter.UInt32BitsToSingle(0x7fc00000), negative = BitConverter.UInt32BitsToSingle(0xffc00000);
        Write(device, scores, [positive, negative, positive, negative, 1, float.NegativeInfinity, 2, 0, 1, negative, 2, 0, -0.0f, 0, -1, -0.0f]);
        Write(device, given, Numbers(2 * tokens * width));
        ExpertRuns runs = routing.Route(scores, tokens, new DeviceMlp(floats, floats, 1));
        Assert.Equal([0, 1, 0, 2, 1, 2, 0, 1], Read<int>(device, runs.Slots, 4 * tokens).Chunk(2).OrderBy(slot => slot[0]).Select(slot => slot[1]));
        routing.Mix(given, tokens, 0, 0, y);
        float[][] mixed = [.. Read<float>(device, y, tokens * width).Chunk(width)];
        Assert.All(mixed[0].Concat(mixed[2]), value => Assert.True(float.IsNaN(value)));
        Assert.All(mixed[1].Concat(mixed[3]), value => Assert.True(float.IsFinite(value)));
        Assert.Empty(gpu.Violations);
    }

    /// <summary>Formats of the experts in turn: packed alike, unlike, with an order of columns each, with outliers, and not packed at all.</summary>
    public static TheoryData<string, string, bool> Formats { get; } = new()
    {
        { "int4 g32 zeros", "f32", false },
        { "int4 g32 zeros ordered", "f32", false },
        { "int3 g32; int4 g32 zeros ordered; int4 g32 zeros; nf4 64 nested", "f32", false },
        { "int8row 1.5; int2 g16 zeros; f32", "f32", false },
        { "mxfp4 32", "f32", false },
        { "f32", "f16", false },
        { "f32; int8 g32 ordered", "bf16", false },
        { "int4 g32 zeros ordered; nf4 64; int8row 0", "f32", true },
    };

    [Theory]
    [MemberData(nameof(Formats))]
    public void Experts_give_the_products_of_the_processor(string formats, string floats, bool floatActivations)
    {
        const int experts = 6, each = 2;
        string[] names = formats.Split("; ");
        // gate and up of an expert are unlike too.
        LayerFormat? Of(LinearShape linear) => linear.Name.Contains(".experts.")
            ? TestModel.Format(names[(int.Parse(linear.Name.Split('.')[^2]) + (linear.Name.EndsWith("up_proj", StringComparison.Ordinal) ? 1 : 0)) % names.Length], linear)
            : null;
        string path = TestModel.Write(folder.File("m"), Config(experts, each, Hidden, Width), Of, floats: floats switch { "f16" => ElementType.F16, "bf16" => ElementType.BF16, _ => ElementType.F32 });
        using Artifact artifact = Artifact.Open(path);
        ConcurrentDictionary<string, bool> launched = [];
        foreach (EmulatedDeviceOptions options in (EmulatedDeviceOptions[])[new() { Major = 9, Multiprocessors = 2, SharedMemoryPerBlockOptin = 227 << 10 }, new() { Major = 7, Minor = 5, SharedMemoryPerBlockOptin = 64 << 10 }])
        {
            using TestGpu gpu = new(new EmulatedGpuOptions { Devices = [options], CheckRaces = true, CheckUninitialised = true, LaunchFault = (_, name) => launched.TryAdd(name, true) ? 0 : 0 });
            Compare(gpu, artifact, floatActivations);
        }

        // Those for few tokens, and those for many.
        string[] expected = floatActivations ? ["multiply_float4"] : formats == "f32" ? [$"multiply_{floats}_runs"] : ["multiply", "multiply_64x64"];
        Assert.Subset(launched.Keys.ToHashSet(), expected.ToHashSet());
    }

    private void Compare(TestGpu gpu, Artifact artifact, bool floatActivations)
    {
        DecoderConfig config = artifact.Config;
        using CudaDevice device = new(gpu.Driver(), 0);
        KernelLibrary kernels = new(device);
        using DeviceWeights weights = new(artifact, device, kernels, floatActivations);
        LayerWeights source = new DecoderWeights(artifact).Layers[0];
        foreach (MlpWeights mlp in source.Mlps) mlp.Up.Bias = Numbers(Width);
        bool hasOutliers = artifact.Manifest.Layers.Values.Any(format => format is Int8RowOutlierFormat { OutlierThreshold: > 0 });
        DeviceActivations activations = new(device, config, new PlacementPlan(1, HasHead: false, Most), hasOutliers, weights.Orders, kernels);
        DeviceLayer layer = new(config, 0, source, weights, activations);
        DeviceMlp experts = layer.Experts!;
        foreach (int tokens in Tokens)
        {
            Activations x = new(tokens, Hidden);
            for (int t = 0; t < tokens; t++)
            {
                foreach (ref float value in x.Span(t)) value = (float)((2 * random.NextDouble()) - 1) * (random.Next(50) == 0 ? 3 : 1);
                device.CopyTo(activations.Normed + (nint)((long)t * Hidden * sizeof(float)), x.Row(t), Hidden * sizeof(float));
            }

            Write(device, activations.Scores, Numbers(tokens * config.Experts));
            ExpertRuns runs = activations.Routing!.Route(activations.Scores, tokens, experts);
            (int Token, int Expert)[] slots = [.. Read<int>(device, runs.Slots, 2 * runs.SlotCount).Chunk(2).Select(slot => (slot[0], slot[1]))];
            experts.GateUp.Multiply(activations.Normed, gathers: true, runs, activations.Input, isRounded: false);
            Activations between = new(slots.Length, Width);
            float[] gate = Read<float>(device, activations.Gate, slots.Length * Width), up = Read<float>(device, activations.Up, slots.Length * Width);
            for (int slot = 0; slot < slots.Length; slot++) gate.AsSpan(slot * Width, Width).CopyTo(between.Span(slot));
            experts.Down.Multiply(activations.Gate, gathers: false, runs, activations.Input, isRounded: false);
            float[] down = Read<float>(device, activations.ExpertOutput, slots.Length * Hidden);
            Assert.True(gpu.Violations.Count == 0, $"{tokens} tokens: {string.Join(Environment.NewLine, gpu.Violations.Take(3))}");
            for (int slot = 0; slot < slots.Length; slot++)
            {
                (int token, int expert) = slots[slot];
                string where = $"{tokens} tokens, slot {slot} of expert {expert}";
                MlpWeights mlp = source.Mlps[expert];
                Near(OnProcessor(mlp.Gate!, x, token, floatActivations), gate[(slot * Width)..((slot + 1) * Width)], 1e-5, where + ", gate");
                Near(OnProcessor(mlp.Up, x, token, floatActivations), up[(slot * Width)..((slot + 1) * Width)], 1e-5, where + ", up");
                Near(OnProcessor(mlp.Down, between, slot, floatActivations), down[(slot * Hidden)..((slot + 1) * Hidden)], 1e-5, where + ", down");
            }
        }
    }

    private static string Config(int experts, int each, int hidden, int width) => $$"""
        {"architectures": ["MixtralForCausalLM"], "hidden_size": {{hidden}}, "intermediate_size": {{width}}, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
         "max_position_embeddings": 512, "vocab_size": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": null, "num_local_experts": {{experts}}, "num_experts_per_tok": {{each}}}
        """;

    private static TestGpu Gpu(EmulatedDeviceOptions device) => new(new EmulatedGpuOptions { Devices = [device], CheckRaces = true, CheckUninitialised = true });

    private static float[] OnProcessor(WeightMatrix matrix, Activations x, int row, bool floatActivations)
    {
        LinearInput input = new(1, matrix.Inputs);
        if (input.Begin(floatActivations && matrix.Form.Outliers == 0 ? matrix.FloatForm : matrix.Form, x, row, 1)) input.Prepare(0, 1);
        float[] products = new float[matrix.Outputs];
        fixed (float* target = products) matrix.Multiply(input, 0, matrix.Outputs, target, matrix.Outputs);
        return products;
    }

    private static void Near(float[] right, float[] found, double tolerance, string where)
    {
        float largest = right.Max(Math.Abs);
        int worst = Enumerable.Range(0, right.Length).MaxBy(i => Math.Abs(right[i] - found[i]));
        Assert.True(Math.Abs(right[worst] - found[worst]) <= tolerance * largest, $"{where}: number {worst} is {found[worst]}, expected {right[worst]}; the largest is {largest}");
    }

    private static void Write(CudaDevice device, IntPtr to, float[] values)
    {
        fixed (float* from = values) device.CopyTo(to, from, (long)values.Length * sizeof(float));
        device.Synchronize();
    }

    private static T[] Read<T>(CudaDevice device, IntPtr from, int count)
        where T : unmanaged
    {
        T[] values = new T[count];
        fixed (T* to = values) device.CopyFrom(to, from, (long)count * sizeof(T));
        device.Synchronize();
        return values;
    }

    private float[] Numbers(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() - 0.5))];
}
