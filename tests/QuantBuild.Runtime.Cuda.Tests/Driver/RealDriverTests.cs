using System.Runtime.InteropServices;
using QuantBuild.Cuda.Driver;
using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests.Driver;

/// <summary>NVIDIA's own driver library, which needs no GPU to be asked.</summary>
public sealed class RealDriverTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [DriverFact]
    public void It_has_every_function_that_is_asked_for()
    {
        IntPtr library = NativeLibrary.Load(DriverFactAttribute.Library!);
        List<string> asked = [];
        using TestGpu gpu = new();
        _ = new CudaDriver(name =>
        {
            asked.Add(name);
            return gpu.Machine.Resolve(name);
        });
        Assert.InRange(asked.Count, 30, 100);
        Assert.Equal([], asked.Where(name => !NativeLibrary.TryGetExport(library, name, out _)));
    }

    [DriverFact]
    public void Without_a_GPU_it_is_an_error_that_says_so_and_auto_takes_the_processor()
    {
        IntPtr library = NativeLibrary.Load(DriverFactAttribute.Library!);
        CudaDriver Open() => new(name => NativeLibrary.TryGetExport(library, name, out IntPtr address) ? address : 0);
        string path = TestModel.Write(folder.File("m"), TestArtifact.Config(), _ => null);
        using LanguageModel model = LanguageModel.Load(path, new LoadOptions { Backend = new CudaBackend(Open) });
        // On a machine that has one, that is where the model is.
        if (model.Placement.Device != "cpu") return;
        Assert.Contains("the driver sees no GPU", model.Placement.Reason);
        QuantBuildException error = Assert.Throws<QuantBuildException>(Open);
        Assert.Equal(DiagnosticIds.GpuUnavailable, error.Id);
    }
}

/// <summary>A test that takes NVIDIA's driver: the one of the machine, or the one that the environment names.</summary>
internal sealed class DriverFactAttribute : FactAttribute
{
    public DriverFactAttribute()
    {
        if (Library is null) Skip = "NVIDIA's driver is not here (QUANTBUILD_TEST_DRIVER may name libcuda.so.1)";
    }

    public static string? Library { get; } =
        new[] { Environment.GetEnvironmentVariable("QUANTBUILD_TEST_DRIVER"), OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1" }
            .FirstOrDefault(name => name is not null && NativeLibrary.TryLoad(name, out _));
}
