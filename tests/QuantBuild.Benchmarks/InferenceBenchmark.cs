using System.Diagnostics;

namespace QuantBuild.Benchmarks;

/// <summary>
/// A model of 1.1 billion random weights in the shape of TinyLlama, 4 bits in groups of 128, embedding and head too: how fast it answers on one thread and on two. Beside it the ceiling of
/// one token at a time, the bytes that a token reads over the read bandwidth measured in the same run; and llama.cpp, where <see cref="LlamaBench"/> is told of it.
/// </summary>
static class InferenceBenchmark
{
    private const int Steps = 32;
    private const int PromptTokens = 512;
    private const int AtOnce = 8;

    private static readonly int[] Contexts = [0, 512, 2000];

    public static void Run(string? artifact)
    {
        using TemporaryFolder folder = new();
        artifact ??= Make(folder);
        List<string> llama = [];
        Console.WriteLine("| threads | load | managed memory | own memory in all | first token of 512 | prompt of 512, tokens/s | decode at 0, tokens/s | at 512 | at 2,000 | bytes a token | read bandwidth | of the ceiling |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|---|---|");
        int[] threads = [.. new[] { 1, Environment.ProcessorCount }.Distinct()];
        foreach (int count in threads)
        {
            (double prompt, double decode) = Measure(artifact, count);
            foreach (LlamaBench peer in LlamaBench.Run(count))
            {
                llama.Add(
                    $"| {peer.Model}, {peer.Bytes / 1e6:F0} MB | {count} | {peer.PromptTokensPerSecond:F1} | {prompt / peer.PromptTokensPerSecond:F2} " +
                    $"| {peer.DecodeTokensPerSecond:F1} | {decode / peer.DecodeTokensPerSecond:F2} |");
            }
        }

        if (llama.Count > 0)
        {
            Console.WriteLine();
            Console.WriteLine("| llama.cpp | threads | prompt of 512, tokens/s | ours over it | decode at 0, tokens/s | ours over it |");
            Console.WriteLine("|---|---|---|---|---|---|");
            foreach (string row in llama) Console.WriteLine(row);
        }

        Console.WriteLine();
        Console.WriteLine("| threads | one text, tokens/s | 8 texts at once, tokens/s | ratio |");
        Console.WriteLine("|---|---|---|---|");
        foreach (int count in threads) MeasureMany(artifact, count);
    }

    private static string Make(TemporaryFolder folder)
    {
        string model = folder.File("model"), artifact = folder.File("model.safetensors");
        WorkerRun.Start(["synthesize", "-o", model], _ => { });
        WorkerRun.Quantize(
            new QuantizationSpec { Method = QuantizationMethod.Rtn, Bits = 4, Override = "lm_head: Bits=4; embed_tokens: Bits=4" }, artifact, evaluate: false, model: model);
        return artifact;
    }

    private static (double Prompt, double Decode) Measure(string artifact, int threads)
    {
        long before = GC.GetTotalAllocatedBytes(precise: true), start = Stopwatch.GetTimestamp();
        using LanguageModel model = LanguageModel.Load(artifact, new LoadOptions { Device = "cpu", Threads = threads, PromptCacheTokens = 0 });
        double load = Stopwatch.GetElapsedTime(start).TotalSeconds;
        long allocated = GC.GetTotalAllocatedBytes(precise: true) - before;
        int[] tokens = [.. Enumerable.Range(0, 2048).Select(i => 5 + (i * 7 % 200))];
        // Pages in what the file has, and compiles.
        foreach (double _ in model.StepSeconds(tokens[..40]).Take(4)) { }
        double bandwidth = ReadBandwidth.Measure(threads);
        double prompt = Figures.Median(Enumerable.Range(0, 3).Select(_ => model.StepSeconds(tokens[..PromptTokens]).First()));
        double[] decode = [.. Contexts.Select(context => Figures.Median(model.StepSeconds(tokens[..Math.Max(1, context)]).Skip(1).Take(Steps)))];
        bandwidth = Math.Max(bandwidth, ReadBandwidth.Measure(threads));
        long bytes = DecodeBenchmark.BytesPerStep(artifact);
        Console.WriteLine(
            $"| {threads} | {load:F2} s | {allocated / 1e6:F0} MB | {WorkerRun.OwnBytes(Environment.ProcessId) / 1e6:F0} MB | {prompt:F1} s | {PromptTokens / prompt:F1} | {string.Join(" | ", decode.Select(seconds => $"{1 / seconds:F1}"))} " +
            $"| {bytes / 1e6:F1} MB | {bandwidth / 1e9:F1} GB/s | {100 * bytes / decode[0] / bandwidth:F0}% |");
        return (PromptTokens / prompt, 1 / decode[0]);
    }

    private static void MeasureMany(string artifact, int threads)
    {
        using LanguageModel model = LanguageModel.Load(artifact, new LoadOptions { Device = "cpu", Threads = threads, PromptCacheTokens = 0 });
        GenerationOptions options = new() { MaxTokens = Steps, Temperature = 0, LogitBias = model.Config.EosTokenIds.ToDictionary(id => id, _ => float.NegativeInfinity) };
        model.Generate("a", options with { MaxTokens = 4 });
        double Seconds(int texts) => Figures.Median(Figures.Seconds(3, () =>
            Task.WaitAll([.. Enumerable.Range(0, texts).Select(i => model.GenerateAsync(((char)('a' + i)).ToString(), options))])));
        double one = Steps / Seconds(1), many = AtOnce * Steps / Seconds(AtOnce);
        Console.WriteLine($"| {threads} | {one:F1} | {many:F1} | {many / one:F2} |");
    }
}
