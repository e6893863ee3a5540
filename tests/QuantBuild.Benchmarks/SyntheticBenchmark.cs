namespace QuantBuild.Benchmarks;

/// <summary>
/// Seconds and peak memory to quantize a model of 1.1 billion weights, which are random: neither depends on their values. What calibrates runs on two
/// layers and is extrapolated, as every layer after the first takes the same time.
/// </summary>
static class SyntheticBenchmark
{
    private const string Shape = "tinyllama-1.1b";
    private const int FewLayers = 2;

    // What the bound allows for .NET, libtorch and the pages of the files that are read and written.
    private const double FixedBytes = 500e6;

    public static void Run(int samples, int context)
    {
        using TemporaryFolder folder = new();
        (string whole, string few) = (folder.File("whole"), folder.File("few"));
        WorkerRun.Start(["synthesize", "--shape", Shape, "--tokenizer", Repository.Model, "-o", whole], _ => { });
        WorkerRun.Start(["synthesize", "--shape", Shape, "--tokenizer", Repository.Model, "--layers", $"{FewLayers}", "-o", few], _ => { });
        DecoderConfig config = ModelFolder.Open(whole).Config;
        string text = Calibration(folder, samples, context);

        Console.WriteLine(
            $"A model of random weights in the shape of {Shape} ({config.Parameters / 1e6:N0} million, BF16) on the CPU, {Environment.ProcessorCount} cores. " +
            $"GPTQ calibrates on {samples} windows of {context:N0} tokens and measures quality on {Windows(samples) / 10} that it holds out; the others read no text.");
        Console.WriteLine();
        Console.WriteLine($"| method | layers | seconds | each further layer | {config.Layers} layers | peak memory | without pages of files | bound |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        foreach (QuantizationMethod method in new[] { QuantizationMethod.Rtn, QuantizationMethod.Nf4 })
        {
            WorkerRun run = WorkerRun.Quantize(new QuantizationSpec { Method = method }, folder.File(method + ".safetensors"), evaluate: false, whole);
            Print(run, method, config, config.Layers, activations: 0);
        }

        QuantizationSpec gptq = new() { CalibrationSamples = samples, CalibrationContext = context, EvaluationContext = context };
        // The calibration windows through float and quantized layers, these with their attention outputs; and the held-out ones, floating point and quantized.
        double activations = ((3.0 * samples) + (2.0 * (Windows(samples) / 10))) * context * config.HiddenSize * sizeof(float);
        Print(WorkerRun.Quantize(gptq, folder.File("gptq.safetensors"), evaluate: false, few, text), gptq.Method, config, FewLayers, activations);
        Console.WriteLine();
        Console.WriteLine("The bound is twice the weights of a layer in float32, the activations that are kept, and 500 MB.");
    }

    private static void Print(WorkerRun run, QuantizationMethod method, DecoderConfig config, int layers, double activations)
    {
        double seconds = run.Record.Seconds;
        double further = (run.LayerSeconds[^1] - run.LayerSeconds[0]) / (layers - 1);
        double bound = (2 * sizeof(float) * config.Linears(0).Sum(linear => (double)linear.Inputs * linear.Outputs)) + activations + FixedBytes;
        string extrapolated = layers == config.Layers ? $"{seconds:F1} s" : $"{(seconds + ((config.Layers - layers) * further)) / 60:F0} min, extrapolated";
        Console.WriteLine(
            $"| {method.ToString().ToUpperInvariant()}, 4 bits | {layers} | {seconds:F1} s | {further:F1} s | {extrapolated} " +
            $"| {run.Record.PeakMemoryBytes / 1e6:N0} MB | {run.PeakOwnBytes / 1e6:N0} MB | {bound / 1e6:N0} MB |");
    }

    /// <summary>Windows of a text of which a tenth is held out, and these are left.</summary>
    private static int Windows(int samples) => samples + (samples / 9) + 1;

    /// <summary>As much of the sample's text as gives these windows and, of every ten, one that is held out.</summary>
    private static string Calibration(TemporaryFolder folder, int samples, int context)
    {
        string file = Path.Combine(Repository.Model, "tokenizer.json");
        TextTokenizer tokenizer = TextTokenizer.Load(File.ReadAllBytes(file), file);
        IReadOnlyList<int> tokens = tokenizer.Encode(File.ReadAllText(Repository.Calibration), addSpecialTokens: false);
        int windows = Windows(samples);
        if (tokens.Count < windows * context) throw new InvalidOperationException($"The sample's text has {tokens.Count:N0} tokens, and {windows * context:N0} are needed.");
        string text = folder.File("calibration.txt");
        // Half a window more, as a text that is cut between two tokens may become other tokens.
        File.WriteAllText(text, tokenizer.Decode(tokens.Take((windows * context) + (context / 2))));
        return text;
    }
}
