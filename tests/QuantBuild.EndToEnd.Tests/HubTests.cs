using System.IO.Compression;
using System.Text;
using QuantBuild.Tests;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>Models of the hub, from one on the loopback interface.</summary>
[Collection(Builds.Name)]
public sealed class HubTests : IDisposable
{
    private const string Item = """<QuantizedModel Include="org/tiny" Method="Rtn" Bits="4" GroupSize="16" />""";
    private const string Token = "hf_aVerySecretTokenOfThisTest";

    private readonly LoopbackHub hub = new();
    private readonly LoopbackRepository repository;
    private readonly UserProject project;

    public HubTests(PackedFeed feed)
    {
        repository = hub.Add("org/tiny");
        project = new UserProject(feed);
        project.Write("Program.cs", UserProject.Generating);
        project.Declare(Item);
        project.Variables["HF_ENDPOINT"] = hub.Address;
        project.Variables["HF_HOME"] = HubHome;
        project.Variables["HF_HUB_OFFLINE"] = "0";
    }

    private string HubHome => Path.GetFullPath(Path.Combine(project.Folder, "..", "huggingface"));

    private string Artifact => Path.Combine(project.Output, "TinyRtn4.safetensors");

    private int Asked => hub.Requests.Count;

    public void Dispose() => hub.Dispose();

