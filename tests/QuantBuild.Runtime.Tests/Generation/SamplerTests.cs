using QuantBuild.Generation;

namespace QuantBuild.Runtime.Tests.Generation;

public class SamplerTests
{
    private static readonly float[] Logits = [1.5f, -0.5f, 2.5f, 0f, 2.5f, -30f, 1f, 0.25f];

    // Greedy would be deterministic; each row says what it changes.
    private static readonly GenerationOptions Plain = new() { Temperature = 1, Seed = 12345 };

    public static TheoryData<GenerationOptions> Options { get; } =
    [
        Plain,
        Plain with { Temperature = 0.5 },
        Plain with { Temperature = 2 },
        Plain with { TopK = 3 },
        Plain with { TopK = 1 },
        Plain with { TopK = 100 },
        Plain with { TopP = 0.7 },
        Plain with { TopP = 0.01 },
        Plain with { MinP = 0.3 },
        Plain with { TypicalP = 0.2 },
        Plain with { TypicalP = 0.6, Temperature = 0.7 },
        Plain with { TypicalP = 0.9 },
        Plain with { TopK = 4, TopP = 0.8 },
        Plain with { TopK = 6, TypicalP = 0.7 },
        Plain with { TypicalP = 0.9, TopP = 0.6 },
        Plain with { Temperature = 0.8, TopK = 5, TopP = 0.95, MinP = 0.1 },
        Plain with { Temperature = 1.5, TopK = 7, TypicalP = 0.95, TopP = 0.9, MinP = 0.2 },
        Plain with { LogitBias = new Dictionary<int, float> { [5] = 32, [2] = -1, [0] = float.NegativeInfinity } },
        Plain with { RepetitionPenalty = 1.5 },
        Plain with { RepetitionPenalty = 0.8, RepetitionWindow = 2 },
        Plain with { FrequencyPenalty = 0.7, PresencePenalty = -0.4 },
        Plain with { RepetitionPenalty = 1.2, FrequencyPenalty = 0.3, PresencePenalty = 0.5, TopP = 0.9, LogitBias = new Dictionary<int, float> { [7] = 2 } },
    ];

    [Theory]
    [MemberData(nameof(Options))]
    public void Tokens_follow_the_exact_distribution(GenerationOptions options)
    {
        int[] prompt = [2, 1, 6], generated = [0, 4, 4, 3];
        const int draws = 40_000;
        SamplingSettings settings = Complete(options);
        double[] exact = ReferenceSampler.Distribution(Logits, settings, prompt, generated);
        Sampler sampler = new(settings, prompt);
        foreach (int token in generated) sampler.Accept(token);
        int[] counts = new int[Logits.Length];
        for (int i = 0; i < draws; i++) counts[sampler.Choose([.. Logits]).Token]++;
        AssertFollows(exact, counts, draws);
    }

    public static TheoryData<GenerationOptions> OptionsOfMany { get; } =
    [
        Plain,
        Plain with { TopK = 40 },
        Plain with { TopK = 40, TopP = 0.9 },
        Plain with { TopP = 0.5 },
        Plain with { TypicalP = 0.3 },
        Plain with { Temperature = 0.6, MinP = 0.05 },
    ];

    [Theory]
    [MemberData(nameof(OptionsOfMany))]
    public void Tokens_of_a_large_vocabulary_follow_the_exact_distribution(GenerationOptions options)
    {
        const int draws = 20_000;
        float[] logits = RandomLogits(3000, seed: 9);
        SamplingSettings settings = Complete(options, logits.Length);
        double[] exact = ReferenceSampler.Distribution(logits, settings, [], []);
        Sampler sampler = new(settings, []);
        int[] counts = new int[logits.Length];
        for (int i = 0; i < draws; i++) counts[sampler.Choose(logits).Token]++;
        AssertFollows(exact, counts, draws);
    }

