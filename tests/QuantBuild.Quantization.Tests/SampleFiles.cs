namespace QuantBuild.Quantization.Tests;

/// <summary>The repository's sample model and texts.</summary>
internal static class SampleFiles
{
    public static string Root { get; } = FindRoot();

    public static string Model => Path.Combine(Root, "samples", "models", "gutenberg-7m");

    /// <summary>Its first two layers with its embedding and head, as a model: for what is no matter of how many layers there are, nor of what they have learned.</summary>
    public static string TwoLayers { get; } = Cut();

    public static string Calibration => Path.Combine(Root, "samples", "data", "calibration.txt");

    /// <summary>The first windows of the calibration text: too few to hold any out, so that a test that measures nothing is quick.</summary>
    public static string ShortCalibration { get; } = Shorten();

    public static string Evaluation => Path.Combine(Root, "samples", "data", "evaluation.txt");

    private static string Cut()
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "two-layers");
        Directory.CreateDirectory(folder);
        foreach (string file in Directory.GetFiles(Model)) File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
        string config = Path.Combine(folder, "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"num_hidden_layers\": 6", "\"num_hidden_layers\": 2", StringComparison.Ordinal));
        return folder;
    }

    private static string Shorten()
    {
        string path = Path.Combine(AppContext.BaseDirectory, "calibration-short.txt");
        File.WriteAllText(path, File.ReadAllText(Calibration)[..12_000]);
        return path;
    }

    private static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "QuantBuild.sln"))) folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException("The tests run inside the repository.");
    }
}
