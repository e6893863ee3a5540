using System.Collections.Concurrent;
using System.Globalization;
using QuantBuild.Quantization.Tests.Families;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>Several devices that share the work, against one. Each of them is the CPU: the same code, with weights and sums of its own.</summary>
public sealed class DevicesTests
{
    private readonly QuantizedSample sample = QuantizedSample.Shared;

    private const int Context = 32, Windows = 100, Width = 24;

    [Theory]
    [InlineData(QuantizationMethod.Rtn)]
    [InlineData(QuantizationMethod.Nf4)]
    [InlineData(QuantizationMethod.Int8)]
    public void What_needs_no_text_is_the_same_to_the_byte(QuantizationMethod method)
    {
        QuantizationSpec spec = new() { Method = method };
        using TemporaryFolder one = new(), other = new();
        WorkerRequest alone = QuantizedSample.RequestIn(one.Path, spec) with { ModelPath = SampleFiles.TwoLayers }, shared = QuantizedSample.RequestIn(other.Path, spec) with { ModelPath = SampleFiles.TwoLayers };
        ModelQuantizer.Run(alone, _ => { }, CancellationToken.None);
        ModelQuantizer.Run(shared, OnCpu.Times(3), null, _ => { }, CancellationToken.None);
        Assert.Equal(File.ReadAllBytes(alone.ArtifactPath), File.ReadAllBytes(shared.ArtifactPath));
    }

    [Theory]
    [InlineData(QuantizationMethod.Gptq, true, false)]
    [InlineData(QuantizationMethod.Gptq, false, true)]
    [InlineData(QuantizationMethod.Awq, true, false)]
    [InlineData(QuantizationMethod.AutoRound, true, true)]
    public void What_is_calibrated_is_as_good_and_what_is_measured_of_the_float_model_is_the_same(QuantizationMethod method, bool trueSequential, bool ahead)
    {
        QuantizationSpec spec = new() { Method = method, TrueSequential = trueSequential, Override = "lm_head: Bits=4", CalibrationSamples = 24, CalibrationContext = 128, EvaluationContext = 128, Iterations = 10 };
        using TemporaryFolder one = new(), other = new();
        QualityFigures Quality(TemporaryFolder folder, TorchDevice? device) => ModelQuantizer.Run(
            QuantizedSample.RequestIn(folder.Path, spec) with { ModelPath = SampleFiles.TwoLayers, CalibrationFile = SampleFiles.Calibration, EvaluationFile = sample.EvaluationFile },
            device, DeviceUse.Cpu with { WorksAhead = ahead }, _ => { }, CancellationToken.None).Quality!;
        QualityFigures alone = Quality(one, null), shared = Quality(other, OnCpu.Times(3));
        Assert.Equal(alone.FloatPerplexity, shared.FloatPerplexity, alone.FloatPerplexity * 1e-9);
        Assert.InRange(shared.Perplexity / alone.Perplexity, 0.995, 1.005);
        Assert.InRange(shared.KlDivergence / alone.KlDivergence, 0.9, 1.1);
        Assert.All(alone.LayerErrors.Zip(shared.LayerErrors), pair => Assert.InRange(pair.Second / pair.First, 0.95, 1.05));
    }

    [Theory]
    [InlineData("Mixtral", QuantizationMethod.Gptq, true)]
    [InlineData("Mixtral", QuantizationMethod.Gptq, false)]
    [InlineData("Qwen3Moe", QuantizationMethod.Awq, true)]
    [InlineData("GPT-NeoX-sequential", QuantizationMethod.Awq, true)]
    public void Other_families_are_as_good(string name, QuantizationMethod method, bool trueSequential)
    {
        using FamilyModel model = FamilyModel.Of(name);
        QuantizationSpec spec = new() { Method = method, Bits = 8, GroupSize = 16, TrueSequential = trueSequential, CalibrationContext = 32 };
        float[] Logits(TorchDevice? device)
        {
            using LanguageModel runtime = LanguageModel.Load(model.Quantize(spec, device).Path, new LoadOptions { FloatActivations = true });
            return runtime.Logits(model.Tokens);
        }

        double Error(float[] logits) => Math.Sqrt(model.Expected.Zip(logits, (expected, actual) => Math.Pow(expected - actual, 2)).Sum() / model.Expected.Sum(expected => expected * expected));
        double alone = Error(Logits(null)), shared = Error(Logits(OnCpu.Times(2)));
        Assert.InRange(shared, 0, 0.06);
        Assert.InRange(shared / alone, 0.5, 2);
    }

