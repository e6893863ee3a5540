using QuantBuild.Generation;

namespace QuantBuild.Benchmarks;

/// <summary>
/// Microseconds that the choice of one token takes in a vocabulary of 151,936 (that of Qwen2.5), where the model is sure of the next token, and where it knows
/// nothing. Greedy decoding reads each logit once, which is the floor.
/// </summary>
static class SamplerBenchmark
{
    private const int Vocabulary = 151_936;
    private const int Choices = 20;
    private const int Runs = 15;

    public static void Run()
    {
        (string Name, GenerationOptions Options)[] rows =
        [
            ("greedy", new() { Temperature = 0 }),
            ("top-k 40, top-p 0.9", new() { Temperature = 0.8, TopK = 40, TopP = 0.9 }),
            ("top-k 40, top-p 0.9, repetition penalty on 1,000 tokens", new() { Temperature = 0.8, TopK = 40, TopP = 0.9, RepetitionPenalty = 1.1 }),
            ("top-k 40, top-p 0.9, 5 log-probabilities", new() { Temperature = 0.8, TopK = 40, TopP = 0.9, LogProbabilities = 5 }),
            ("top-p 0.9", new() { Temperature = 0.8, TopP = 0.9 }),
            ("min-p 0.05", new() { Temperature = 0.8, MinP = 0.05 }),
            ("typical-p 0.9", new() { Temperature = 0.8, TypicalP = 0.9 }),
            ("temperature alone", new() { Temperature = 0.8 }),
        ];
        float[] sure = Normal(deviation: 2), unsure = Normal(deviation: 1);
        for (int i = 0; i < 20; i++) sure[i * 7001] = 20 - i;
        int[] prompt = [.. Enumerable.Range(0, 1000).Select(i => i * 131)];
        Console.WriteLine($"Microseconds of a choice among {Vocabulary:N0} tokens, medians of {Runs} runs of {Choices}:");
        Console.WriteLine();
        Console.WriteLine("| sampling | one likely token | all tokens alike |");
        Console.WriteLine("|---|---|---|");
        foreach ((string name, GenerationOptions options) in rows)
        {
            Console.WriteLine($"| {name} | {Microseconds(options, sure, prompt):F0} | {Microseconds(options, unsure, prompt):F0} |");
        }
    }

    private static double Microseconds(GenerationOptions options, float[] logits, int[] prompt)
    {
        Sampler sampler = new(new GenerationDefaults().Complete(options with { Seed = 1 }, Vocabulary), prompt);
        // The penalty changes what it is given; to restore it would be measured too.
        float[] scratch = [.. logits];
        return 1e6 / Choices * Figures.Median(Figures.Seconds(Runs, () =>
        {
            for (int i = 0; i < Choices; i++) sampler.Choose(scratch);
        }));
    }

    private static float[] Normal(double deviation)
    {
        Random random = new(1);
        // Box and Muller 1958.
        return [.. Enumerable.Range(0, Vocabulary).Select(_ =>
            (float)(deviation * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(Math.Tau * random.NextDouble())))];
    }
}
