namespace QuantBuild.Benchmarks;

/// <summary>Seconds and peak memory to quantize the sample model in the worker, its start and the evaluation told apart.</summary>
static class QuantizeBenchmark
{
    private const int Runs = 3;

    public static void Run()
    {
        using TemporaryFolder folder = new();
        Console.WriteLine($"The sample model (6.8 million parameters) on the CPU, {Environment.ProcessorCount} cores, medians of {Runs} runs:");
        Console.WriteLine();
        Console.WriteLine("| method | evaluation | process | inside the worker | peak memory |");
        Console.WriteLine("|---|---|---|---|---|");
        foreach (QuantizationMethod method in new[] { QuantizationMethod.Rtn, QuantizationMethod.Nf4, QuantizationMethod.Gptq, QuantizationMethod.Awq, QuantizationMethod.AutoRound })
        {
            foreach (bool evaluate in new[] { false, true })
            {
                WorkerRun[] runs = [.. Enumerable.Range(0, Runs).Select(run => WorkerRun.Quantize(
                    new QuantizationSpec { Method = method }, folder.File($"{method}{evaluate}{run}.safetensors"), evaluate))];
                Console.WriteLine(
                    $"| {method.ToString().ToUpperInvariant()}, 4 bits | {(evaluate ? "yes" : "no")} " +
                    $"| {Figures.Median(runs.Select(r => r.WallSeconds)):F1} s | {Figures.Median(runs.Select(r => r.Record.Seconds)):F1} s " +
                    $"| {Figures.Median(runs.Select(r => (double)r.Record.PeakMemoryBytes)) / 1e6:F0} MB |");
            }
        }
    }
}