    [Fact]
    public void Penalties_are_those_of_the_definition_as_the_context_grows()
    {
        Random random = new(4);
        for (int trial = 0; trial < 200; trial++)
        {
            const int vocabulary = 20;
            SamplingSettings settings = Complete(
                new()
                {
                    Temperature = 0,
                    RepetitionPenalty = trial % 4 == 0 ? 1 : 0.5 + random.NextDouble(),
                    RepetitionWindow = trial % 3 == 0 ? null : random.Next(1, 12),
                    FrequencyPenalty = trial % 5 == 0 ? 0 : random.NextDouble() - 0.3,
                    PresencePenalty = trial % 7 == 0 ? 0 : random.NextDouble() - 0.3,
                    LogitBias = trial % 2 == 0 ? null : new Dictionary<int, float> { [random.Next(vocabulary)] = 1.5f, [3] = float.NegativeInfinity },
                },
                vocabulary);
            int[] prompt = [.. Enumerable.Range(0, random.Next(10)).Select(_ => random.Next(vocabulary))];
            List<int> generated = [];
            Sampler sampler = new(settings, prompt);
            for (int step = 0; step < 15; step++)
            {
                float[] logits = RandomLogits(vocabulary, random.Next());
                float[] expected = ReferenceSampler.Penalized(logits, settings, prompt, [.. generated]);
                Assert.Equal(Array.IndexOf(expected, expected.Max()), sampler.Choose(logits).Token);
                Assert.Equal(expected, logits);
                generated.Add(random.Next(vocabulary));
                sampler.Accept(generated[^1]);
            }
        }
    }

    [Fact]
    public void A_repetition_penalty_divides_what_is_positive_and_multiplies_what_is_negative()
    {
        float[] logits = [3, -3, 3, -3, 0];
        new Sampler(Complete(new() { Temperature = 0, RepetitionPenalty = 2 }), [0, 1, 1, 4]).Choose(logits);
        Assert.Equal([1.5f, -6, 3, -3, 0], logits);
    }

    [Fact]
    public void Frequency_counts_each_time_presence_once_and_neither_the_prompt()
    {
        Sampler sampler = new(Complete(new() { Temperature = 0, FrequencyPenalty = 0.5, PresencePenalty = 0.25 }), [0, 0, 1]);
        foreach (int token in (int[])[1, 2, 2, 2]) sampler.Accept(token);
        float[] logits = [1, 1, 1, 1];
        Assert.Equal(0, sampler.Choose(logits).Token);
        Assert.Equal([1, 0.25f, -0.75f, 1], logits);
    }

    [Fact]
    public void Temperature_zero_is_greedy_and_the_smaller_id_wins_a_tie()
    {
        Sampler sampler = new(Complete(new() { Temperature = 0 }), []);
        Assert.All(Enumerable.Range(0, 20), _ => Assert.Equal(2, sampler.Choose([.. Logits]).Token));
        Sampler one = new(Complete(new() { Temperature = 1, TopK = 1 }), []);
        Assert.All(Enumerable.Range(0, 20), _ => Assert.Equal(2, one.Choose([.. Logits]).Token));
    }

    [Theory]
    [InlineData(1e-300)]
    [InlineData(1e-3)]
    public void A_low_temperature_is_nearly_greedy(double temperature)
    {
        float[] logits = [-5, 3, 2.5f, float.NegativeInfinity, 1];
        foreach (GenerationOptions options in (GenerationOptions[])[Plain, Plain with { TopK = 3 }, Plain with { TypicalP = 0.5 }, Plain with { TopP = 0.5, MinP = 0.5 }])
        {
            Sampler sampler = new(Complete(options with { Temperature = temperature }, logits.Length), []);
            Assert.All(Enumerable.Range(0, 20), _ => Assert.Equal(1, sampler.Choose(logits).Token));
        }
    }

    [Fact]
    public void A_seed_fixes_the_choices()
    {
        int[] Draw(ulong seed)
        {
            Sampler sampler = new(Complete(new() { Temperature = 1, TopP = 0.9, Seed = seed }), []);
            return [.. Enumerable.Range(0, 100).Select(_ => sampler.Choose([.. Logits]).Token)];
        }

        Assert.Equal(Draw(7), Draw(7));
        Assert.NotEqual(Draw(7), Draw(8));
    }

    [Fact]
    public void The_generator_is_split_mix()
    {
        // The first values for seed 1234567 of the authors' reference (splitmix64.c).
        SplitMix random = new(1234567);
        Assert.Equal(6457827717110365317UL, random.Next());
        Assert.Equal(3203168211198807973UL, random.Next());
        Assert.Equal(9817491932198370423UL, random.Next());
    }

