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

/// <summary>A test that takes the compiler that the kernels are made with.</summary>
internal sealed class ClangFactAttribute : FactAttribute
{
    public ClangFactAttribute()
    {
        if (Clang is null) Skip = "clang 14, which compiles the kernels, is not here (apt-get install clang-14)";
    }

    public static string? Clang { get; } = new[] { "/usr/bin/clang-14", "/usr/lib/llvm-14/bin/clang" }.FirstOrDefault(File.Exists);
}
