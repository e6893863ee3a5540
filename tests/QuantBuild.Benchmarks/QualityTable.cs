using System.Globalization;

namespace QuantBuild.Benchmarks;

/// <summary>Perplexity of the sample model by method, width and group size: the table of docs/quality.md.</summary>
static class QualityTable
{
    public static void Run()
    {
        using TemporaryFolder folder = new();
        bool first = true;
        foreach (int bits in new[] { 4, 3, 2 })
        {
            foreach (int groupSize in new[] { 128, 32 })
            {
                foreach (QuantizationMethod method in new[] { QuantizationMethod.Rtn, QuantizationMethod.Gptq })
                {
                    QuantizationSpec spec = new() { Method = method, Bits = bits, GroupSize = groupSize };
                    string artifact = folder.File($"{method}{bits}g{groupSize}.safetensors");
                    WorkerRun run = WorkerRun.Quantize(spec, artifact, evaluate: true);
                    QualityFigures quality = run.Manifest.Quality!;
                    if (first)
                    {
                        Console.WriteLine($"Perplexity on {quality.EvaluationTokens:N0} tokens, windows of {quality.EvaluationContext}.");
                        Console.WriteLine();
                        Console.WriteLine("| method | bits | group size | bits per weight | file | perplexity | over float |");
                        Console.WriteLine("|---|---|---|---|---|---|---|");
                        Row("float (BF16)", "16", "", "16", run.Manifest.OriginalBytes, quality.FloatPerplexity, "");
                        first = false;
                    }

                    Row(method.ToString().ToUpperInvariant(), $"{bits}", $"{groupSize}", BitsPerWeight(artifact), new FileInfo(artifact).Length,
                        quality.Perplexity, Over(quality));
                }
            }
        }
    }

    /// <summary>What each of GPTQ's options brings, at the width where it shows: each alone against the defaults.</summary>
    public static void RunOptions()
    {
        QuantizationSpec standard = new() { Bits = 3 };
        (string Name, QuantizationSpec Spec)[] variants =
        [
            ("defaults", standard),
            ("Symmetric=true", standard with { Symmetric = true }),
            ("ActOrder=false", standard with { ActOrder = false }),
            ("TrueSequential=false", standard with { TrueSequential = false }),
            ("Damping=0.1", standard with { Damping = 0.1 }),
            ("CalibrationSamples=64", standard with { CalibrationSamples = 64 }),
            ("CalibrationSamples=16", standard with { CalibrationSamples = 16 }),
        ];
        using TemporaryFolder folder = new();
        Console.WriteLine("| GPTQ, 3 bits, group size 128 | bits per weight | perplexity | over float |");
        Console.WriteLine("|---|---|---|---|");
        foreach ((string name, QuantizationSpec spec) in variants)
        {
            string artifact = folder.File(name + ".safetensors");
            QualityFigures quality = WorkerRun.Quantize(spec, artifact, evaluate: true).Manifest.Quality!;
            Console.WriteLine($"| {name} | {BitsPerWeight(artifact)} | {quality.Perplexity:F2} | {Over(quality)} |");
        }
    }

    private static string Over(QualityFigures quality) => $"+{100 * (quality.Perplexity / quality.FloatPerplexity - 1):F2}%";

    /// <summary>8 · bytes of the packed linears / their weights.</summary>
    private static string BitsPerWeight(string path)
    {
        using Artifact artifact = Artifact.Open(path);
        DecoderConfig config = DecoderConfig.Parse(artifact.Manifest.ConfigJson, path);
        long bytes = 0, weights = 0;
        foreach (LinearShape linear in Enumerable.Range(0, config.Layers).SelectMany(config.Linears))
        {
            bytes += artifact.File.Tensors.Values.Where(t => t.Name.StartsWith(linear.Name + ".", StringComparison.Ordinal)).Sum(t => t.ByteLength);
            weights += (long)linear.Inputs * linear.Outputs;
        }

        return (8.0 * bytes / weights).ToString("F2", CultureInfo.InvariantCulture);
    }

    private static void Row(string method, string bits, string groupSize, string perWeight, long bytes, double perplexity, string over) =>
        Console.WriteLine($"| {method} | {bits} | {groupSize} | {perWeight} | {bytes / 1e6:F2} MB | {perplexity:F2} | {over} |");
}
