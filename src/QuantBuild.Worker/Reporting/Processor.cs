using System.Runtime.InteropServices;

namespace QuantBuild.Worker.Reporting;

/// <summary>The processor that timings are from.</summary>
internal static class Processor
{
    /// <summary>Its name where the system tells it, else its architecture.</summary>
    public static string Name { get; } = Find();

    private static string Find()
    {
        string architecture = $"a processor of architecture {RuntimeInformation.ProcessArchitecture}";
        if (OperatingSystem.IsWindows()) return Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER") ?? architecture;
        const string file = "/proc/cpuinfo";
        if (!File.Exists(file)) return architecture;
        string? line = File.ReadLines(file).FirstOrDefault(text => text.StartsWith("model name", StringComparison.Ordinal));
        return line?[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim() is { Length: > 0 } name ? name : architecture;
    }
}
