using System.Reflection;

namespace QuantBuild.Runtime.Cuda.Tests.Emulator;

/// <summary>The kernels that ship.</summary>
public sealed class KernelTests
{
    private static string Folder { get; } = Path.Combine(
        typeof(KernelTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!, "src/QuantBuild.Runtime.Cuda/Kernels/ptx");

    public static TheoryData<string> Modules { get; } = [.. Directory.GetFiles(Folder, "*.ptx").Select(f => Path.GetFileName(f)).Order()];

    [Theory]
    [MemberData(nameof(Modules))]
    public void A_module_that_ships_loads(string file)
    {
        using Driver driver = new();
        (int result, string log) = driver.LoadWithLog(File.ReadAllText(Path.Combine(Folder, file)));
        Assert.True(result == 0, log);
    }
}
