using System.Diagnostics;
using System.Text.Json.Nodes;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>The user's cache under many builds and kills, and the cache of a team.</summary>
[Collection(Builds.Name)]
public sealed class SharedCacheTests(PackedFeed feed)
{
    private const int KilledBuilds = 20;

    [Fact]
    public async Task Eight_builds_at_once_of_projects_that_share_a_model_start_one_worker_and_all_succeed()
    {
        string cache = NewCache(), starts = Path.Combine(feed.Root, "starts " + Guid.NewGuid().ToString("N")[..8]);
        UserProject[] projects = [.. Enumerable.Range(0, 8).Select(i => Project(cache, $"Project{i}", stub: "silent", starts))];
        BuildResult[] results = await Task.WhenAll(projects.Select(project => Task.Run(() => project.Run("build"))));
        Assert.All(results, result => Assert.True(result.ExitCode == 0, result.Output));
        Assert.Single(File.ReadAllLines(starts));
        Assert.All(projects, project => Assert.True(File.Exists(Path.Combine(project.Output, "TinyRtn4.safetensors"))));
        AssertWhole(cache, artifacts: 1);
    }

    [Fact]
    public void Twenty_builds_killed_at_random_moments_leave_a_cache_that_verifies_and_the_next_build_succeeds()
    {
        // Signals to a group of processes.
        if (!OperatingSystem.IsLinux()) return;
        UserProject project = Project(NewCache(), "App", stub: null);
        // What the cache is about, without the compiler.
        const string quantizing = "msbuild -t:QuantBuildQuantize -nodeReuse:false";
        project.Build();
        Stopwatch watch = Stopwatch.StartNew();
        Assert.Equal(0, project.Shell($"\"{DotNet.Host}\" {quantizing} -p:QuantBuildMode=Force").ExitCode);
        TimeSpan whole = watch.Elapsed;

        Random random = new(7);
        for (int i = 0; i < KilledBuilds; i++)
        {
            // Another width each time: there is something to quantize.
            project.Declare($"""<QuantizedModel Include="tiny" ClassName="TinyRtn4" Method="Rtn" Bits="{new[] { 2, 3, 4, 8 }[i % 4]}" GroupSize="{16 << (i / 4 % 2)}" Symmetric="{(i / 8 % 2 == 0 ? "true" : "false")}" />""");
            double seconds = whole.TotalSeconds * (0.2 + (0.8 * random.NextDouble()));
            project.Shell(FormattableString.Invariant($"setsid sh -c 'echo $$ > ../group; exec \"{DotNet.Host}\" {quantizing}' > ../killed.log 2>&1 & sleep {seconds:F2}; kill -9 -$(cat ../group)"));
            AssertWhole(project.Cache);
        }

        project.Build();
        AssertWhole(project.Cache);
        Assert.DoesNotContain(project.Leftovers(), file => file.StartsWith(Path.Combine(project.Folder, "bin"), StringComparison.Ordinal));
    }

    [Fact]
    public void What_one_machine_made_another_takes_from_the_folder_of_the_team_and_quantizes_nothing()
    {
        string team = Path.Combine(feed.Root, "team " + Guid.NewGuid().ToString("N")[..8]);
        UserProject one = Project(NewCache(), "One", stub: null), other = Project(NewCache(), "Other", stub: null);

        // A machine that must not quantize says so, by name, before anything is shared.
        BuildResult refused = other.FailToBuild($"-p:QuantBuildRemoteCache={team}", "-p:QuantBuildMode=CacheOnly");
        refused.AssertError("QB1010", "TinyRtn4");
        Assert.Equal(0, refused.Workers);
        Assert.DoesNotContain("QuantBuildRestoreWorkerLibraries", refused.Targets);

        Assert.Equal(1, one.Build($"-p:QuantBuildRemoteCache={team}").Workers);
        BuildResult taken = other.Build($"-p:QuantBuildRemoteCache={team}", "-p:QuantBuildMode=CacheOnly");
        Assert.Equal(0, taken.Workers);
        Assert.Contains("from the remote cache in", taken.Output, StringComparison.Ordinal);
        Assert.Equal(0, other.RunProgram().ExitCode);
        Assert.Equal(File.ReadAllBytes(Path.Combine(one.Output, "TinyRtn4.safetensors")), File.ReadAllBytes(Path.Combine(other.Output, "TinyRtn4.safetensors")));
    }

    [Fact]
    public void A_remote_cache_that_cannot_be_reached_is_a_warning_and_its_credentials_are_in_no_log()
    {
        const string secret = "hunter2-do-not-log";
        UserProject project = Project(NewCache(), "App", stub: null);
        project.Declare(BuiltProject.Item, "<TreatWarningsAsErrors>false</TreatWarningsAsErrors>");
        project.Variables["QUANTBUILD_REMOTE_CACHE_TOKEN"] = secret;
        BuildResult result = project.Run("build", "-p:QuantBuildRemoteCache=http://127.0.0.1:9/models");
        Assert.True(result.ExitCode == 0, result.Output);
        Assert.Contains("warning QB1009", result.Output, StringComparison.Ordinal);
        Assert.Equal(1, result.Workers);
        Assert.DoesNotContain(secret, result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain(result.Messages, message => message.Contains(secret, StringComparison.Ordinal));
    }

    private string NewCache() => Path.Combine(feed.Root, "cache " + Guid.NewGuid().ToString("N")[..8]);

    private UserProject Project(string cache, string name, string? stub, string? starts = null)
    {
        UserProject project = new(feed, cache, name) { Stub = stub, StartsFile = starts! };
        project.WriteModel("tiny", new TinyModel());
        project.Write("Program.cs", UserProject.Generating);
        project.Declare(BuiltProject.Item);
        return project;
    }

    /// <summary>Every artifact that the cache has is the one that its record says.</summary>
    private static void AssertWhole(string cache, int? artifacts = null)
    {
        ModelCache models = new(cache);
        IReadOnlyList<CacheEntry> entries = models.Entries();
        Assert.All(entries, entry => Assert.Null(entry.Damage(FileHash.OfFile)));
        if (artifacts is { } expected) Assert.Equal(expected, entries.Count);
    }
}
