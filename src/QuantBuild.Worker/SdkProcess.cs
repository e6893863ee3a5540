using System.ComponentModel;
using System.Diagnostics;

namespace QuantBuild.Worker;

/// <summary>The <c>dotnet</c> command of this machine.</summary>
internal static class SdkProcess
{
    // The host that runs this process, where there is one; a tool has a program of its own.
    private static readonly string Host =
        Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") is { Length: > 0 } host ? host
        : Path.GetFileNameWithoutExtension(Environment.ProcessPath!).Equals("dotnet", StringComparison.OrdinalIgnoreCase) ? Environment.ProcessPath!
        : "dotnet";

    /// <summary>Runs a command of the SDK to its end.</summary>
    /// <param name="folder">The folder that it runs in.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="arguments">The command.</param>
    /// <returns>The exit code, and what it wrote; <see langword="null"/> where there is no <c>dotnet</c>.</returns>
    public static (int ExitCode, string Output, string Error)? Run(string folder, CancellationToken cancellationToken, params IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(Host, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["DOTNET_NOLOGO"] = "1";
        // No node of MSBuild stays behind.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        try
        {
            using Process process = Process.Start(start)!;
            using CancellationTokenRegistration kill = cancellationToken.Register(() => process.Kill(entireProcessTree: true));
            Task<string> output = process.StandardOutput.ReadToEndAsync(CancellationToken.None), error = process.StandardError.ReadToEndAsync(CancellationToken.None);
            process.WaitForExit();
            cancellationToken.ThrowIfCancellationRequested();
            return (process.ExitCode, output.GetAwaiter().GetResult(), error.GetAwaiter().GetResult());
        }
        catch (Win32Exception)
        {
            return null;
        }
    }
}
