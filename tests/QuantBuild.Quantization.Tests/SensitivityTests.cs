using QuantBuild.Quantization.Tests.Families;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>What a linear is expected to cost, against what it costs.</summary>
public sealed class SensitivityTests
{
    // Of a KL divergence that is next to none the measurement says little.
    private const double Nothing = 1e-5;

    public SensitivityTests() => NativeLibraries.Load();

    [Fact]
    public void The_expected_loss_of_each_linear_alone_is_near_the_measured_one()
    {
        using IDisposable noGradient = torch.no_grad();
        ModelFolder model = ModelFolder.Open(SampleFiles.Model);
        using ModelWeights weights = ModelWeights.Open(model);
        TextTokenizer tokenizer = TextTokenizer.Load(File.ReadAllBytes(model.TokenizerFile), model.TokenizerFile);
        QuantizationSpec spec = new() { TargetBitsPerWeight = 3.5m, Override = "lm_head: Method=Rtn; embed_tokens: Method=Rtn" };
        QuantizationPlan plan = new(model.Config, spec);
        // Short ones: the measurement takes so many windows, whatever their length.
        const int length = 128;
        TokenWindows calibration = new(TokenWindows.ReadCalibration(SampleFiles.Calibration, model.Config, tokenizer), length);
        IReadOnlyDictionary<string, double[]> expected = Measure(plan, weights, calibration);
        Assert.Equal(plan.Open.Select(linear => linear.Name).Order(), expected.Keys.Order());

        // Text that the measurement did not see.
        TokenWindows evaluation = new([.. TokenWindows.ReadCalibration(SampleFiles.Evaluation, model.Config, tokenizer).Take(1024)], length);
        using FloatStreams floats = new(weights, model.Config, evaluation);
        (LinearShape Linear, int Width)[] cases = [.. plan.Open.Select((linear, i) => (linear, Width: i % 6 == 0 ? 0 : i % 6 == 3 ? 1 : -1)).Where(c => c.Width >= 0)];
        double[] guesses = [.. cases.Select(c => expected[c.Linear.Name][c.Width])];
        double[] actual = [.. cases.Select(c => KlDivergence(plan, weights, floats, c.Linear, QuantizationSpec.SupportedBits[c.Width]))];
        double[] ratios = [.. guesses.Zip(actual, (guess, real) => guess / real)];
        string shown = string.Join("\n", cases.Select((c, i) => FormattableString.Invariant(
            $"{c.Linear.Name} {QuantizationSpec.SupportedBits[c.Width]} bits {guesses[i]:G4} {actual[i]:G4} {ratios[i]:F2}")));
        double correlation = RankCorrelation(guesses, actual);
        Assert.True(
            correlation >= 0.85 && ratios.Zip(actual).All(pair => pair.First >= 1.0 / 3 && (pair.First <= 3 || pair.Second < Nothing)),
            FormattableString.Invariant($"rank correlation {correlation:F3}, ratios {ratios.Min():F2} to {ratios.Max():F2}, mean {ratios.Average():F2}\n{shown}"));
    }

    // Between the embedding and the residual stream: nothing; a norm; a projection, and one back before the head. The head is the embedding in all of them.
    [Theory]
    [InlineData("OPT")]
    [InlineData("BLOOM")]
    [InlineData("OPT-350m")]
    public void The_expected_loss_of_an_embedding_is_near_the_measured_one_whatever_is_behind_it(string family)
    {
        using IDisposable noGradient = torch.no_grad();
        using FamilyModel model = FamilyModel.Of(family);
        using ModelWeights weights = ModelWeights.Open(model.Folder);
        DecoderConfig config = model.Folder.Config;
        QuantizationPlan plan = new(config, new QuantizationSpec { TargetBitsPerWeight = 4, GroupSize = 8, Override = "embed_tokens: Method=Rtn" });
        Random random = new(3);
        TokenWindows windows = new([.. Enumerable.Range(0, 4096).Select(_ => random.Next(256))], 16);
        double[] expected = new Sensitivity(plan, weights, OnCpu.One, ActivationStore.InMemory, CancellationToken.None).Measure(windows)[config.Embedding.Name];
        using FloatStreams floats = new(weights, config, windows);
        for (int width = 1; width < expected.Length; width++)
        {
            double actual = KlDivergence(plan, weights, floats, config.Embedding, QuantizationSpec.SupportedBits[width]);
            Assert.InRange(expected[width] / actual, 0.5, 2);
        }
    }

    [Theory]
    [InlineData("BLOOM")]
    [InlineData("OPT-350m")]
    public void A_budget_quantizes_an_embedding_that_has_a_norm_or_a_projection_behind_it(string family)
    {
        using FamilyModel model = FamilyModel.Of(family);
        QuantizationSpec spec = new() { TargetBitsPerWeight = 5, GroupSize = QuantizationSpec.PerChannel, CalibrationContext = 32, Override = "embed_tokens: Method=Rtn" };
        using Artifact artifact = Artifact.Open(model.Quantize(spec).Path);
        DecoderConfig config = artifact.Config;
        LinearShape[] quantized = [.. config.QuantizableLinears().Where(linear => artifact.Manifest.Layers.ContainsKey(linear.Name))];
        Assert.Contains(config.Embedding, quantized);
        long bytes = artifact.File.Tensors.Values.Where(tensor => quantized.Any(linear => tensor.Name.StartsWith(linear.Name + ".", StringComparison.Ordinal) && !tensor.Name.EndsWith(".bias", StringComparison.Ordinal))).Sum(tensor => tensor.ByteLength);
        Assert.InRange(8.0 * bytes / quantized.Sum(linear => (double)linear.Inputs * linear.Outputs), 4.5, 5);
        using LanguageModel runtime = LanguageModel.Load(artifact.File.Path, model.Loading);
        float[] logits = runtime.Logits(model.Tokens);
        double error = Math.Sqrt(model.Expected.Zip(logits, (wanted, actual) => Math.Pow(wanted - actual, 2)).Sum() / model.Expected.Sum(wanted => wanted * wanted));
        Assert.InRange(error, 0.001, 0.3);
    }