    [Fact]
    public void Where_a_bias_forbids_every_token_the_error_says_so()
    {
        Dictionary<int, float> bias = Enumerable.Range(0, 3).ToDictionary(id => id, _ => float.NegativeInfinity);
        Sampler sampler = new(Complete(new() { Temperature = 1, LogitBias = bias }), []);
        Assert.Equal(3, sampler.Choose([1, 2, 3, 0]).Token);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => sampler.Choose([1, 2, 3, float.NegativeInfinity]));
        Assert.Equal("QB4006", error.Id);
        Assert.Contains("LogitBias", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(100)]
    [InlineData(5000)]
    public void Log_probabilities_are_the_log_softmax_of_the_models_own_logits(int alternatives)
    {
        float[] logits = RandomLogits(3000, seed: 5);
        logits[17] = logits[800] = logits.Max() + 1;
        logits[2999] = float.NegativeInfinity;
        double[] exact = [.. ReferenceSampler.Softmax([.. logits.Select(l => (double)l)]).Select(p => Math.Log(p))];
        Sampler sampler = new(
            Complete(
                new()
                {
                    Temperature = 3, Seed = 1, TopK = 500, RepetitionPenalty = 2, PresencePenalty = 1, LogitBias = new Dictionary<int, float> { [17] = -100 },
                    LogProbabilities = alternatives,
                },
                3000),
            [800]);
        int[] likeliest = [.. Enumerable.Range(0, 2999).OrderByDescending(id => logits[id]).ThenBy(id => id).Take(alternatives)];
        Assert.True(alternatives == 0 || likeliest[0] == 17);
        for (int step = 0; step < 20; step++)
        {
            TokenChoice choice = sampler.Choose([.. logits]);
            sampler.Accept(choice.Token);
            TokenLogProbabilities reported = choice.LogProbabilities!;
            Assert.Equal(choice.Token, reported.Chosen.Token);
            Assert.Equal(exact[choice.Token], reported.Chosen.LogProbability, 1e-10);
            Assert.Equal(likeliest, reported.Likeliest.Select(l => l.Token));
            Assert.All(reported.Likeliest, l => Assert.Equal(exact[l.Token], l.LogProbability, 1e-10));
        }
    }

    [Fact]
    public void Log_probabilities_are_reported_only_if_asked_for_and_change_no_choice()
    {
        float[] logits = RandomLogits(3000, seed: 6);
        Sampler silent = new(Complete(Plain with { TopP = 0.9 }, 3000), []);
        Sampler reporting = new(Complete(Plain with { TopP = 0.9, LogProbabilities = 5 }, 3000), []);
        for (int i = 0; i < 50; i++)
        {
            TokenChoice choice = silent.Choose(logits);
            Assert.Null(choice.LogProbabilities);
            Assert.Equal(choice.Token, reporting.Choose(logits).Token);
        }
    }

    [Fact]
    public void A_choice_without_log_probabilities_needs_no_new_memory()
    {
        float[] logits = RandomLogits(3000, seed: 7);
        GenerationOptions[] options =
        [
            Plain with { Temperature = 0 }, Plain, Plain with { TopK = 40, TopP = 0.9 }, Plain with { TypicalP = 0.9 },
            Plain with { RepetitionPenalty = 1.1, RepetitionWindow = 64, FrequencyPenalty = 0.1, LogitBias = new Dictionary<int, float> { [1] = 1 } },
        ];
        foreach (GenerationOptions each in options)
        {
            Sampler sampler = new(Complete(each, 3000), [1, 2, 3]);
            for (int i = 0; i < 200; i++)
            {
                sampler.Choose(logits);
                sampler.Accept(i % 100);
            }

            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 100; i++)
            {
                sampler.Choose(logits);
                sampler.Accept(i);
            }

            Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        }
    }

    private static SamplingSettings Complete(GenerationOptions options, int vocabulary = 8) => new GenerationDefaults().Complete(options, vocabulary);

    private static float[] RandomLogits(int count, int seed)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() * 12) - 6))];
    }

    /// <summary>Pearson's test. Tokens that are expected less than five times count as one.</summary>
    private static void AssertFollows(double[] exact, int[] counts, int draws)
    {
        double chiSquare = 0, rare = 0;
        int rareCount = 0, freedom = -1;
        void Bin(double expected, int count)
        {
            chiSquare += (count - expected) * (count - expected) / expected;
            freedom++;
        }

        for (int id = 0; id < exact.Length; id++)
        {
            if (exact[id] == 0) Assert.Equal(0, counts[id]);
            if (draws * exact[id] >= 5)
            {
                Bin(draws * exact[id], counts[id]);
                continue;
            }

            rare += draws * exact[id];
            rareCount += counts[id];
        }

        if (rare > 0) Bin(rare, rareCount);
        if (freedom == 0) return;
        // The 99.9th percentile (Wilson and Hilferty 1931); seeds are fixed, so this holds always or never.
        double spread = 2.0 / (9 * freedom);
        Assert.InRange(chiSquare, 0, freedom * Math.Pow(1 - spread + (3.09 * Math.Sqrt(spread)), 3));
    }
}
