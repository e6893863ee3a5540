using System.Globalization;

namespace QuantBuild.Benchmarks;

/// <summary>Quality of the sample model by method, width and group size: the table of docs/quality.md.</summary>
static class QualityTable
{
    public static void Run()
    {
        QuantizationMethod[] methods = [QuantizationMethod.Rtn, QuantizationMethod.Awq, QuantizationMethod.Gptq, QuantizationMethod.AutoRound];
        List<QuantizationSpec> specs =
        [
            new() { Method = QuantizationMethod.Int8 },
            new() { Method = QuantizationMethod.Rtn, Bits = 8 },
            new() { Method = QuantizationMethod.Gptq, Bits = 8 },
        ];
        foreach (int bits in new[] { 4, 3, 2 })
        {
            foreach (int groupSize in new[] { 128, 32 }) specs.AddRange(methods.Select(method => new QuantizationSpec { Method = method, Bits = bits, GroupSize = groupSize }));
            if (bits == 4) specs.AddRange(new[] { QuantizationMethod.Nf4, QuantizationMethod.Fp4, QuantizationMethod.Mxfp4 }.Select(method => new QuantizationSpec { Method = method }));
        }

        using TemporaryFolder folder = new();
        for (int i = 0; i < specs.Count; i++)
        {
            QuantizationSpec spec = specs[i];
            string artifact = folder.File(i + ".safetensors");
            WorkerRun run = WorkerRun.Quantize(spec, artifact, evaluate: true);
            QualityFigures quality = run.Manifest.Quality!;
            if (i == 0)
            {
                Console.WriteLine($"Perplexity on {quality.EvaluationTokens:N0} tokens, windows of {quality.EvaluationContext}.");
                Console.WriteLine();
                Console.WriteLine("| method | bits | group or block | bits per weight | file | perplexity | over float | KL divergence | top-1 agreement |");
                Console.WriteLine("|---|---|---|---|---|---|---|---|---|");
                Console.WriteLine($"| float (BF16) | 16 | | 16 | {run.Manifest.OriginalBytes / 1e6:F2} MB | {quality.FloatPerplexity:F2} | | | |");
            }

            Console.WriteLine(
                $"| {spec.Method.ToString().ToUpperInvariant()} | {spec.Bits} | {(spec.GroupSize == QuantizationSpec.PerChannel ? "row" : spec.GroupSize)} " +
                $"| {BitsPerWeight(artifact)} | {new FileInfo(artifact).Length / 1e6:F2} MB | {quality.Perplexity:F2} | {Over(quality)} " +
                $"| {quality.KlDivergence:F4} | {100 * quality.Top1Agreement:F1}% |");
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

    /// <summary>Widths by a budget, against one width for all and against mixes that anybody would guess.</summary>
    public static void RunBudgets()
    {
        (string Name, QuantizationSpec Spec)[] variants =
        [
            ("4 bits", new() { Bits = 4 }),
            ("3 bits", new() { Bits = 3 }),
            ("TargetBitsPerWeight=3.5", new() { TargetBitsPerWeight = 3.5m }),
            ("3 bits, groups of 64", new() { Bits = 3, GroupSize = 64 }),
            ("3 bits, layer 0 at 4", new() { Bits = 3, Override = "layers.0: Bits=4" }),
            ("3 bits, layer 5 at 4", new() { Bits = 3, Override = "layers.5: Bits=4" }),
            ("3 bits, down_proj at 4", new() { Bits = 3, Override = "down_proj: Bits=4" }),
            ("3 bits, v_proj and o_proj at 4", new() { Bits = 3, Override = "v_proj: Bits=4; o_proj: Bits=4" }),
            ("TargetBitsPerWeight=3.28", new() { TargetBitsPerWeight = 3.285m }),
            ("TargetBitsPerWeight=4.28", new() { TargetBitsPerWeight = 4.285m }),
        ];
        using TemporaryFolder folder = new();
        Console.WriteLine("| GPTQ, group size 128 | bits per weight | perplexity | over float | KL divergence | top-1 agreement |");
        Console.WriteLine("|---|---|---|---|---|---|");
        foreach ((string name, QuantizationSpec spec) in variants)
        {
            string artifact = folder.File(name.Replace(' ', '-') + ".safetensors");
            QualityFigures quality = WorkerRun.Quantize(spec, artifact, evaluate: true).Manifest.Quality!;
            Console.WriteLine($"| {name} | {BitsPerWeight(artifact)} | {quality.Perplexity:F2} | {Over(quality)} | {quality.KlDivergence:F4} | {100 * quality.Top1Agreement:F1}% |");
        }
    }

    private static string Over(QualityFigures quality) => $"+{100 * quality.PerplexityIncrease:F2}%";

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
}