    [Fact]
    public void A_model_of_the_hub_is_downloaded_and_quantized_once_and_its_token_is_written_nowhere()
    {
        (repository.Token, repository.IsGated, repository.IsAccepted) = (Token, true, true);
        project.Variables["HF_TOKEN"] = Token;
        string commit = Push(new TinyModel());

        // An IDE: neither its restore nor its builds ask anybody, and the class is there.
        Assert.Equal(0, project.Run("restore").ExitCode);
        BuildResult designTime = DesignTime();
        Assert.Contains(designTime.Added("AdditionalFiles"), item => item.EndsWith("TinyRtn4.quantbuild.xml", StringComparison.Ordinal));
        Assert.Equal(0, Asked);

        BuildResult first = project.Build();
        Assert.Contains($"org/tiny: main is {commit}", first.Output, StringComparison.Ordinal);
        Assert.Contains("TinyRtn4: downloaded model.safetensors of org/tiny", first.Output, StringComparison.Ordinal);
        Assert.Single(hub.Requests, r => r.StartsWith("GET /delivery/", StringComparison.Ordinal));
        (int exitCode, string output) = project.RunProgram();
        Assert.True(exitCode == 0, output);
        Assert.Equal(["blobs", "refs", "snapshots"], Directory.GetDirectories(Path.Combine(HubHome, "hub", "models--org--tiny")).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Contains(commit, File.ReadAllText(Path.Combine(project.Output, "TinyRtn4.safetensors"), Encoding.Latin1), StringComparison.Ordinal);

        // Nothing changed, on the hub neither: nobody is asked, and nothing starts.
        int asked = Asked;
        BuildResult second = project.Build();
        Assert.Equal(asked, Asked);
        Assert.Equal(0, second.Workers);
        Assert.DoesNotContain("QuantBuild.Worker.dll\" \"download", second.Output, StringComparison.Ordinal);
        Assert.False(second.Compiled);

        // The branch moved on: a build does not, until it is told to.
        DateTime artifact = File.GetLastWriteTimeUtc(Artifact);
        string next = Push(new TinyModel { Seed = 2 });
        project.Build();
        Assert.Equal(asked, Asked);
        Assert.Equal(artifact, File.GetLastWriteTimeUtc(Artifact));
        BuildResult updated = project.Build("-p:QuantBuildUpdateModels=true");
        Assert.Contains($"main is {next}", updated.Output, StringComparison.Ordinal);
        Assert.Equal(1, updated.Workers);

        // Without the hub, from nothing but the caches.
        Directory.Delete(Path.Combine(project.Folder, "obj"), recursive: true);
        asked = Asked;
        project.Variables["HF_HUB_OFFLINE"] = "1";
        BuildResult offline = project.Build();
        Assert.Equal(asked, Asked);
        Assert.Equal(0, offline.Workers);

        Assert.Contains(hub.Told, t => t.Credentials == "Bearer " + Token);
        Assert.Contains("org/tiny", Unzipped(first.LogPath), StringComparison.Ordinal);
        Assert.All(new[] { designTime, first, second, updated, offline }, result =>
        {
            Assert.DoesNotContain(Token, result.Output, StringComparison.Ordinal);
            Assert.DoesNotContain(Token, Unzipped(result.LogPath), StringComparison.Ordinal);
        });
        string all = Path.GetFullPath(Path.Combine(project.Folder, ".."));
        Assert.DoesNotContain(
            Directory.EnumerateFiles(all, "*", SearchOption.AllDirectories), file => File.ReadAllText(file, Encoding.Latin1).Contains(Token, StringComparison.Ordinal));
    }

    [Fact]
    public void A_machine_that_finds_the_artifact_in_a_cache_downloads_no_weights()
    {
        string commit = Push(new TinyModel { Seed = 3 });
        project.Declare(Item, "<QuantBuildUseLockFile>true</QuantBuildUseLockFile>");
        project.Build();
        string locked = File.ReadAllText(Path.Combine(project.Folder, "quantbuild.lock.json"));
        Assert.Contains("\"source\": \"org/tiny@main\"", locked, StringComparison.Ordinal);
        Assert.Contains($"\"model revision\": \"{commit}\"", locked, StringComparison.Ordinal);

        // Another machine: it has the sources with the lock file, and the cache of artifacts alone. The branch has moved on meanwhile.
        Push(new TinyModel { Seed = 4 });
        foreach (string folder in new[] { HubHome, Path.Combine(project.Folder, "obj"), Path.Combine(project.Folder, "bin"), Path.Combine(project.Cache, "hub"), Path.Combine(project.Cache, "hashes") })
        {
            Directory.Delete(folder, recursive: true);
        }

        hub.Requests.Clear();
        BuildResult result = project.Build("-p:ContinuousIntegrationBuild=true");
        Assert.Equal(0, result.Workers);
        Assert.Contains(hub.Requests, r => r.StartsWith($"GET /org/tiny/resolve/{commit}/config.json", StringComparison.Ordinal));
        Assert.DoesNotContain(hub.Requests, r => r.Contains("safetensors", StringComparison.Ordinal) || r.Contains("delivery", StringComparison.Ordinal));
        Assert.True(File.Exists(Artifact));
    }

    [Fact]
    public void What_the_hub_refuses_is_an_error_at_the_item()
    {
        (repository.Token, repository.IsGated) = (Token, true);
        Push(new TinyModel());
        project.Declare("""
            <QuantizedModel Include="org/tiny" Method="Rtn" />
            <QuantizedModel Include="org/nothing" Method="Rtn" />
            """);
        BuildResult result = project.FailToBuild();
        result.AssertError("QB2031", $"Accept them at {hub.Address}/org/tiny and set the environment variable HF_TOKEN");
        result.AssertError("QB2030", "no model org/nothing at");
        Assert.Matches(@"App\.csproj\(\d+,\d+\): error QB2031", result.Output);
        Assert.Matches(@"App\.csproj\(\d+,\d+\): error QB2030", result.Output);

        project.Variables["HF_HUB_OFFLINE"] = "1";
        project.FailToBuild().AssertError("QB1042", "HF_HUB_OFFLINE forbids asking the hub");
    }

    private BuildResult DesignTime()
    {
        BuildResult result = project.Run(
            "msbuild", "-t:Compile", "-p:DesignTimeBuild=true", "-p:BuildingProject=false", "-p:SkipCompilerExecution=true", "-p:ProvideCommandLineArgs=true");
        Assert.True(result.ExitCode == 0, result.Output);
        return result;
    }

    private string Push(TinyModel model)
    {
        string folder = Path.Combine(project.Folder, "..", "pushed");
        model.Write(folder);
        return repository.Push("main", [.. Directory.GetFiles(folder).Select(file => (Path.GetFileName(file), File.ReadAllBytes(file))), ("evil.py", "import os"u8.ToArray())]);
    }

    private static string Unzipped(string path)
    {
        using GZipStream content = new(File.OpenRead(path), CompressionMode.Decompress);
        using StreamReader reader = new(content, Encoding.Latin1);
        return reader.ReadToEnd();
    }
}
