namespace QuantBuild.Benchmarks;

/// <summary>
/// Tokens a second of the sample model: one token at a time, and a prompt as a batch. Beside them the ceiling of one-token decoding:
/// the bytes that a token reads over the read bandwidth measured in the same run.
/// </summary>
static class DecodeBenchmark
{
    private const int PromptTokens = 256;
    private const int NewTokens = 192;
    private const int Runs = 5;
    private const int ShortTokens = 32;
    private const int ShortRuns = 200;

    public static void Run()
    {
        using TemporaryFolder folder = new();
        Console.WriteLine($"The sample model, group size 128; {PromptTokens} prompt tokens, then {NewTokens} tokens one by one; medians of {Runs} runs:");
        Console.WriteLine();
        Console.WriteLine("| bits | threads | prompt, tokens/s | decode, tokens/s | bytes a token | read bandwidth | decode at that bandwidth |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        foreach (int bits in new[] { 8, 4, 3, 2 })
        {
            // Round-to-nearest has the same bytes as GPTQ, so the same speed, and is made at once.
            string artifact = folder.File($"{bits}.safetensors");
            WorkerRun.Quantize(new QuantizationSpec { Method = QuantizationMethod.Rtn, Bits = bits }, artifact, evaluate: false);
            foreach (int threads in new[] { 1, Environment.ProcessorCount }.Distinct()) Measure(artifact, bits, threads);
        }
    }

    // The fifth of a hundred: one lucky reading of the clock moves nothing.
    private static double Fastest(double[] seconds) => seconds.Order().ElementAt(seconds.Length / 20);

    /// <summary>Tokens a second of formats of the same width, in turn, over those of round-to-nearest: the figures of <c>DecodeSpeed</c>.</summary>
    public static void RunFormats()
    {
        (string Name, QuantizationSpec Spec)[] formats =
        [
            ("IntAffine, 4 bits", new() { Method = QuantizationMethod.Rtn, Bits = 4 }),
            ("IntAffine, 4 bits, symmetric", new() { Method = QuantizationMethod.Rtn, Bits = 4, Symmetric = true }),
            ("IntAffine, 4 bits, with an order (Gptq)", new() { Bits = 4, CalibrationSamples = 1 }),
            ("NF4", new() { Method = QuantizationMethod.Nf4 }),
            ("FP4", new() { Method = QuantizationMethod.Fp4 }),
            ("IntAffine, 8 bits", new() { Method = QuantizationMethod.Rtn, Bits = 8 }),
            ("LLM.int8(), OutlierThreshold 6", new() { Method = QuantizationMethod.Int8 }),
            ("LLM.int8(), OutlierThreshold 0", new() { Method = QuantizationMethod.Int8, OutlierThreshold = 0 }),
        ];
        using TemporaryFolder folder = new();
        LanguageModel[] models =
        [
            .. formats.Select((format, i) =>
            {
                string artifact = folder.File(i + ".safetensors");
                WorkerRun.Quantize(format.Spec, artifact, evaluate: false);
                return LanguageModel.Load(artifact, new LoadOptions { Device = "cpu", Threads = 1, PromptCacheTokens = 0 });
            }),
        ];
        double[][] seconds = [.. models.Select(_ => new double[ShortRuns])];
        GenerationOptions options = new() { Temperature = 0, MaxTokens = ShortTokens };
        // In turn and short, so that what else the machine does falls on all alike, and spares each now and then.
        for (int run = -1; run < ShortRuns; run++)
        {
            for (int i = 0; i < models.Length; i++)
            {
                long start = System.Diagnostics.Stopwatch.GetTimestamp();
                models[i].Generate("It was", options);
                if (run >= 0) seconds[i][run] = System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
        }

        Console.WriteLine($"The sample model; {ShortTokens} tokens one by one on one thread, {ShortRuns} rounds in turn; the fastest rounds:");
        Console.WriteLine();
        Console.WriteLine("| format | decode, tokens/s | over IntAffine of that width |");
        Console.WriteLine("|---|---|---|");
        for (int i = 0; i < models.Length; i++)
        {
            int peer = formats[i].Spec.Bits == 4 ? 0 : 5;
            Console.WriteLine($"| {formats[i].Name} | {ShortTokens / Fastest(seconds[i]):F0} | {Fastest(seconds[peer]) / Fastest(seconds[i]):F2} |");
            models[i].Dispose();
        }
    }

    private static void Measure(string artifact, int bits, int threads)
    {
        using LanguageModel model = LanguageModel.Load(artifact, new LoadOptions { Device = "cpu", Threads = threads, PromptCacheTokens = 0 });
        int[] prompt = [.. model.Tokenizer.Encode(File.ReadAllText(Repository.Evaluation)).Take(PromptTokens)];
        double[][] runs = [.. Enumerable.Range(0, Runs + 1).Select(_ => model.StepSeconds(prompt).Take(NewTokens + 1).ToArray()).Skip(1)];
        double first = Figures.Median(runs.Select(run => run[0])), next = Figures.Median(runs.SelectMany(run => run.Skip(1)));

        double bandwidth = ReadBandwidth.Measure(threads);
        long bytes = BytesPerStep(artifact);
        Console.WriteLine(
            $"| {bits} | {threads} | {PromptTokens / first:F0} | {1 / next:F0} | {bytes / 1e6:F2} MB " +
            $"| {bandwidth / 1e9:F1} GB/s | {bandwidth / bytes:F0} |");
    }

    /// <summary>Every weight but the embedding, of which a token reads one row; of experts those that somebody's token sees, where texts do not depend on each other.</summary>
    internal static long BytesPerStep(string path, int texts = 1)
    {
        using Artifact artifact = Artifact.Open(path);
        double unseen = artifact.Config.Experts == 0 ? 0 : Math.Pow(1 - ((double)artifact.Config.ExpertsPerToken / artifact.Config.Experts), texts);
        return artifact.File.Tensors.Values
            .Where(t => t.Name is not ("tokenizer" or DecoderConfig.EmbeddingName) && !t.Name.StartsWith("model.embed_tokens.", StringComparison.Ordinal))
            .Sum(t => IsOfExpert(t.Name) ? (long)(t.ByteLength * (1 - unseen)) : t.ByteLength);
    }

    /// <summary>Whether a linear or a tensor is one of an expert's.</summary>
    internal static bool IsOfExpert(string name) => name.Contains(".experts.", StringComparison.Ordinal);
}
