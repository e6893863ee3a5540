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
        TokenWindows calibration = new(TokenWindows.ReadCalibration(SampleFiles.Calibration, model.Config, tokenizer), 512);
        IReadOnlyDictionary<string, double[]> expected = Measure(plan, weights, calibration);
        Assert.Equal(plan.Open.Select(linear => linear.Name).Order(), expected.Keys.Order());

        // Text that the measurement did not see.
        TokenWindows evaluation = new([.. TokenWindows.ReadCalibration(SampleFiles.Evaluation, model.Config, tokenizer).Take(1024)], 512);
        (LinearShape Linear, int Width)[] cases = [.. plan.Open.Select((linear, i) => (linear, Width: i % 6 == 0 ? 0 : i % 6 == 3 ? 1 : -1)).Where(c => c.Width >= 0)];
        double[] guesses = [.. cases.Select(c => expected[c.Linear.Name][c.Width])];
        double[] actual = [.. cases.Select(c => KlDivergence(plan, weights, evaluation, c.Linear, QuantizationSpec.SupportedBits[c.Width]))];
        double[] ratios = [.. guesses.Zip(actual, (guess, real) => guess / real)];
        string shown = string.Join("\n", cases.Select((c, i) => FormattableString.Invariant(
            $"{c.Linear.Name} {QuantizationSpec.SupportedBits[c.Width]} bits {guesses[i]:G4} {actual[i]:G4} {ratios[i]:F2}")));
        double correlation = RankCorrelation(guesses, actual);
        Assert.True(
            correlation >= 0.85 && ratios.Zip(actual).All(pair => pair.First >= 1.0 / 3 && (pair.First <= 3 || pair.Second < Nothing)),
            FormattableString.Invariant($"rank correlation {correlation:F3}, ratios {ratios.Min():F2} to {ratios.Max():F2}, mean {ratios.Average():F2}\n{shown}"));
    }

    [Fact]
    public void It_says_the_same_twice()
    {
        using IDisposable noGradient = torch.no_grad();
        ModelFolder model = ModelFolder.Open(SampleFiles.Model);
        using ModelWeights weights = ModelWeights.Open(model);
        TextTokenizer tokenizer = TextTokenizer.Load(File.ReadAllBytes(model.TokenizerFile), model.TokenizerFile);
        QuantizationPlan plan = new(model.Config, new QuantizationSpec { TargetBitsPerWeight = 3.5m });
        TokenWindows calibration = new(TokenWindows.ReadCalibration(SampleFiles.ShortCalibration, model.Config, tokenizer), 128, 8);
        Assert.Equal(Measure(plan, weights, calibration), Measure(plan, weights, calibration));
    }

    private static IReadOnlyDictionary<string, double[]> Measure(QuantizationPlan plan, ModelWeights weights, TokenWindows windows) =>
        new Sensitivity(plan, weights, OnCpu.One, ActivationStore.InMemory, CancellationToken.None).Measure(Sensitivity.Sample(windows));

    /// <summary>The KL divergence of the model in which one linear alone is rounded.</summary>
    private static double KlDivergence(QuantizationPlan plan, ModelWeights weights, TokenWindows windows, LinearShape rounded, int bits)
    {
        DecoderConfig config = plan.Config;
        using DisposeScope scope = torch.NewDisposeScope();
        using DecoderForward forward = new(config, windows.Length, torch.CPU);
        torch.Tensor Rounded(LinearShape shape, torch.Tensor weight) =>
            shape == rounded ? Rtn.Quantize(weight, plan[shape]! with { Bits = bits }).Dequantize(torch.CPU) : weight;
        torch.Tensor embedding = weights.Load(DecoderConfig.EmbeddingName, torch.CPU);
        using HiddenStates floats = HiddenStates.Embed(windows, new(embedding), OnCpu.One, ActivationStore.InMemory);
        using HiddenStates changed = HiddenStates.Embed(windows, new(Rounded(config.Embedding, embedding)), OnCpu.One, ActivationStore.InMemory);
        for (int index = 0; index < config.Layers; index++)
        {
            using LayerWeights layer = weights.LoadLayer(config, index, torch.CPU);
            floats.Update(hidden => forward.Layer(hidden, layer), CancellationToken.None);
            foreach (LinearRole role in Enum.GetValues<LinearRole>())
            {
                LinearShape shape = config.Linears(index)[(int)role];
                if (shape == rounded) layer.Replace(role, Rounded(shape, layer[role]));
            }

            changed.Update(hidden => forward.Layer(hidden, layer), CancellationToken.None);
        }

        using FinalWeights final = weights.LoadFinal(torch.CPU);
        torch.Tensor head = weights.Load(config.Head.WeightName, torch.CPU);
        torch.Tensor roundedHead = Rounded(config.Head, head);
        return Evaluation.Compare(
            floats, changed, windows, (_, hidden) => forward.Head(hidden, final, head), (_, hidden) => forward.Head(hidden, final, roundedHead), config.VocabularySize, CancellationToken.None).KlDivergence;
    }

    /// <summary>Spearman's.</summary>
    private static double RankCorrelation(double[] a, double[] b)
    {
        static double[] Ranks(double[] values) => [.. values.Select(value => (double)values.Count(other => other < value))];
        double[] ranksA = Ranks(a), ranksB = Ranks(b);
        double n = a.Length, squares = ranksA.Zip(ranksB, (x, y) => (x - y) * (x - y)).Sum();
        return 1 - (6 * squares / (n * ((n * n) - 1)));
    }
}