    [Theory]
    [InlineData(1, true, false, 32)]
    [InlineData(2, true, false, 32)]
    [InlineData(3, false, false, 64)]
    [InlineData(3, true, true, 32)]
    [InlineData(5, true, false, QuantizationSpec.PerChannel)]
    public void Rows_of_a_weight_are_divided_and_gptq_gives_the_bytes_of_one_device(int count, bool actOrder, bool staticGroups, int groupSize)
    {
        // 4 tiles of 32 rows, of which the last is not full; several blocks of columns.
        const int outputs = 101, inputs = 320;
        Random random = new(21);
        QuantizationSpec spec = new() { Bits = 3, ActOrder = actOrder, StaticGroups = staticGroups, GroupSize = groupSize };
        using torch.Tensor matrix = RandomData.Tensor(RandomData.Hessian(random, inputs, tokens: 500)), weight = RandomData.Tensor(RandomData.Weight(random, outputs, inputs));
        using InverseFactor alone = InverseFactor.Create(matrix, spec, "test");
        AffineLinear expected = Gptq.Quantize(weight, alone, spec);

        Devices devices = new(OnCpu.Times(count).Devices, _ => { });
        using PerDevice<InverseFactor> factors = devices.Copies(InverseFactor.Create(matrix, spec, "test"), (factor, device) => factor.To(device));
        ConcurrentBag<(int Number, RowRange Rows)> shares = [];
        AffineLinear actual = LinearQuantizer.WithFactor(
            outputs,
            spec,
            devices,
            factors,
            (at, rows) =>
            {
                shares.Add((at.Number, rows));
                return weight.narrow(0, rows.First, rows.Count);
            },
            default);

        Assert.Equal(expected.Values, actual.Values);
        Assert.Equal(expected.Scales, actual.Scales);
        Assert.Equal(expected.Zeros, actual.Zeros);
        Assert.Equal(expected.Order, actual.Order);
        (int Number, RowRange Rows)[] inOrder = [.. shares.OrderBy(share => share.Number)];
        Assert.Equal(Enumerable.Range(0, Math.Min(count, 4)), inOrder.Select(share => share.Number));
        Assert.Equal(Enumerable.Range(0, outputs), inOrder.SelectMany(share => Enumerable.Range(share.Rows.First, share.Rows.Count)));
        Assert.InRange(inOrder.Max(share => share.Rows.Count), 1, AffineGrid.Lanes * ((4 + count - 1) / count));
    }

    // What is not the same with several devices is the order of a text's sums; of one part there is only one.
    [Theory]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void Of_a_text_that_one_device_has_alone_gptq_makes_the_same_bytes(bool trueSequential, bool errorCorrection)
    {
        QuantizationSpec spec = new() { TrueSequential = trueSequential, ErrorCorrection = errorCorrection, Override = "lm_head: Bits=4", CalibrationSamples = 2, CalibrationContext = 128 };
        using TemporaryFolder one = new(), other = new();
        WorkerRequest alone = QuantizedSample.RequestIn(one.Path, spec) with { ModelPath = SampleFiles.TwoLayers }, shared = QuantizedSample.RequestIn(other.Path, spec) with { ModelPath = SampleFiles.TwoLayers };
        ModelQuantizer.Run(alone, _ => { }, CancellationToken.None);
        ModelQuantizer.Run(shared, OnCpu.Times(3), null, _ => { }, CancellationToken.None);
        Assert.Equal(File.ReadAllBytes(alone.ArtifactPath), File.ReadAllBytes(shared.ArtifactPath));
    }

