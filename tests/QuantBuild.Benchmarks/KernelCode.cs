using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using QuantBuild.Cuda.Driver;

namespace QuantBuild.Benchmarks;

/// <summary>
/// What NVIDIA's assembler makes of the kernels for GPUs, with no GPU at hand: registers, shared memory, what did not fit, how many blocks a multiprocessor has room for, and the longest loop around the
/// tensor instructions. Takes <c>ptxas</c> and <c>nvdisasm</c> of the CUDA toolkit, 11.8 or later, on the path.
/// </summary>
static partial class KernelCode
{
    private const int RegistersOfProcessor = 65536;

    // Registers are given out to a warp at a time, in pieces of so many.
    private const int RegisterUnit = 8;

    // Of each block, taken by the system.
    private const int ReservedShared = 1024;

    private static readonly string[] Modules = ["linear-int4", "linear-codebook4", "matrix-int4", "attention", "prompt", "decoder", "experts", "sampling"];

    public static int Run(int capability)
    {
        try
        {
            Table(capability);
            return 0;
        }
        catch (Exception e) when (e is Win32Exception or InvalidOperationException)
        {
            Console.Error.WriteLine($"{e.Message} gpu-code takes ptxas and nvdisasm of the CUDA toolkit, 11.8 or later, on the path, and a --capability from 75 on that they know.");
            return 1;
        }
    }

    private static void Table(int capability)
    {
        using TemporaryFolder folder = new();
        Console.WriteLine($"{Run("ptxas", ["--version"]).Output.Split('\n').FirstOrDefault(line => line.Contains("release"))?.Trim()}, sm_{capability}");
        Console.WriteLine();
        Console.WriteLine("| kernel | registers | shared memory | spilled | blocks a multiprocessor | instructions of the longest loop (of them on tensor cores) |");
        Console.WriteLine("|---|---|---|---|---|---|");
        foreach (string module in Modules)
        {
            string ptx = folder.File("kernels.ptx"), cubin = folder.File("kernels.cubin");
            byte[] source = KernelLibrary.Source(KernelLibrary.Newest(module, capability, overlaps: capability >= 90));
            File.WriteAllBytes(ptx, source.AsSpan(0, source.Length - 1));
            Dictionary<string, int> threads = MaximumThreads().Matches(File.ReadAllText(ptx)).ToDictionary(match => match.Groups[1].Value, match => Number(match.Groups[2].Value));
            string said = Run("ptxas", ["-v", $"-arch=sm_{capability}", ptx, "-o", cubin]).Error;
            Dictionary<string, List<string>> code = Functions(Run("nvdisasm", ["-c", cubin]).Output);
            foreach (Match kernel in Resources().Matches(said))
            {
                string name = kernel.Groups["name"].Value;
                int registers = Number(kernel.Groups["registers"].Value), shared = kernel.Groups["shared"].Success ? Number(kernel.Groups["shared"].Value) : 0;
                (int loop, int tensor) = LongestLoop(code[name]);
                Console.WriteLine($"| {module} `{name}` | {registers} | {shared} | {kernel.Groups["spilled"].Value} | {Blocks(capability, threads[name], registers, shared)} | {loop}{(tensor > 0 ? $" ({tensor})" : "")} |");
            }
        }
    }

    private static int Blocks(int capability, int threads, int registers, int shared)
    {
        (int mostThreads, int sharedOfProcessor) = capability switch
        {
            < 80 => (1024, 64 << 10),
            80 => (2048, 164 << 10),
            < 90 => (1536, 100 << 10),
            _ => (2048, 228 << 10),
        };
        int ofBlock = (registers + RegisterUnit - 1) / RegisterUnit * RegisterUnit * threads;
        return Math.Min(mostThreads / threads, Math.Min(RegistersOfProcessor / ofBlock, sharedOfProcessor / (shared + ReservedShared)));
    }

    /// <summary>The instructions of each function; a label is a line that ends in a colon.</summary>
    private static Dictionary<string, List<string>> Functions(string assembly)
    {
        Dictionary<string, List<string>> functions = [];
        List<string> current = [];
        foreach (string line in assembly.Split('\n').Select(line => line.Trim()))
        {
            if (line.StartsWith(".text.", StringComparison.Ordinal) && line.EndsWith(':')) functions[line[".text.".Length..^1]] = current = [];
            else if (line.EndsWith(':') || line.StartsWith("/*", StringComparison.Ordinal)) current.Add(line);
        }

        return functions;
    }

    /// <summary>The loop with the most tensor instructions, and of several the longest: a branch back closes a loop.</summary>
    private static (int Instructions, int Tensor) LongestLoop(List<string> lines)
    {
        (int Instructions, int Tensor) longest = default;
        for (int end = 0; end < lines.Count; end++)
        {
            if (BranchTarget().Match(lines[end]) is not { Success: true } branch) continue;
            int start = lines.IndexOf(branch.Groups[1].Value + ":");
            if (start < 0 || start >= end - 1) continue;
            List<string> body = [.. lines[start..(end + 1)].Where(line => !line.EndsWith(':'))];
            int tensor = body.Count(line => line.Contains("MMA."));
            if ((tensor, body.Count).CompareTo((longest.Tensor, longest.Instructions)) > 0) longest = (body.Count, tensor);
        }

        return longest;
    }

    private static (string Output, string Error) Run(string program, string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? (output, error.Result) : throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {error.Result}");
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"\.visible \.entry (\w+)\([^{]*?\.maxntid (\d+)", RegexOptions.Singleline)]
    private static partial Regex MaximumThreads();

    [GeneratedRegex(@"Compiling entry function '(?<name>\w+)'.*?(?<spilled>\d+) bytes spill stores.*?Used (?<registers>\d+) registers(?:, (?<shared>\d+) bytes smem)?", RegexOptions.Singleline)]
    private static partial Regex Resources();

    // One with a condition: those without come back from code that lies apart.
    [GeneratedRegex(@"@!?U?P\d BRA `\((\.L_x_\d+)\)")]
    private static partial Regex BranchTarget();
}
