using QuantBuild.Cuda.Driver;

namespace QuantBuild.Runtime.Cuda.Tests.Emulator;

/// <summary>The kernels that ship.</summary>
public sealed class KernelTests
{
    public static TheoryData<string> Modules { get; } =
        [.. typeof(KernelLibrary).Assembly.GetManifestResourceNames().Select(name => name[..^".ptx.gz".Length]).Order()];

    [Theory]
    [MemberData(nameof(Modules))]
    public void A_module_that_ships_loads(string name)
    {
        using Driver driver = new(new() { Devices = [new() { Major = 9 }] });
        byte[] source = KernelLibrary.Source(name);
        (int result, string log) = driver.LoadWithLog(System.Text.Encoding.ASCII.GetString(source.AsSpan(0, source.Length - 1)));
        Assert.True(result == 0, log);
    }
}
