using System.Reflection;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>The packages, packed once, and the settings of a user who has them as the only source.</summary>
public sealed class PackedFeed : IDisposable
{
    private readonly CompilerServer compiler = new();

    /// <summary>The version that the packages have here; the folder that they are installed to is as new as the feed.</summary>
    public const string Version = "0.1.0-e2e";

    /// <summary>Packs what the build of the tests has built.</summary>
    public PackedFeed()
    {
        foreach (string project in new[] { "QuantBuild.Core", "QuantBuild.Runtime", "QuantBuild" }) Pack(project);
        WriteStubWorker();
    }

    /// <summary>The repository.</summary>
    public static string RepositoryRoot { get; } = Metadata("RepositoryRoot");

    /// <summary>Everything of this run; deleted after it.</summary>
    public string Root { get; } = Directory.CreateTempSubdirectory("quantbuild-e2e-").FullName;

    /// <summary>The folder of the packages.</summary>
    public string Folder => Path.Combine(Root, "feed");

    /// <summary>A cache that projects share whose test is not about the cache.</summary>
    public string SharedCache => Path.Combine(Root, "cache");

    /// <summary>The folder of a worker that makes artifacts without quantizing anything: for what a build does, not what a model is.</summary>
    public string StubWorkerFolder => Path.Combine(Root, "stub worker") + "/";

    /// <summary>Packs a project into the feed; what most tests need is there from the beginning.</summary>
    /// <returns>The package's path.</returns>
    public string Pack(string project)
    {
        (int exitCode, string output) = DotNet.Run(
            DotNet.Host,
            ["pack", Path.Combine(RepositoryRoot, "src", project), "--no-build", "-c", Metadata("Configuration"), "-o", Folder, $"-p:Version={Version}", "-v:q"],
            RepositoryRoot);
        if (exitCode != 0) throw new InvalidOperationException($"{project} could not be packed:{Environment.NewLine}{output}");
        return Path.Combine(Folder, $"{project}.{Version}.nupkg");
    }

    /// <summary>The user's NuGet settings.</summary>
    /// <param name="withUsersPackages">
    /// Whether the packages that the machine already has are there: libtorch is large, and a test need not fetch it.
    /// </param>
    /// <param name="withUsersSources">Whether the sources of packages that the machine has are sources too.</param>
    /// <param name="packages">Where packages are installed to; the feed's own folder, where it is not said.</param>
    public string NuGetConfig(bool withUsersPackages = true, bool withUsersSources = false, string? packages = null) => $"""
        <configuration>
          <config><add key="globalPackagesFolder" value="{packages ?? Path.Combine(Root, "packages")}" /></config>
          <fallbackPackageFolders><clear />{(withUsersPackages ? $"""<add key="user" value="{Metadata("NuGetPackageRoot")}" />""" : "")}</fallbackPackageFolders>
          <packageSources>{(withUsersSources ? "" : "<clear />")}<add key="feed" value="{Folder}" /></packageSources>
        </configuration>
        """;

    /// <inheritdoc/>
    public void Dispose()
    {
        compiler.Dispose();
        Directory.Delete(Root, recursive: true);
    }

    private void WriteStubWorker()
    {
        Directory.CreateDirectory(StubWorkerFolder);
        string built = Path.Combine(RepositoryRoot, "tests/QuantBuild.StubWorker/bin", Metadata("Configuration"), "net10.0");
        foreach (string file in Directory.GetFiles(built)) File.Copy(file, StubWorkerFolder + Path.GetFileName(file));
        // A fingerprint covers these as well, and the stub has no use for them.
        foreach (string name in new[] { "QuantBuild.Runtime.dll", "QuantBuild.Quantization.dll" }) File.WriteAllText(StubWorkerFolder + name, name);
    }

    private static string Metadata(string key) =>
        typeof(PackedFeed).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;
}

/// <summary>One build at a time: builds are heavy, and they share the feed.</summary>
[CollectionDefinition(Name)]
public sealed class Builds : ICollectionFixture<PackedFeed>
{
    /// <summary>The collection's name.</summary>
    public const string Name = "builds";
}
