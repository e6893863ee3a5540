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
        string path = TestArtifact.Write(folder.File("m"), config, weights, quantized ? rounding : null);
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { FloatActivations = true });
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
            // A key that float32 and float64 round to different halves moves a logit by some ten-thousandths.
            Assert.InRange(Enumerable.Range(0, 4096).Max(i => Math.Abs(expected[t][i] - actual[(t * 4096) + i])), 0, 2e-3);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Decoding_with_the_cache_equals_a_full_forward(bool quantized)
    {
        TestArtifact.WriteSample(folder.File("m"), quantized ? new TestArtifact.Rounding(4, 128, false, true) : null);
        using Artifact artifact = Artifact.Open(folder.File("m"));
        using KvPages pages = new(artifact.Config, KvPrecision.Float16);
        using Decoder decoder = new(artifact.Config, artifact.Config.ContextLength, new DecoderWeights(artifact), pages, new Workers(2), floatActivations: false);
        int[] tokens = [.. TextTokenizer.Load(Sample.TokenizerJson, "t").Encode(Sample.EvaluationText[..4000]).Take(300)];
        int vocabulary = artifact.Config.VocabularySize;
        float[] full = Logits(decoder, pages, tokens, decoder.LargestBatch);

        // Pieces of several sizes, so that batches and single tokens both meet a cache that is not empty, and pages that are half full.
        using KvCache cache = new(pages);
        float[] logits = new float[vocabulary];
        for (int done = 0, size = 1; done < tokens.Length; size = size == 1 ? 19 : 1)
        {
            size = Math.Min(size, tokens.Length - done);
            decoder.Forward([new BatchPart(cache, tokens.AsMemory(done, size)) { Logits = logits }], CancellationToken.None);
            done += size;
            Assert.Equal(full.AsSpan((done - 1) * vocabulary, vocabulary).ToArray(), logits);
        }
    }

    [Fact]
    public void Texts_that_are_computed_together_get_what_each_gets_alone()
    {
        TestArtifact.WriteSample(folder.File("m"), new TestArtifact.Rounding(4, 128, false, true));
        using Artifact artifact = Artifact.Open(folder.File("m"));
        using KvPages pages = new(artifact.Config, KvPrecision.Float16);
        using Decoder decoder = new(artifact.Config, artifact.Config.ContextLength, new DecoderWeights(artifact), pages, new Workers(2), floatActivations: false);
        int[] tokens = [.. TextTokenizer.Load(Sample.TokenizerJson, "t").Encode(Sample.EvaluationText[..4000]).Take(300)];
        int vocabulary = artifact.Config.VocabularySize;
        (int First, int[] Pieces)[] texts = [(0, [40, 1, 1, 3]), (50, [7, 33, 1, 1]), (100, [1, 1, 1, 1]), (120, [31, 2, 5, 9])];
        KvCache[] caches = [.. texts.Select(_ => new KvCache(pages))];
        int[] done = new int[texts.Length];
        for (int step = 0; step < 4; step++)
        {
            float[][] together = [.. texts.Select(text => new float[text.Pieces[step] * vocabulary])];
            decoder.Forward(
                [.. texts.Select((text, i) => new BatchPart(caches[i], tokens.AsMemory(text.First + done[i], text.Pieces[step])) { Logits = together[i] })], CancellationToken.None);
            for (int i = 0; i < texts.Length; i++)
            {
                int seen = done[i] + texts[i].Pieces[step];
                float[] alone = Logits(decoder, pages, tokens.AsSpan(texts[i].First, seen).ToArray(), 11);
                Assert.Equal(alone[(done[i] * vocabulary)..], together[i]);
                done[i] = seen;
            }
        }

        foreach (KvCache cache in caches) cache.Dispose();
        Assert.Equal(0, pages.InUse);
    }

    [Theory]
    [InlineData(KvPrecision.Float16)]
    [InlineData(KvPrecision.Int8)]
    public void A_fork_goes_its_own_way_and_leaves_the_other_as_it_was(KvPrecision precision)
    {
        TestArtifact.WriteSample(folder.File("m"), new TestArtifact.Rounding(4, 128, false, false));
        using Artifact artifact = Artifact.Open(folder.File("m"));
        using KvPages pages = new(artifact.Config, precision);
        using Decoder decoder = new(artifact.Config, artifact.Config.ContextLength, new DecoderWeights(artifact), pages, new Workers(1), floatActivations: false);
        int[] tokens = [.. TextTokenizer.Load(Sample.TokenizerJson, "t").Encode(Sample.EvaluationText[..4000]).Take(200)];
        float[] first = new float[artifact.Config.VocabularySize], second = new float[first.Length], again = new float[first.Length];
        using (KvCache cache = new(pages))
        {
            decoder.Forward([new BatchPart(cache, tokens.AsMemory(0, 75))], CancellationToken.None);
            using KvCache fork = cache.Fork(70);
            decoder.Forward([new BatchPart(fork, tokens.AsMemory(150, 30)) { Logits = second }], CancellationToken.None);
            decoder.Forward([new BatchPart(cache, tokens.AsMemory(75, 20)) { Logits = first }], CancellationToken.None);
            fork.Truncate(70);
            decoder.Forward([new BatchPart(fork, tokens.AsMemory(70, 25)) { Logits = again }], CancellationToken.None);
            Assert.Equal(first, again);
            Assert.NotEqual(first, second);
        }

        Assert.Equal(0, pages.InUse);
    }

    [Fact]
    public void Keys_and_values_in_bytes_change_perplexity_by_less_than_a_third_of_a_percent() =>
        Assert.InRange(PerplexityRatio(new LoadOptions { KvCache = KvPrecision.Int8 }, new LoadOptions()), 0.997, 1.003);

    [Fact]
    public void Activations_in_bytes_change_perplexity_by_less_than_a_third_of_a_percent() =>
        Assert.InRange(PerplexityRatio(new LoadOptions(), new LoadOptions { FloatActivations = true }), 0.997, 1.003);

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

    private static float[] Logits(Decoder decoder, KvPages pages, int[] tokens, int atOnce)
    {
        using KvCache cache = new(pages);
        int vocabulary = 4096;
        float[] logits = new float[tokens.Length * vocabulary];
        for (int done = 0; done < tokens.Length; done += atOnce)
        {
            int count = Math.Min(atOnce, tokens.Length - done);
            decoder.Forward(
                [new BatchPart(cache, tokens.AsMemory(done, count)) { Logits = logits.AsMemory(done * vocabulary, count * vocabulary) }], CancellationToken.None);
        }

        return logits;
    }

    private double PerplexityRatio(LoadOptions rounded, LoadOptions exact)
    {
        const int windows = 8, window = 512;
        TestArtifact.WriteSample(folder.File("m"), new TestArtifact.Rounding(4, 128, false, false));
        using LanguageModel one = LanguageModel.Load(folder.File("m"), rounded), other = LanguageModel.Load(folder.File("m"), exact);
        int[] tokens = [.. one.Tokenizer.Encode(Sample.EvaluationText, addSpecialTokens: false)];
        double difference = 0;
        for (int w = 0; w < windows; w++)
        {
            ReadOnlySpan<int> text = tokens.AsSpan(w * window, window);
            difference += Loss(one.Logits(text), text) - Loss(other.Logits(text), text);
        }

        Assert.NotEqual(0, difference);
        return Math.Exp(difference / (windows * (window - 1)));
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