    [Fact]
    public void It_says_the_same_twice()
    {
        using IDisposable noGradient = torch.no_grad();
        ModelFolder model = ModelFolder.Open(SampleFiles.TwoLayers);
        using ModelWeights weights = ModelWeights.Open(model);
        TextTokenizer tokenizer = TextTokenizer.Load(File.ReadAllBytes(model.TokenizerFile), model.TokenizerFile);
        QuantizationPlan plan = new(model.Config, new QuantizationSpec { TargetBitsPerWeight = 3.5m });
        TokenWindows calibration = new(TokenWindows.ReadCalibration(SampleFiles.ShortCalibration, model.Config, tokenizer), 128, 8);
        Assert.Equal(Measure(plan, weights, calibration), Measure(plan, weights, calibration));
    }

    private static IReadOnlyDictionary<string, double[]> Measure(QuantizationPlan plan, ModelWeights weights, TokenWindows windows) =>
        new Sensitivity(plan, weights, OnCpu.One, ActivationStore.InMemory, CancellationToken.None).Measure(Sensitivity.Sample(windows));

    /// <summary>The KL divergence of the model in which one linear alone is rounded.</summary>
    private static double KlDivergence(QuantizationPlan plan, ModelWeights weights, FloatStreams floats, LinearShape rounded, int bits)
    {
        DecoderConfig config = plan.Config;
        using DisposeScope scope = torch.NewDisposeScope();
        using DecoderForward forward = new(config, floats.Windows.Length, torch.CPU);
        torch.Tensor Rounded(LinearShape shape, torch.Tensor weight) =>
            shape == rounded ? Rtn.Quantize(weight, plan[shape]! with { Bits = bits }).Dequantize(torch.CPU) : weight;
        // Before the layer that it is in nothing changes.
        int first = rounded == config.Embedding ? 0 : Enumerable.Range(0, config.Layers).FirstOrDefault(index => config.Linears(index).Contains(rounded), config.Layers);
        using EmbeddingTables embedding = weights.LoadEmbedding();
        using HiddenStates changed = rounded == config.Embedding
            ? HiddenStates.Embed(floats.Windows, embedding with { Tokens = Rounded(rounded, embedding.Tokens) }, OnCpu.One, ActivationStore.InMemory)
            : floats.Before(first).Copy();
        for (int index = first; index < config.Layers; index++)
        {
            using LayerWeights layer = weights.LoadLayer(config, index, torch.CPU);
            LinearShape[] shapes = LinearRoles.Shapes(config, index);
            foreach (LinearRole role in LinearRoles.All(config, index))
            {
                LinearShape shape = shapes[(int)role];
                if (shape == rounded) layer.Replace(role, Rounded(shape, layer[role]));
            }

            changed.Update(hidden => forward.Layer(hidden, layer), CancellationToken.None);
        }

        using FinalWeights final = weights.LoadFinal(torch.CPU);
        torch.Tensor head = weights.Load(config.Head.WeightName, torch.CPU);
        torch.Tensor roundedHead = Rounded(config.Head, head);
        return Evaluation.Compare(
            floats.Before(config.Layers), changed, floats.Windows, (_, hidden) => forward.Head(hidden, final, head), (_, hidden) => forward.Head(hidden, final, roundedHead), config.VocabularySize, CancellationToken.None).KlDivergence;
    }

    /// <summary>Spearman's.</summary>
    private static double RankCorrelation(double[] a, double[] b)
    {
        static double[] Ranks(double[] values) => [.. values.Select(value => (double)values.Count(other => other < value))];
        double[] ranksA = Ranks(a), ranksB = Ranks(b);
        double n = a.Length, squares = ranksA.Zip(ranksB, (x, y) => (x - y) * (x - y)).Sum();
        return 1 - (6 * squares / (n * ((n * n) - 1)));
    }

    /// <summary>The residual streams of a text in the float model, between all layers.</summary>
    private sealed class FloatStreams : IDisposable
    {
        private readonly List<HiddenStates> streams;

        public FloatStreams(ModelWeights weights, DecoderConfig config, TokenWindows windows)
        {
            Windows = windows;
            using DecoderForward forward = new(config, windows.Length, torch.CPU);
            using EmbeddingTables embedding = weights.LoadEmbedding();
            streams = [HiddenStates.Embed(windows, embedding, OnCpu.One, ActivationStore.InMemory)];
            for (int index = 0; index < config.Layers; index++)
            {
                using LayerWeights layer = weights.LoadLayer(config, index, torch.CPU);
                streams.Add(streams[index].Map(hidden => forward.Layer(hidden, layer), CancellationToken.None));
            }
        }

        public TokenWindows Windows { get; }

        /// <summary>The stream before a layer; that behind the last one by the number of layers.</summary>
        public HiddenStates Before(int layer) => streams[layer];

        public void Dispose() => streams.ForEach(stream => stream.Dispose());
    }
}
