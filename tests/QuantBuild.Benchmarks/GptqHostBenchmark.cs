using System.Diagnostics;
using QuantBuild.Quantization;
using TorchSharp;

namespace QuantBuild.Benchmarks;

/// <summary>
/// What is left to the host's cores where a GPU quantizes: GPTQ's loop over the columns, dequantizing and packing. Nanoseconds of one core for a weight, as the least of many short runs,
/// since the machine may be shared; and what they come to for a model of Llama 2's shape. To be run on one core: <c>DOTNET_PROCESSOR_COUNT=1</c>.
/// </summary>
static class GptqHostBenchmark
{
    // Rows of a linear of 4,096 inputs: few enough that a run takes some milliseconds.
    private const int Rows = 64;
    private const int Inputs = 4096;
    private const int Runs = 200;
    private const int Cores = 16;

    // Llama-2-7B: q, k, v and o, and three linears of the MLP, in 32 layers.
    private const double WeightsOfModel = 32 * ((4.0 * 4096 * 4096) + (3.0 * 4096 * 11008));

    public static void Run()
    {
        if (Environment.ProcessorCount > 1) Console.WriteLine("This is no time of one core: set DOTNET_PROCESSOR_COUNT to 1.");
        TorchDevice.Choose("cpu");
        using IDisposable noGradient = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        torch.manual_seed(1);
        Console.WriteLine($"4 bits, group size 128, the least of {Runs} runs, and for the {WeightsOfModel / 1e9:F2} billion weights of Llama-2-7B's linears on {Cores} cores:");
        Console.WriteLine();
        Console.WriteLine("| | a weight, one core | Llama-2-7B, 16 cores |");
        Console.WriteLine("|---|---|---|");
        void Print(string what, double seconds) => Console.WriteLine($"| {what} | {seconds / Rows / Inputs * 1e9:F2} ns | {seconds * WeightsOfModel / Rows / Inputs / Cores:F1} s |");
        AffineLinear made = new(Rows, Inputs, 4, 128, symmetric: false), ordered = new(Rows, Inputs, 4, 128, symmetric: false) { Order = [.. Enumerable.Range(0, Inputs).Select(i => i * 1501 % Inputs)] };
        torch.Tensor columns = RandomLinear.Weight(Rows, Inputs).t().contiguous(), errors = torch.empty(Gptq.BlockSize, Rows);
        // As that of a Hessian: the diagonal above all.
        torch.Tensor upper = torch.randn(Gptq.BlockSize, Gptq.BlockSize).mul(torch.tensor(0.05f)).add_(torch.eye(Gptq.BlockSize), 1f).triu();
        Print("loop over the columns", Least(() =>
        {
            Gptq.Block block = new(made, new AffineGrid(4, symmetric: false), null);
            for (int start = 0; start < Inputs; start += Gptq.BlockSize) block.Quantize(columns.narrow(0, start, Gptq.BlockSize), errors, upper, start, start + Gptq.BlockSize);
        }));
        Print("dequantizing", Least(() => made.Dequantize(torch.CPU).Dispose()));
        Print("dequantizing, activation order", Least(() => ordered.Dequantize(torch.CPU).Dispose()));
        Print("packing", Least(() => _ = made.Parts().Sum(part => part.Bytes.Length)));
    }

    private static double Least(Action run)
    {
        double least = double.MaxValue;
        for (int i = 0; i < Runs; i++)
        {
            using DisposeScope step = torch.NewDisposeScope();
            long start = Stopwatch.GetTimestamp();
            run();
            least = Math.Min(least, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        return least;
    }
}
