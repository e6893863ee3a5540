namespace QuantBuild.Quantization.Tests;

/// <summary>The repository's sample model and texts.</summary>
internal static class SampleFiles
{
    public static string Root { get; } = FindRoot();

    public static string Model => Path.Combine(Root, "samples", "models", "gutenberg-7m");

    public static string Calibration => Path.Combine(Root, "samples", "data", "calibration.txt");

    public static string Evaluation => Path.Combine(Root, "samples", "data", "evaluation.txt");

    private static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "QuantBuild.sln"))) folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException("The tests run inside the repository.");
    }
}
