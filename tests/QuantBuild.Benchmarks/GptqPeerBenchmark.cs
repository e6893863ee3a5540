using System.Globalization;
using QuantBuild.Quantization;
using TorchSharp;

namespace QuantBuild.Benchmarks;

/// <summary>
/// GPTQ of one linear by ours and by the code of its authors in PyTorch, in turn, on the same weight, Hessian and threads: seconds, and the error, so that
/// speed is not bought with quality. The other code is the user's own copy, which is not part of this repository.
/// </summary>
static class GptqPeerBenchmark
{
    private const int Size = 4096;
    private const int Tokens = 8192;
    private const int Runs = 3;
    private const int Bits = 4;
    private const int GroupSize = 128;
    private const double Damping = 0.01;

    /// <param name="reference">The folder with gptq.py and quant.py.</param>
    /// <param name="python">A Python that has torch.</param>
    public static void Run(string reference, string python)
    {
        TorchDevice.Choose("cpu");
        using IDisposable noGradient = torch.no_grad();
        using DisposeScope scope = torch.NewDisposeScope();
        int threads = Environment.ProcessorCount;

        torch.manual_seed(1);
        torch.Tensor weight = RandomLinear.Weight(Size, Size);
        torch.Tensor hessian = RandomLinear.Hessian(Size, Tokens);
        using TemporaryFolder folder = new();
        Save(weight, folder.File("weight.f32"));
        Save(hessian, folder.File("hessian.f32"));
        using PeerProcess peer = new(
            python, threads, reference, folder.File("weight.f32"), folder.File("hessian.f32"), $"{Size}", $"{Size}", $"{Bits}", $"{GroupSize}",
            Damping.ToString(CultureInfo.InvariantCulture), $"{threads}");

        Console.WriteLine($"One linear of {Size} x {Size}, {Bits} bits, group size {GroupSize}, Hessian of {Tokens:N0} tokens, {threads} threads, medians of {Runs} runs in turn (the best in brackets):");
        Console.WriteLine();
        Console.WriteLine("| activation order | ours | reference | ratio | our error | reference's error | ratio |");
        Console.WriteLine("|---|---|---|---|---|---|---|");
        List<(bool ActOrder, GptqParts Parts)> parts = [];
        // Ours always searches a group's range; the reference can, and does not unless it is told to.
        foreach ((bool actOrder, bool search) in new[] { (false, false), (true, false), (true, true) })
        {
            GptqOfLinear ours = new(weight, hessian, new QuantizationSpec { Bits = Bits, GroupSize = GroupSize, ActOrder = actOrder, Damping = Damping });
            string task = $"quantize {(actOrder ? 1 : 0)} {(search ? 1 : 0)}";
            // Once each without a clock: code is compiled, and memory is there.
            ours.Run();
            peer.Ask(task);
            List<double> ourSeconds = [], theirSeconds = [];
            double ourError = 0, theirError = 0;
            for (int run = 0; run < Runs; run++)
            {
                ourSeconds.Add(ours.Run());
                (double seconds, theirError) = peer.Ask(task);
                theirSeconds.Add(seconds);
                ourError = ours.Error();
            }

            if (!search) parts.Add((actOrder, GptqParts.Measure(ours, Runs)));
            double ratio = Figures.Median(theirSeconds) / Figures.Median(ourSeconds);
            Console.WriteLine(
                $"| {(actOrder ? "yes" : "no")}{(search ? ", reference with mse=True" : "")} | {Text(ourSeconds)} | {Text(theirSeconds)} | {ratio:F2} " +
                $"| {ourError:G6} | {theirError:G6} | {ourError / theirError:F4} |");
        }

        Console.WriteLine();
        Console.WriteLine($"Reference: PyTorch {peer.Version}. A float32 product of 2048 x 2048 matrices in the same run: ours {Gemm(scope):F0} GFLOP/s a thread, " +
            $"the reference's {GemmFlops / peer.Ask("gemm").Seconds / 1e9:F0} on all of its {threads}.");
        Console.WriteLine();
        GptqParts.Print(parts);
    }

    private static string Text(List<double> seconds) => $"{Figures.Median(seconds):F2} s ({seconds.Min():F2})";

    private static double GemmFlops => 2 * Math.Pow(2048, 3);

    private static double Gemm(DisposeScope scope)
    {
        torch.Tensor a = torch.randn(2048, 2048), b = torch.randn(2048, 2048);
        return GemmFlops / Figures.Seconds(5, () => scope.Detach(a.mm(b)).Dispose()).Min() / 1e9;
    }

    private static void Save(torch.Tensor tensor, string path)
    {
        using FileStream stream = File.Create(path);
        stream.Write(tensor.bytes);
    }
}
