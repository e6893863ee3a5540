using System.Diagnostics;
using System.Text;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>Runs the SDK's commands, and other programs, the way a user's terminal would.</summary>
internal static class DotNet
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    /// <summary>The SDK that runs the tests.</summary>
    public static string Host { get; } = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";

    /// <summary>Runs a program to its end.</summary>
    /// <param name="program">The program.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="folder">The folder that it runs in.</param>
    /// <param name="environment">What is added to the environment.</param>
    /// <param name="line">Called with each line as it comes, on any thread.</param>
    public static (int ExitCode, string Output) Run(
        string program, IEnumerable<string> arguments, string folder, IReadOnlyDictionary<string, string>? environment = null, Action<string>? line = null)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        // What `dotnet test` says to its own MSBuild must not reach the one that is tested.
        foreach (string name in start.Environment.Keys.Where(IsInherited).ToArray()) start.Environment.Remove(name);
        // A build must end with the test: no node waits for more work.
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_NOLOGO"] = "1";
        // MSBuild takes them for properties.
        start.Environment["UseSharedCompilation"] = "true";
        start.Environment["SharedCompilationId"] = CompilerServer.Name;
        // Processes of some seconds do not live to see what the just-in-time compiler would measure for.
        start.Environment["DOTNET_TieredPGO"] = "0";
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>()) start.Environment[name] = value;

        using Process process = Process.Start(start)!;
        Task<string> output = Read(process.StandardOutput, line);
        Task<string> errors = Read(process.StandardError, line);
        if (!process.WaitForExit(Limit))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{program} {string.Join(' ', arguments)} did not end within {Limit}.");
        }

        return (process.ExitCode, output.Result + errors.Result);
    }

    private static async Task<string> Read(StreamReader reader, Action<string>? line)
    {
        StringBuilder text = new();
        while (await reader.ReadLineAsync() is { } next)
        {
            text.AppendLine(next);
            line?.Invoke(next);
        }

        return text.ToString();
    }

    private static bool IsInherited(string name) =>
        name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)
        || name.StartsWith("VSTEST", StringComparison.OrdinalIgnoreCase)
        || name.StartsWith("QUANTBUILD", StringComparison.OrdinalIgnoreCase)
        || name is "TargetFramework" or "Configuration" or "Platform";
}
