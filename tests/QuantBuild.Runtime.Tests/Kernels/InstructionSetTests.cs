using System.Diagnostics;

namespace QuantBuild.Runtime.Tests.Kernels;

/// <summary>The kernels on processors that have less than this one: .NET is told not to use what they lack.</summary>
public class InstructionSetTests
{
    [Theory]
    [InlineData("DOTNET_EnableAVX512")]
    [InlineData("DOTNET_EnableAVX2")]
    [InlineData("DOTNET_EnableHWIntrinsic")]
    public async Task Kernels_give_the_same_without(string instructions)
    {
        ProcessStartInfo start = new("dotnet", ["vstest", typeof(InstructionSetTests).Assembly.Location, "--TestCaseFilter:FullyQualifiedName~Kernels.KernelTests|FullyQualifiedName~Kernels.ExponentialTests"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment[instructions] = "0";
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, output + await errors);
        Assert.Matches("Passed: +[1-9][0-9]{2}", output);
    }
}