    [Fact]
    public void Each_expert_is_divided_too()
    {
        using FamilyModel model = FamilyModel.Of("Mixtral");
        QuantizationSpec spec = new() { GroupSize = 16, CalibrationSamples = 4, CalibrationContext = 32 };
        using SafetensorsFile alone = SafetensorsFile.Open(model.Quantize(spec).Path, "QB0000");
        Dictionary<string, byte[]> expected = alone.Tensors.Values.ToDictionary(tensor => tensor.Name, tensor => alone.Bytes(tensor).ToArray());
        using SafetensorsFile shared = SafetensorsFile.Open(model.Quantize(spec, OnCpu.Times(2)).Path, "QB0000");
        Assert.Equal(expected.Keys, shared.Tensors.Keys);
        Assert.All(expected, tensor => Assert.Equal(tensor.Value, shared.Bytes(shared.Tensors[tensor.Key]).ToArray()));
    }

    [Fact]
    public void A_run_that_is_cancelled_goes_on_and_gives_the_same_bytes()
    {
        QuantizationSpec spec = new() { CalibrationSamples = 8, CalibrationContext = 128 };
        using TemporaryFolder whole = new(), interrupted = new();
        WorkerRequest expected = QuantizedSample.RequestIn(whole.Path, spec), resumed = QuantizedSample.RequestIn(interrupted.Path, spec);
        ModelQuantizer.Run(expected, OnCpu.Times(2), null, _ => { }, CancellationToken.None);
        using CancellationTokenSource cancellation = new();
        Assert.ThrowsAny<OperationCanceledException>(() => ModelQuantizer.Run(
            resumed, OnCpu.Times(2), null, message => { if (message.Text.StartsWith("layer 3", StringComparison.Ordinal)) cancellation.Cancel(); }, cancellation.Token));
        ModelQuantizer.Run(resumed, OnCpu.Times(2), null, _ => { }, CancellationToken.None);
        Assert.Equal(File.ReadAllBytes(expected.ArtifactPath), File.ReadAllBytes(resumed.ArtifactPath));
    }

