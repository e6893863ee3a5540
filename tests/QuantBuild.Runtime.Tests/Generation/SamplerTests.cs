using QuantBuild.Generation;

namespace QuantBuild.Runtime.Tests.Generation;

public class SamplerTests
{
    private static readonly float[] Logits = [1.5f, -0.5f, 2.5f, 0f, 2.5f, -30f, 1f, 0.25f];

    public static TheoryData<double, int, double, double> Settings { get; } = new()
    {
        { 1, 0, 1, 0 },
        { 0.5, 0, 1, 0 },
        { 2, 0, 1, 0 },
        { 1, 3, 1, 0 },
        { 1, 1, 1, 0 },
        { 1, 0, 0.7, 0 },
        { 1, 0, 0.01, 0 },
        { 1, 4, 0.8, 0 },
        { 1, 0, 1, 0.3 },
        { 0.8, 5, 0.95, 0.1 },
        { 1, 100, 1, 0 },
    };

    [Theory]
    [MemberData(nameof(Settings))]
    public void Tokens_follow_the_exact_distribution(double temperature, int topK, double topP, double minP)
    {
        const int draws = 40_000;
        double[] exact = Distribution(temperature, topK, topP, minP);
        Sampler sampler = new(Complete(temperature, topK, topP, minP, seed: 12345));
        int[] counts = new int[Logits.Length];
        for (int i = 0; i < draws; i++) counts[sampler.Choose(Logits)]++;

        double chiSquare = 0;
        int freedom = -1;
        for (int id = 0; id < exact.Length; id++)
        {
            double expected = draws * exact[id];
            if (exact[id] == 0) Assert.Equal(0, counts[id]);
            if (expected < 5) continue;
            chiSquare += (counts[id] - expected) * (counts[id] - expected) / expected;
            freedom++;
        }

        // Beyond the 99.9th percentile for each number of degrees of freedom; the seed is fixed, so this holds always or never.
        double[] limits = [0.001, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32];
        Assert.InRange(chiSquare, 0, limits[freedom]);
    }

    [Fact]
    public void Temperature_zero_is_greedy_and_the_smaller_id_wins_a_tie()
    {
        Sampler sampler = new(Complete(0, 0, 1, 0, seed: 1));
        Assert.All(Enumerable.Range(0, 20), _ => Assert.Equal(2, sampler.Choose(Logits)));
    }

    [Fact]
    public void A_seed_fixes_the_choices()
    {
        int[] Draw(ulong seed)
        {
            Sampler sampler = new(Complete(1, 0, 0.9, 0, seed));
            return [.. Enumerable.Range(0, 100).Select(_ => sampler.Choose(Logits))];
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
    public void The_choice_among_many_tokens_is_that_of_a_sort()
    {
        Random random = new(9);
        float[] logits = [.. Enumerable.Range(0, 5000).Select(_ => (float)(random.NextDouble() * 12))];
        double[] weight = [.. logits.Select(l => Math.Exp(l))];
        double total = weight.Sum();
        double kept = 0;
        HashSet<int> nucleus = [];
        foreach (int id in Enumerable.Range(0, 5000).OrderByDescending(id => weight[id]))
        {
            if (kept >= 0.5 * total) break;
            nucleus.Add(id);
            kept += weight[id];
        }

        Sampler sampler = new(Complete(1, 0, 0.5, 0, seed: 3));
        HashSet<int> drawn = [.. Enumerable.Range(0, 3000).Select(_ => sampler.Choose(logits))];
        Assert.Subset(nucleus, drawn);
        Assert.True(drawn.Count > nucleus.Count / 2);
    }

    // By sorting and summing, as the papers describe it: Fan et al. 2018 (top-k), Holtzman et al. 2020 (top-p), Nguyen et al. 2024 (min-p).
    private static double[] Distribution(double temperature, int topK, double topP, double minP)
    {
        double[] p = Normalize([.. Logits.Select(l => Math.Exp(l / temperature))]);
        int[] order = [.. Enumerable.Range(0, p.Length).OrderByDescending(id => p[id]).ThenBy(id => id)];
        if (topK > 0) foreach (int id in order.Skip(topK)) p[id] = 0;
        p = Normalize(p);
        double before = 0;
        foreach (int id in order)
        {
            double own = p[id];
            if (before >= topP) p[id] = 0;
            before += own;
        }

        double largest = p.Max();
        for (int id = 0; id < p.Length; id++) if (p[id] < minP * largest) p[id] = 0;
        return Normalize(p);
    }

    private static double[] Normalize(double[] p) => [.. p.Select(v => v / p.Sum())];

    private static SamplingSettings Complete(double temperature, int topK, double topP, double minP, ulong seed) =>
        new GenerationDefaults().Complete(new GenerationOptions { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, Seed = seed });
}
