namespace QuantBuild.Worker.Tests;

/// <summary>The sample model, quantized once by the command line for all tests that need a model that answers.</summary>
public sealed class SampleArtifact : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-").FullName;

    public SampleArtifact()
    {
        Path = System.IO.Path.Combine(folder, "sample.safetensors");
        Quantize = CommandLineRun.Of("quantize", SampleFiles.Model, "--method", "Rtn", "--device", "cpu", "-o", Path, "--json");
    }

    /// <summary>The cache of command lines that are not about the cache.</summary>
    public static string Cache { get; } = System.IO.Path.Combine(AppContext.BaseDirectory, "cache");

    /// <summary>The artifact.</summary>
    public string Path { get; }

    /// <summary>The run that made it.</summary>
    internal CommandLineRun Quantize { get; }

    /// <summary>The path of a file for a test.</summary>
    public string File(string name) => System.IO.Path.Combine(folder, name);

    public void Dispose() => Directory.Delete(folder, recursive: true);
}

/// <summary>Tests that share the artifact.</summary>
[CollectionDefinition(Name)]
public sealed class SharedArtifact : ICollectionFixture<SampleArtifact>
{
    public const string Name = "sample artifact";
}
