using System.Reflection;

namespace QuantBuild.Benchmarks;

/// <summary>Where the sample, the texts and the built worker are.</summary>
static class Repository
{
    public static string Root { get; } = Metadata("RepositoryRoot");

    public static string Model => Path.Combine(Root, "samples", "models", "gutenberg-7m");

    public static string Calibration => Path.Combine(Root, "samples", "data", "calibration.txt");

    public static string Evaluation => Path.Combine(Root, "samples", "data", "evaluation.txt");

    public static string Worker => Path.Combine(Root, "src", "QuantBuild.Worker", "bin", Metadata("Configuration"), "net10.0", "QuantBuild.Worker.dll");

    private static string Metadata(string key) =>
        typeof(Repository).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;
}
