using System.Diagnostics;
using System.IO.Compression;
using QuantBuild.Cuda.Driver;
using QuantBuild.Cuda.Emulator;
using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests.Driver;

/// <summary>The kernels that ship are those of the sources.</summary>
public sealed class KernelSourceTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static string Kernels => Path.Combine(Sample.RepositoryRoot, "src", "QuantBuild.Runtime.Cuda", "Kernels");

    [ClangFact]
    public void The_compiler_makes_the_same_of_the_sources()
    {
        ProcessStartInfo start = new("sh", [Path.Combine(Kernels, "compile.sh"), folder.Path]) { RedirectStandardError = true };
        start.Environment["CLANG"] = ClangFactAttribute.Clang;
        using Process process = Process.Start(start)!;
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors);
        string[] shipped = Directory.GetFiles(Path.Combine(Kernels, "ptx"));
        Assert.Equal(shipped.Length, Directory.GetFiles(folder.Path).Length);
        foreach (string file in Directory.GetFiles(folder.Path))
        {
            Assert.Equal(Text(Path.Combine(Kernels, "ptx", Path.GetFileName(file))), Text(file));
        }
    }

    /// <summary>Modules, with the oldest chip that loads each and the newest that this assembler may know.</summary>
    public static TheoryData<string, int> Assembled
    {
        get
        {
            TheoryData<string, int> cases = new();
            foreach (string name in typeof(KernelLibrary).Assembly.GetManifestResourceNames().Order())
            {
                string module = name[..^".ptx.gz".Length];
                int least = int.TryParse(module.Split('.').Last(), out int named) ? named : 75;
                cases.Add(module, least);
                // Newer chips take the module for 8.0, where there are two.
                if (least != named || named is > 75 and < 90) cases.Add(module, 90);
            }

            return cases;
        }
    }

    /// <summary>What the driver will do on a machine with a GPU: NVIDIA's assembler takes the kernels, and what they compute fits into registers.</summary>
    [AssemblerTheory]
    [MemberData(nameof(Assembled))]
    public void The_assembler_takes_the_kernels(string module, int capability)
    {
        string ptx = folder.File($"{module}.ptx");
        byte[] source = KernelLibrary.Source(module);
        File.WriteAllBytes(ptx, source.AsSpan(0, source.Length - 1));
        ProcessStartInfo start = new(AssemblerTheoryAttribute.Assembler!, ["-v", $"-arch=sm_{capability}", ptx, "-o", folder.File("cubin")]) { RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        string said = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, said);
        string[] lines = said.Split('\n');
        string name = "";
        List<string> spilling = [];
        foreach (string line in lines)
        {
            if (line.Contains("Compiling entry function")) name = line.Split('\'')[1];
            if (line.Contains("bytes spill stores") && !line.Contains(" 0 bytes spill stores")) spilling.Add(name);
        }

        Assert.Equal([], spilling.Except(MaySpill));
    }

    // Residual streams wider than 8,192 are rare, and have no more threads to be in. Attention over heads of odd widths spills some words, that of prompts over wide heads and products of few
    // tokens do before compute capability 8.0.
    private static readonly string[] MaySpill = ["norm_round_4", "attend_f16_any", "attend_s8_any", "attend_prompt_f16_256", "attend_prompt_s8_256", "multiply_64x32"];

    private static string Text(string file)
    {
        using StreamReader reader = new(new GZipStream(File.OpenRead(file), CompressionMode.Decompress));
        return reader.ReadToEnd();
    }

    [Fact]
    public void What_the_driver_says_of_kernels_that_it_refuses_is_in_the_error()
    {
        using TestGpu gpu = new();
        using CudaDevice device = new(gpu.Driver(), 0);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => device.LoadModule(".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k() { nonsense.f32 %f1; }\0"u8, "k"));
        Assert.Equal(DiagnosticIds.GpuFailed, error.Id);
        Assert.Contains("nonsense", error.Message);
    }
}

/// <summary>A test that takes NVIDIA's assembler.</summary>
internal sealed class AssemblerTheoryAttribute : TheoryAttribute
{
    public AssemblerTheoryAttribute()
    {
        if (Assembler is null) Skip = "ptxas, NVIDIA's assembler, is not here (it is in the CUDA toolkit)";
    }

    public static string? Assembler { get; } = (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
        .Append("/usr/local/cuda/bin")
        .Select(folder => Path.Combine(folder, OperatingSystem.IsWindows() ? "ptxas.exe" : "ptxas"))
        .FirstOrDefault(File.Exists);
}

/// <summary>A test that takes the compiler that the kernels are made with.</summary>
internal sealed class ClangFactAttribute : FactAttribute
{
    public ClangFactAttribute()
    {
        if (Clang is null) Skip = "clang 14, which compiles the kernels, is not here (apt-get install clang-14)";
    }

    public static string? Clang { get; } = new[] { "/usr/bin/clang-14", "/usr/lib/llvm-14/bin/clang" }.FirstOrDefault(File.Exists);
}
