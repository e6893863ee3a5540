using System.Runtime.InteropServices;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>The ways to publish a program. (Ahead of time to machine code: <see cref="NativeTests"/>.)</summary>
[Collection(Builds.Name)]
public sealed class PublishTests(PackedFeed feed)
{
    private static string Rid => RuntimeInformation.RuntimeIdentifier;

    [Fact]
    public void Publishing_what_was_built_without_building_it_takes_the_artifact_and_runs_no_compiler_and_no_worker()
    {
        UserProject project = Project();
        project.Build("-c", "Release");

        BuildResult published = project.Run("publish", "--no-build", "-o", "out");

        Assert.True(published.ExitCode == 0, published.Output);
        Assert.False(published.Compiled);
        Assert.DoesNotContain("QuantBuildQuantize", published.Targets);
        AssertGenerates(project, DotNet.Host, "App.dll");
    }

    [Fact]
    public void A_single_file_that_uses_the_machines_runtime_runs_with_the_artifact_beside_it()
    {
        UserProject project = Project();
        BuildResult published = project.Run("publish", "-o", "out", "-r", Rid, "--no-self-contained", "-p:PublishSingleFile=true", "-p:DebugType=none");
        Assert.True(published.ExitCode == 0, published.Output);
        Assert.Equal([Executable, "TinyRtn4.safetensors"], Published(project));
        AssertGenerates(project, Path.Combine(project.Folder, "out", Executable));
    }

    [Fact]
    public void A_single_file_that_brings_its_runtime_trimmed_runs_with_the_artifact_beside_it_and_gives_no_warning()
    {
        UserProject project = Project();
        // The runtime's pack comes from where the SDK's packs come from.
        project.Write("../nuget.config", feed.NuGetConfig(withUsersSources: true));
        BuildResult published = project.Run(
            "publish", "-o", "out", "-r", Rid, "--self-contained", "-p:PublishSingleFile=true", "-p:PublishTrimmed=true", "-p:InvariantGlobalization=true", "-p:DebugType=none");
        Assert.True(published.ExitCode == 0, published.Output);
        Assert.DoesNotContain("warning", published.Output, StringComparison.Ordinal);
        Assert.Equal([Executable, "TinyRtn4.safetensors"], Published(project));
        AssertGenerates(project, Path.Combine(project.Folder, "out", Executable));
    }

    private static string Executable => OperatingSystem.IsWindows() ? "App.exe" : "App";

    private static IEnumerable<string> Published(UserProject project) => Directory.GetFiles(Path.Combine(project.Folder, "out")).Select(file => Path.GetFileName(file)).Order();

    private static void AssertGenerates(UserProject project, string program, params string[] arguments)
    {
        (int exitCode, string output) = DotNet.Run(program, arguments, Path.Combine(project.Folder, "out"));
        Assert.True(exitCode == 0, output);
        Assert.Matches(@"^\[.+\]\s*$", output);
    }

    private UserProject Project()
    {
        UserProject project = new(feed, feed.SharedCache);
        project.WriteModel("tiny", new TinyModel());
        project.Write("Program.cs", UserProject.Generating);
        project.Declare(BuiltProject.Item);
        return project;
    }
}
