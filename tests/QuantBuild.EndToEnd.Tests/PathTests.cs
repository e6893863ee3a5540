namespace QuantBuild.EndToEnd.Tests;

/// <summary>Folders with unusual names, in unusual places.</summary>
[Collection(Builds.Name)]
public sealed class PathTests(PackedFeed feed)
{
    [Fact]
    public void A_path_may_have_spaces_signs_and_letters_that_are_not_ASCII()
    {
        UserProject project = new(feed, name: "Ünïcode @ 100% (größe); 語 & 'co'");
        project.WriteModel("ein Mödell@1; 50%25 语+", new TinyModel());
        project.Write("Program.cs", UserProject.Generating);
        // MSBuild wants a percent sign and a semicolon in an item escaped.
        project.Declare("""<QuantizedModel Include="ein Mödell@1%3B 50%2525 语+" ClassName="TinyRtn4" Method="Rtn" Bits="4" GroupSize="16" Namespace="App.Models" />""");

        BuildResult result = project.Build();

        Assert.Equal(1, result.Workers);
        (int exitCode, string output) = project.RunProgram();
        Assert.True(exitCode == 0, output);
        Assert.Empty(project.Leftovers());
    }

    [Fact]
    public void A_source_tree_that_only_allows_reading_builds_with_its_outputs_elsewhere()
    {
        UserProject project = new(feed) { Stub = "quiet" };
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item);
        string artifacts = Path.GetFullPath(Path.Combine(project.Folder, "../artifacts"));
        Dictionary<string, DateTime> before = Tree(project.Folder);
        if (!OperatingSystem.IsWindows()) Allow(project.Folder, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        try
        {
            project.Build($"-p:ArtifactsPath={artifacts}", "-p:UseArtifactsOutput=true");
        }
        finally
        {
            if (!OperatingSystem.IsWindows()) Allow(project.Folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        Assert.Equal(1, project.StubStarts);
        Assert.True(File.Exists(Path.Combine(artifacts, "bin/App/debug/TinyRtn4.safetensors")));
        // The system's administrator may write anywhere: that nothing did counts for everybody.
        Assert.Equal(before, Tree(project.Folder));
    }

    [Fact]
    public void The_intermediate_folder_may_be_elsewhere()
    {
        UserProject project = new(feed) { Stub = "quiet" };
        project.WriteModel("tiny", new TinyModel());
        project.Write("Directory.Build.props", "<Project><PropertyGroup><BaseIntermediateOutputPath>../else where/obj/</BaseIntermediateOutputPath></PropertyGroup></Project>");
        project.Declare(BuiltProject.Item);

        BuildResult result = project.Build("-p:QuantBuildRestoresWorkerLibraries=true");

        string folder = Path.Combine(project.Folder, "../else where/obj/Debug/net10.0/quantbuild");
        Assert.True(File.Exists(Path.Combine(folder, "TinyRtn4.safetensors")), result.Output);
        Assert.True(File.Exists(Path.Combine(folder, "worker/obj/project.assets.json")));
        Assert.True(File.Exists(Path.Combine(project.Output, "TinyRtn4.safetensors")));
        Assert.False(Directory.Exists(Path.Combine(project.Folder, "obj")));
        Assert.Equal(0, project.Run("clean").ExitCode);
        Assert.False(Directory.Exists(folder));
    }

    [Fact]
    public void Without_a_network_a_build_goes_by_the_packages_that_the_machine_has()
    {
        UserProject project = new(feed) { Stub = "quiet" };
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item);
        Assert.Equal(0, project.Run("restore").ExitCode);
        Directory.Delete(Path.Combine(project.Folder, "obj"), recursive: true);
        // Nobody listens there.
        project.Write("../nuget.config", feed.NuGetConfig().Replace(feed.Folder, "http://127.0.0.1:9/v3/index.json\" allowInsecureConnections=\"true", StringComparison.Ordinal));

        // Who is told of known vulnerabilities asks the source for them.
        project.Build("-p:QuantBuildRestoresWorkerLibraries=true", "-p:NuGetAudit=false");

        Assert.Equal(1, project.StubStarts);
        Assert.True(File.Exists(Path.Combine(project.Intermediate, "quantbuild/worker/obj/project.assets.json")));
    }

    private static Dictionary<string, DateTime> Tree(string folder) =>
        Directory.EnumerateFileSystemEntries(folder, "*", SearchOption.AllDirectories).ToDictionary(path => path, File.GetLastWriteTimeUtc);

    [System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
    private static void Allow(string folder, UnixFileMode mode)
    {
        foreach (string path in Directory.EnumerateDirectories(folder, "*", SearchOption.AllDirectories).Append(folder)) File.SetUnixFileMode(path, mode);
    }
}
