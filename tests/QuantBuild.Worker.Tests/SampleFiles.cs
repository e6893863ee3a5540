namespace QuantBuild.Worker.Tests;

/// <summary>The sample model and the sample texts.</summary>
internal static class SampleFiles
{
    private static readonly string Root = FindRoot();

    public static string Model => Path.Combine(Root, "samples", "models", "gutenberg-7m");

    public static string Calibration => Path.Combine(Root, "samples", "data", "calibration.txt");

    private static string FindRoot()
    {
        DirectoryInfo? at = new(AppContext.BaseDirectory);
        while (at is not null && !File.Exists(Path.Combine(at.FullName, "QuantBuild.sln"))) at = at.Parent;
        return at!.FullName;
    }
}
