using System.Diagnostics;

namespace QuantBuild.Benchmarks;

/// <summary>
/// A model of 1.1 billion random weights in the shape of TinyLlama, 4 bits in groups of 128, embedding and head too: how fast it answers on one thread and on two. Beside it the ceiling of
/// one token at a time, the bytes that a token reads over the read bandwidth measured in the same run; and llama.cpp, where <c>LLAMA_BENCH</c> names its binary and models.
/// </summary>
static class InferenceBenchmark
{
    private const int Steps = 24;
    private const int PromptTokens = 512;

    private static readonly int[] Contexts = [0, 512, 2000];

    public static void Run(string? artifact)
    {
        using TemporaryFolder folder = new();
        artifact ??= Make(folder);
        Console.WriteLine("| threads | prompt of 512, tokens/s | decode at 0, tokens/s | at 512 | at 2,000 | bytes a token | read bandwidth | of the ceiling |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        foreach (int threads in new[] { 1, Environment.ProcessorCount }.Distinct()) Measure(artifact, threads);
    }

    private static string Make(TemporaryFolder folder)
    {
        string model = folder.File("model"), artifact = folder.File("model.safetensors");
        WorkerRun.Start(["synthesize", "-o", model], _ => { });
        WorkerRun.Quantize(
            new QuantizationSpec { Method = QuantizationMethod.Rtn, Bits = 4, Override = "lm_head: Bits=4; embed_tokens: Bits=4" }, artifact, evaluate: false, model: model);
        return artifact;
    }

    private static void Measure(string artifact, int threads)
    {
        using LanguageModel model = LanguageModel.Load(artifact, new LoadOptions { Threads = threads });
        int[] tokens = [.. Enumerable.Range(0, 2048).Select(i => 5 + (i * 7 % 200))];
        // Pages in what the file has, and compiles.
        foreach (double _ in model.StepSeconds(tokens[..40]).Take(4)) { }
        double bandwidth = ReadBandwidth.Measure(threads);
        double prompt = model.StepSeconds(tokens[..PromptTokens]).First();
        double[] decode = [.. Contexts.Select(context => Figures.Median([.. model.StepSeconds(tokens[..Math.Max(1, context)]).Skip(1).Take(Steps)]))];
        bandwidth = Math.Max(bandwidth, ReadBandwidth.Measure(threads));
        long bytes = DecodeBenchmark.BytesPerToken(artifact);
        Console.WriteLine(
            $"| {threads} | {PromptTokens / prompt:F1} | {string.Join(" | ", decode.Select(seconds => $"{1 / seconds:F1}"))} " +
            $"| {bytes / 1e6:F1} MB | {bandwidth / 1e9:F1} GB/s | {bytes / decode[0] / bandwidth:P0} |");
    }
}