    [Fact]
    public void A_measurement_for_a_budget_says_the_same()
    {
        using IDisposable noGradient = torch.no_grad();
        using FamilyModel model = FamilyModel.Of("Mixtral");
        using ModelWeights weights = ModelWeights.Open(model.Folder);
        QuantizationPlan plan = new(model.Folder.Config, new QuantizationSpec { TargetBitsPerWeight = 4, GroupSize = 16, Override = "lm_head: Method=Rtn; embed_tokens: Method=Rtn" });
        // Batches of 512 tokens: several.
        TokenWindows windows = new([.. Enumerable.Range(0, 1600).Select(i => model.Tokens[i * 7 % model.Tokens.Length])], 16);
        IReadOnlyDictionary<string, double[]> Measure(Devices devices) => new Sensitivity(plan, weights, devices, ActivationStore.InMemory, CancellationToken.None).Measure(windows);
        IReadOnlyDictionary<string, double[]> alone = Measure(OnCpu.One), shared = Measure(new Devices(OnCpu.Times(2).Devices, _ => { }));
        Assert.Equal(alone.Keys, shared.Keys);
        Assert.All(alone, linear => Assert.All(linear.Value.Zip(shared[linear.Key]), pair => Assert.InRange(pair.Second / pair.First, 1 - 1e-6, 1 + 1e-6)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_hessian_of_shares_is_that_of_the_whole_text_in_float64_and_every_device_has_a_share(int count)
    {
        Devices devices = new(OnCpu.Times(count).Devices, _ => { });
        using HiddenStates states = Embed(devices);
        using PerDevice<Hessian> sums = devices.Each(at => new Hessian(Width, at.Device));
        int[] seen = new int[count];
        states.VisitTokens(
            (_, _, tokens) => tokens.clone().DetachFromDisposeScope(),
            (at, tokens) =>
            {
                seen[at.Number] += (int)tokens.shape[1];
                sums[at].Add(tokens);
            },
            default);
        float[] actual = sums.Together((sum, other) => sum.Add(other)).Matrix.data<float>().ToArray();
        double[] expected = new double[Width * Width];
        for (int batch = 0; batch < states.Count; batch++)
        {
            float[] x = states.Batch(batch).contiguous().data<float>().ToArray();
            for (int t = 0; t < x.Length; t += Width)
            {
                for (int i = 0; i < expected.Length; i++) expected[i] += 2.0 * x[t + (i / Width)] * x[t + (i % Width)];
            }
        }

        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 0.02));
        Assert.Equal(Windows * Context, seen.Sum());
        Assert.InRange(seen.Max() - seen.Min(), 0, 256);
    }

    [Fact]
    public void Where_one_device_has_no_memory_its_batches_alone_become_smaller_and_the_results_are_the_same()
    {
        ConcurrentQueue<string> said = [];
        Devices devices = new([torch.CPU, torch.CPU], text => said.Enqueue(text.ToString(CultureInfo.InvariantCulture)));
        using HiddenStates shared = Embed(devices), alone = Embed(OnCpu.One);
        ConcurrentBag<(int Number, long Windows)> steps = [];
        static torch.Tensor Step(torch.Tensor hidden) => hidden.softmax(-1).cumsum(1);
        shared.Update(
            (at, hidden) =>
            {
                steps.Add((at.Number, hidden.shape[0]));
                return at.Number == 1 && hidden.shape[0] > 4 ? throw OnCpu.OutOfMemory : Step(hidden);
            },
            default);
        alone.Update(Step, default);
        Assert.Equal(Values(alone), Values(shared));
        Assert.Equal(["the memory of cpu ran out: it gets 256 tokens at a time from here on", "the memory of cpu ran out: it gets 128 tokens at a time from here on"], said);
        Assert.Equal(16, steps.Where(step => step.Number == 0).Max(step => step.Windows));
        Assert.Contains((1, 4), steps);
    }

    [Fact]
    public void An_error_of_one_device_is_that_of_the_run_and_ends_the_others()
    {
        Devices devices = new(OnCpu.Times(3).Devices, _ => { });
        QuantBuildException error = new("QB0000", "This one failed.");
        int ended = 0;
        Exception thrown = Assert.ThrowsAny<Exception>(() => devices.Divide<int>(
            [0, 1, 2, 3],
            (at, own, token) =>
            {
                Assert.Equal([.. Enumerable.Range(0, 4).Where(step => step % 3 == at.Number)], own);
                if (at.Number == 1) throw error;
                if (token.WaitHandle.WaitOne(TimeSpan.FromMinutes(1))) Interlocked.Increment(ref ended);
                token.ThrowIfCancellationRequested();
            },
            CancellationToken.None));
        Assert.Same(error, thrown);
        Assert.Equal(2, ended);
    }

    [Fact]
    public void A_cancellation_ends_all_devices()
    {
        Devices devices = new(OnCpu.Times(2).Devices, _ => { });
        // More batches than there are steps at once on any machine.
        using HiddenStates states = Embed(devices, windows: 8000);
        using CancellationTokenSource cancellation = new();
        int steps = 0;
        Assert.ThrowsAny<OperationCanceledException>(() => states.Update(
            (_, hidden) =>
            {
                if (Interlocked.Increment(ref steps) == 2) cancellation.Cancel();
                return hidden.neg();
            },
            cancellation.Token));
        Assert.InRange(steps, 2, states.Count - 1);
    }

    private static HiddenStates Embed(Devices devices, int windows = Windows)
    {
        const int vocabulary = 50;
        using torch.Tensor table = torch.tensor(RandomData.Normal(new Random(5), vocabulary * Width)).view(vocabulary, Width);
        TokenWindows text = new([.. Enumerable.Range(0, windows * Context).Select(i => i * 7 % vocabulary)], Context);
        return HiddenStates.Embed(text, new(table), devices, ActivationStore.InMemory);
    }

    private static float[] Values(HiddenStates states) => [.. Enumerable.Range(0, states.Count).SelectMany(i => states.Batch(i).contiguous().data<float>().ToArray())];
}
