namespace QuantBuild.Runtime.Tests;

/// <summary>The sample model and texts of the repository, and what it documents.</summary>
internal static class Sample
{
    public static string ModelFolder => Path.Combine(Root(), "samples", "models", "gutenberg-7m");

    public static string EvaluationFile => Path.Combine(Root(), "samples", "data", "evaluation.txt");

    public static string EvaluationText { get; } = File.ReadAllText(EvaluationFile);

    public static byte[] TokenizerJson { get; } = File.ReadAllBytes(Path.Combine(ModelFolder, "tokenizer.json"));

    public static string DiagnosticPage(string id) => Path.Combine(Root(), "docs", "diagnostics", id + ".md");

    /// <summary>A file of the tests of tokenizers, made by the scripts beside it.</summary>
    public static string Expectation(string name) => Path.Combine(Root(), "tests", "QuantBuild.Runtime.Tests", "Text", "Expectations", name);

    public static string GenerationPage => Path.Combine(Root(), "docs", "generation.md");

    /// <summary>The repository.</summary>
    public static string RepositoryRoot => Root();

    private static string Root()
    {
        // From the folder of the tests' program, not from this source's path, which a deterministic build replaces.
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "QuantBuild.sln"))) return folder;
        }

        throw new InvalidOperationException("The tests run inside the repository.");
    }
}
