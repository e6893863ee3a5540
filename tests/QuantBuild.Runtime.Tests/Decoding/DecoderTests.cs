using QuantBuild.Decoding;
using QuantBuild.Kernels;

namespace QuantBuild.Runtime.Tests.Decoding;

public sealed class DecoderTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    public static TheoryData<string, bool> Models { get; } = new()
    {
        { TestArtifact.Config(), false },
        { TestArtifact.Config(), true },
        { TestArtifact.Config(heads: 4, kvHeads: 4, tied: true), false },
        { TestArtifact.Config(hidden: 50, intermediate: 70, heads: 6, kvHeads: 1, headDim: 6, layers: 3), false },
        { TestArtifact.Config(hidden: 64, intermediate: 96, heads: 2, kvHeads: 2, headDim: 32), true },
    };

    [Theory]
    [MemberData(nameof(Models))]
    public void Logits_are_those_of_the_equations(string config, bool quantized)
    {
        DecoderConfig parsed = DecoderConfig.Parse(config, "config.json");
        Dictionary<string, float[]> weights = TestArtifact.RandomWeights(config, 7);
        TestArtifact.Rounding rounding = new(4, 16, Symmetric: false, Ordered: true);
        using LanguageModel model = LanguageModel.Load(TestArtifact.Write(folder.File("m"), config, weights, quantized ? rounding : null));
        Dictionary<string, double[]> exact = weights.ToDictionary(w => w.Key, w => w.Value.Select(v => (double)v).ToArray());
        if (quantized)
        {
            foreach (LinearShape linear in Enumerable.Range(0, parsed.Layers).SelectMany(parsed.Linears))
            {
                exact[linear.WeightName] = TestArtifact.Dequantize(TestArtifact.Round(weights[linear.WeightName], linear.Outputs, linear.Inputs, rounding));
            }
        }

        int[] tokens = [.. Enumerable.Range(0, 21).Select(i => (i * 1237) % 4096)];
        double[][] expected = ReferenceDecoder.Logits(parsed, name => exact[name], tokens);
        float[] actual = model.Logits(tokens);
        Assert.InRange(expected.SelectMany(row => row).Max(Math.Abs), 1, 100);
        for (int t = 0; t < tokens.Length; t++)
        {
            Assert.InRange(Enumerable.Range(0, 4096).Max(i => Math.Abs(expected[t][i] - actual[(t * 4096) + i])), 0, 1e-4);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Decoding_with_the_cache_equals_a_full_forward(bool quantized)
    {
        TestArtifact.WriteSample(folder.File("m"), quantized ? new TestArtifact.Rounding(4, 128, false, true) : null);
        using Artifact artifact = Artifact.Open(folder.File("m"));
        Decoder decoder = new(artifact.Config, new DecoderWeights(artifact), new Workers(2));
        int[] tokens = [.. TextTokenizer.Load(Sample.TokenizerJson, "t").Encode(Sample.EvaluationText[..4000]).Take(300)];
        int vocabulary = artifact.Config.VocabularySize;
        float[] full = new float[tokens.Length * vocabulary];
        decoder.Forward(new DecoderState(artifact.Config, tokens.Length, tokens.Length), tokens, full, CancellationToken.None);

        // A cache that must grow; pieces of several sizes, so that batches and single tokens both meet a cache that is not empty.
        DecoderState state = new(artifact.Config, 4, 7);
        float[] logits = new float[vocabulary];
        for (int done = 0, size = 1; done < tokens.Length; size = size == 1 ? 19 : 1)
        {
            size = Math.Min(size, tokens.Length - done);
            decoder.Forward(state, tokens.AsSpan(done, size), logits, CancellationToken.None);
            done += size;
            Assert.InRange(LargestDifference(full.AsSpan((done - 1) * vocabulary, vocabulary), logits), 0, 2e-4f);
        }
    }

    [Fact]
    public void The_sample_model_has_its_perplexity()
    {
        // Its README names 50.6 on 64 windows of 512.
        const int window = 512;
        using LanguageModel model = LanguageModel.Load(TestArtifact.WriteSample(folder.File("m")));
        int[] tokens = [.. model.Tokenizer.Encode(Sample.EvaluationText, addSpecialTokens: false)];
        double loss = 0;
        for (int w = 0; w < 8; w++) loss += Loss(model.Logits(tokens.AsSpan(w * window, window)), tokens.AsSpan(w * window, window));
        Assert.InRange(Math.Exp(loss / (8 * (window - 1))), 45, 60);
    }

    [Fact]
    public void Threads_do_not_change_logits()
    {
        TestArtifact.WriteSample(folder.File("m"), new TestArtifact.Rounding(3, 32, false, false));
        using LanguageModel one = LanguageModel.Load(folder.File("m"), new LoadOptions { Threads = 1 });
        using LanguageModel many = LanguageModel.Load(folder.File("m"), new LoadOptions { Threads = 7 });
        int[] tokens = [.. one.Tokenizer.Encode("It is a capital mistake to theorize before one has data.")];
        Assert.Equal(one.Logits(tokens), many.Logits(tokens));
        Assert.Equal(one.Logits(tokens.AsSpan(0, 1)), many.Logits(tokens.AsSpan(0, 1)));
    }

    private static float LargestDifference(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        float largest = 0;
        for (int i = 0; i < a.Length; i++) largest = Math.Max(largest, Math.Abs(a[i] - b[i]));
        return largest;
    }

    private static double Loss(float[] logits, ReadOnlySpan<int> tokens)
    {
        int vocabulary = logits.Length / tokens.Length;
        double loss = 0;
        for (int t = 0; t + 1 < tokens.Length; t++)
        {
            ReadOnlySpan<float> row = logits.AsSpan(t * vocabulary, vocabulary);
            double sum = 0;
            foreach (float logit in row) sum += Math.Exp(logit);
            loss += Math.Log(sum) - row[tokens[t + 1]];
        }

        return loss;
    }
}
