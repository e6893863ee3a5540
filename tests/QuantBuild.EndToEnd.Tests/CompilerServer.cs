using System.Diagnostics;
using System.Reflection;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>
/// The SDK's compiler, which stays between the builds of a user and is warm from the second on. Without nodes that wait for more work MSBuild starts a cold one for each build, and that takes longer
/// than all else of most builds here. This one is the run's own: it ends with it, and no test that kills the processes of a build ends it.
/// </summary>
internal sealed class CompilerServer : IDisposable
{
    private readonly Process process = Start();

    /// <summary>What builds find it by.</summary>
    public static string Name { get; } = "quantbuild-e2e-" + Guid.NewGuid().ToString("N")[..8];

    /// <inheritdoc/>
    public void Dispose()
    {
        using Process shutdown = Start("-shutdown");
        shutdown.WaitForExit();
        process.WaitForExit();
        process.Dispose();
    }

    private static Process Start(params string[] arguments)
    {
        string folder = typeof(CompilerServer).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "CompilerFolder").Value!;
        // What it has to say it writes to a log, where it is told of one: the streams are this process's alone.
        return Process.Start(new ProcessStartInfo(DotNet.Host, [Path.Combine(folder, "VBCSCompiler.dll"), "-pipename:" + Name, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
    }
}
