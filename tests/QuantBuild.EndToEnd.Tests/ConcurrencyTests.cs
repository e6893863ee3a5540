using System.Collections.Concurrent;
using System.Xml.Linq;

namespace QuantBuild.EndToEnd.Tests;

[Collection(Builds.Name)]
public sealed class ConcurrencyTests(PackedFeed feed)
{
    [Fact]
    public async Task Two_builds_at_once_quantize_their_common_model_once()
    {
        string cache = Path.Combine(feed.Root, "cache " + Guid.NewGuid().ToString("N")[..8]);
        UserProject[] projects = [new(feed, cache, "One"), new(feed, cache, "Two")];
        foreach (UserProject project in projects)
        {
            project.WriteModel("tiny", new TinyModel());
            project.Declare(BuiltProject.Item);
            BuildResult declared = project.Run("build", "-t:QuantBuildDeclare");
            Assert.True(declared.ExitCode == 0, declared.Output);
        }

        string[] fingerprints = [.. projects.Select(Fingerprint).Distinct()];
        string lockFile = Path.Combine(cache, "locks", Assert.Single(fingerprints) + ".lock");
        Directory.CreateDirectory(Path.GetDirectoryName(lockFile)!);

        // The lock is held until both builds have come to it: from then on they race.
        ConcurrentDictionary<UserProject, bool> waiting = [];
        TaskCompletionSource bothWait = new();
        Task<BuildResult>[] builds;
        using (new FileStream(lockFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None))
        {
            builds = [.. projects.Select(project => Task.Run(() => project.Run(
                "build",
                line =>
                {
                    bool waits = line.Contains("TinyRtn4: another build is quantizing it; waiting", StringComparison.Ordinal);
                    if (waits && waiting.TryAdd(project, true) && waiting.Count == 2) bothWait.TrySetResult();
                },
                "--no-restore")))];
            // A build that ends meanwhile has failed.
            await Task.WhenAny([bothWait.Task, .. builds]);
        }

        BuildResult[] results = await Task.WhenAll(builds);
        Assert.All(results, result => Assert.True(result.ExitCode == 0, result.Output));
        Assert.Equal(2, waiting.Count);
        Assert.Equal(1, results.Sum(result => result.Workers));
        Assert.Equal(Artifact(projects[0]), Artifact(projects[1]));
        Assert.All(projects, project => Assert.Empty(project.Leftovers()));
    }

    private static string Fingerprint(UserProject project) =>
        XElement.Load(Path.Combine(project.Intermediate, "quantbuild", "TinyRtn4.quantbuild.xml")).Attribute("Fingerprint")!.Value;

    private static byte[] Artifact(UserProject project) => File.ReadAllBytes(Path.Combine(project.Output, "TinyRtn4.safetensors"));
}
