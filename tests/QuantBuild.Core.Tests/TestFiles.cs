using System.Reflection;

namespace QuantBuild.Core.Tests;

/// <summary>The repository's files that tests read, and temporary folders.</summary>
internal static class TestFiles
{
    /// <summary>The repository's folder, known from the build.</summary>
    public static string Repository { get; } =
        typeof(TestFiles).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!;

    /// <summary>The sample model's folder.</summary>
    public static string SampleModel { get; } = Path.Combine(Repository, "samples", "models", "gutenberg-7m");
}

/// <summary>A folder that is gone when the test is over.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("quantbuild-core-").FullName;

    public string File(string name, string content)
    {
        string path = System.IO.Path.Combine(Path, name);
        System.IO.File.WriteAllText(path, content);
        return path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
