using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class EvaluationTests
{
    private readonly QuantizedSample sample = QuantizedSample.Shared;

    [Fact]
    public void A_comparison_is_the_straight_line_computation_in_float64_however_it_is_cut()
    {
        const int tokens = 37, vocabulary = 53;
        Random random = new(7);
        float[] floats = [.. Enumerable.Range(0, tokens * vocabulary).Select(_ => (float)(8 * random.NextDouble()) - 4)];
        float[] quantized = [.. floats.Select(logit => logit + (float)(random.NextDouble() - 0.5))];
        long[] actual = [.. Enumerable.Range(0, tokens).Select(_ => (long)random.Next(vocabulary))];

        double floatLoss = 0, loss = 0, divergence = 0;
        int agreed = 0;
        for (int t = 0; t < tokens; t++)
        {
            double[] p = Probabilities(floats.AsSpan(t * vocabulary, vocabulary)), q = Probabilities(quantized.AsSpan(t * vocabulary, vocabulary));
            floatLoss -= Math.Log(p[actual[t]]);
            loss -= Math.Log(q[actual[t]]);
            for (int v = 0; v < vocabulary; v++) divergence += p[v] * Math.Log(p[v] / q[v]);
            if (Array.IndexOf(p, p.Max()) == Array.IndexOf(q, q.Max())) agreed++;
        }

        using DisposeScope scope = torch.NewDisposeScope();
        NextTokenComparison comparison = new();
        foreach (int[] part in new int[][] { [0, 1], [1, 20], [21, 16] })
        {
            torch.Tensor Rows(float[] logits) => torch.tensor(logits).view(tokens, vocabulary).narrow(0, part[0], part[1]);
            comparison.Add(Rows(floats), Rows(quantized), torch.tensor(actual).narrow(0, part[0], part[1]));
        }

        Assert.Equal(tokens, comparison.Tokens);
        Assert.Equal(Math.Exp(floatLoss / tokens), comparison.FloatPerplexity, 1e-9);
        Assert.Equal(Math.Exp(loss / tokens), comparison.Perplexity, 1e-9);
        Assert.Equal(divergence / tokens, comparison.KlDivergence, 1e-12);
        Assert.Equal((double)agreed / tokens, comparison.Top1Agreement, 1e-12);
        // Otherwise the numbers above would say little.
        Assert.InRange(agreed, 1, tokens - 1);
    }

    [Fact]
    public void Equal_distributions_diverge_by_nothing_whatever_is_added_to_their_logits()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        NextTokenComparison comparison = new();
        comparison.Add(torch.tensor(new float[] { 1, 2, 3, 4 }).view(2, 2), torch.tensor(new float[] { 11, 12, -3, -2 }).view(2, 2), torch.tensor(new long[] { 0, 1 }));
        Assert.Equal(0, comparison.KlDivergence, 1e-15);
        Assert.Equal(1, comparison.Top1Agreement);
    }

    [Fact]
    public void A_run_measures_what_the_logits_of_float_and_artifact_say()
    {
        ModelFolder model = ModelFolder.Open(SampleFiles.Model);
        TextTokenizer tokenizer = TextTokenizer.Load(File.ReadAllBytes(model.TokenizerFile), "tokenizer.json");
        int[] tokens = [.. tokenizer.Encode(File.ReadAllText(sample.EvaluationFile))];
        using Artifact artifact = Artifact.Open(sample.Request.ArtifactPath);
        QualityFigures quality = artifact.Manifest.Quality!;
        double floatLoss = 0, loss = 0, divergence = 0;
        int agreed = 0, count = 0;
        foreach (int[] window in tokens.Chunk(512).Where(window => window.Length == 512))
        {
            float[] floats = QuantizedSample.TorchLogits(window, null), quantized = QuantizedSample.TorchLogits(window, artifact);
            for (int t = 0; t < 511; t++, count++)
            {
                double[] p = Probabilities(floats.AsSpan(t * 4096, 4096)), q = Probabilities(quantized.AsSpan(t * 4096, 4096));
                floatLoss -= Math.Log(p[window[t + 1]]);
                loss -= Math.Log(q[window[t + 1]]);
                for (int v = 0; v < 4096; v++) divergence += p[v] * Math.Log(p[v] / q[v]);
                if (Array.IndexOf(p, p.Max()) == Array.IndexOf(q, q.Max())) agreed++;
            }
        }

        Assert.Equal(count, quality.EvaluationTokens);
        Assert.Equal(512, quality.EvaluationContext);
        Assert.Equal(EvaluationText.EvaluationData, quality.EvaluatedOn);
        Assert.Equal(Math.Exp(floatLoss / count), quality.FloatPerplexity, 1e-3);
        Assert.Equal(Math.Exp(loss / count), quality.Perplexity, 1e-3);
        Assert.Equal(divergence / count, quality.KlDivergence, 1e-6);
        // Two logits may be so close that another order of additions swaps them.
        Assert.InRange(quality.Top1Agreement * count, agreed - 2, agreed + 2);
        Assert.Equal(6, quality.LayerErrors.Count);
        Assert.All(quality.LayerErrors, error => Assert.InRange(error, 1e-3, 0.5));
    }

    [Fact]
    public void The_error_of_a_layer_is_the_norm_of_the_difference_over_the_norm()
    {
        TokenWindows windows = new([.. Enumerable.Range(0, 8)], 4);
        using torch.Tensor one = Random(8, 6, 1), other = Random(8, 6, 2);
        using HiddenStates floats = HiddenStates.Embed(windows, new(one), OnCpu.One, ActivationStore.InMemory), quantized = HiddenStates.Embed(windows, new(other), OnCpu.One, ActivationStore.InMemory);
        double difference = 0, norm = 0;
        foreach ((float a, float b) in one.data<float>().Zip(other.data<float>()))
        {
            difference += ((double)b - a) * ((double)b - a);
            norm += (double)a * a;
        }

        Assert.Equal(Math.Sqrt(difference / norm), Evaluation.RelativeError(floats, quantized, CancellationToken.None), 1e-6);
        Assert.Equal(0, Evaluation.RelativeError(floats, floats, CancellationToken.None));
    }

    [Theory]
    [InlineData(7)]
    [InlineData(1 << 20)]
    [InlineData(1 << 23)]
    public void Perplexity_does_not_depend_on_how_many_logits_are_held_at_once(int vocabularyToCutBy)
    {
        TokenWindows windows = new([.. Enumerable.Range(0, 12).Select(i => i * 5 % 7)], 6);
        using torch.Tensor embedding = Random(7, 6, 1), head = Random(7, 6, 2);
        using HiddenStates states = HiddenStates.Embed(windows, new(embedding), OnCpu.One, ActivationStore.InMemory);
        double actual = Evaluation.Perplexity(states, windows, (_, hidden) => torch.nn.functional.linear(hidden, head), vocabularyToCutBy, CancellationToken.None);

        float[] e = embedding.data<float>().ToArray(), h = head.data<float>().ToArray();
        double loss = 0;
        for (int i = 0; i < 12; i++)
        {
            if (i % 6 == 5) continue;
            float[] logits = [.. Enumerable.Range(0, 7).Select(v => Enumerable.Range(0, 6).Sum(d => e[(windows.Tokens[i] * 6) + d] * h[(v * 6) + d]))];
            loss -= Math.Log(Probabilities(logits)[windows.Tokens[i + 1]]);
        }

        Assert.Equal(Math.Exp(loss / 10), actual, 1e-4);
    }

    private static torch.Tensor Random(int rows, int columns, int seed)
    {
        Random random = new(seed);
        return torch.tensor(Enumerable.Range(0, rows * columns).Select(_ => (float)random.NextDouble() - 0.5f).ToArray()).view(rows, columns);
    }

    private static double[] Probabilities(ReadOnlySpan<float> logits)
    {
        double[] exponentials = [.. logits.ToArray().Select(logit => Math.Exp(logit))];
        double sum = exponentials.Sum();
        return [.. exponentials.Select(value => value / sum)];
    }
}
