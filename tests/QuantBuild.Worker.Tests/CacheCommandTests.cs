using System.Text.Json.Nodes;

namespace QuantBuild.Worker.Tests;

public sealed class CacheCommandTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-").FullName;
    private readonly ModelCache cache;

    public CacheCommandTests()
    {
        cache = new ModelCache(Path.Combine(folder, "cache"));
        // Used three days ago, and two.
        Add('a', "first", DateTime.UtcNow.AddDays(-3));
        Add('b', "second", DateTime.UtcNow.AddDays(-2));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Path_is_the_cache_that_the_environment_names() => Assert.Equal((0, cache.Root), (Run("path").ExitCode, Run("path").Output));

    [Fact]
    public void List_has_each_artifact_with_its_size_the_latest_first()
    {
        JsonNode json = Run("list", "--json").Json;
        Assert.Equal(["second", "first"], json["artifacts"]!.AsArray().Select(artifact => (string)artifact!["modelName"]!));
        Assert.Equal(cache.Entry(new string('b', 64)).Bytes, (long?)json["artifacts"]![0]!["bytes"]);
        Assert.Equal(cache.Bytes(), (long?)json["bytes"]);
        Assert.Matches($@"(?m)^second +Rtn, 4 bits, groups of 32 +[\d,]+ +[-\d]+ [\d:]+ +b{{64}}$", Run("list").Output);
    }

    [Fact]
    public void Verify_finds_an_artifact_that_is_not_what_was_made()
    {
        Assert.Equal(0, Run("verify").ExitCode);
        string damaged = cache.ArtifactPath(new string('a', 64));
        byte[] bytes = File.ReadAllBytes(damaged);
        bytes[^1] ^= 1;
        File.WriteAllBytes(damaged, bytes);

        CommandLineRun run = Run("verify");
        Assert.Equal(1, run.ExitCode);
        Assert.StartsWith($"error QB1011: The artifact {damaged} is damaged: its SHA-256 is ", run.Error, StringComparison.Ordinal);
        Assert.StartsWith("whole: " + cache.ArtifactPath(new string('b', 64)), run.Output, StringComparison.Ordinal);
        Assert.False((bool?)Run("verify", "--json").Json["isWhole"]);
    }

    [Fact]
    public void Clean_removes_what_was_used_longest_ago_or_everything()
    {
        long first = cache.Entry(new string('a', 64)).Bytes, second = cache.Entry(new string('b', 64)).Bytes;
        JsonNode json = Run("clean", "--limit", $"{second}", "--json").Json;
        Assert.Equal(first, (long?)json["freedBytes"]);
        Assert.Equal(["b"], cache.Entries().Select(entry => entry.Fingerprint[..1]));

        Assert.Equal(0, Run("clean").ExitCode);
        Assert.Empty(cache.Entries());

        CommandLineRun wrong = Run("clean", "--limit", "much");
        Assert.Equal(1, wrong.ExitCode);
        Assert.StartsWith("error QB0006: --limit much is not a size.", wrong.Error, StringComparison.Ordinal);
    }

    private void Add(char digit, string name, DateTime lastUse)
    {
        CacheEntry entry = cache.Entry(new string(digit, 64));
        Directory.CreateDirectory(Path.GetDirectoryName(entry.ArtifactPath)!);
        Directory.CreateDirectory(Path.Combine(cache.Root, "locks"));
        SmallArtifact.Write(entry.ArtifactPath, _ => null, modelName: name).Dispose();
        File.WriteAllText(
            entry.BuildRecordPath, $$"""{ "ArtifactBytes": {{new FileInfo(entry.ArtifactPath).Length}}, "ArtifactSha256": "{{FileHash.OfFile(entry.ArtifactPath)}}" }""");
        File.SetLastWriteTimeUtc(entry.BuildRecordPath, lastUse);
    }

    private CommandLineRun Run(params string[] arguments) => CommandLineRun.Of([(ModelCache.RootVariable, cache.Root)], "", ["cache", .. arguments]);
}
