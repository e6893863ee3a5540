using System.Text.Json.Nodes;

namespace QuantBuild.EndToEnd.Tests;

[Collection(Builds.Name)]
public sealed class DesignTimeTests(PackedFeed feed)
{
    [Fact]
    public void An_ide_sees_the_class_before_anything_was_quantized()
    {
        UserProject project = new(feed);
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item + BuiltProject.GptqItem);
        Assert.Equal(0, project.Run("restore").ExitCode);

        BuildResult result = project.Run(
            "msbuild", "-t:Compile", "-p:DesignTimeBuild=true", "-p:BuildingProject=false", "-p:SkipCompilerExecution=true", "-p:ProvideCommandLineArgs=true");

        Assert.True(result.ExitCode == 0, result.Output);
        Assert.Contains("QuantBuildDeclare", result.Targets);
        Assert.DoesNotContain("QuantBuildQuantize", result.Targets);
        Assert.Equal(0, result.Workers);
        Assert.Contains(result.Added("AdditionalFiles"), item => item.EndsWith("TinyRtn4.quantbuild.xml", StringComparison.Ordinal));
        string[] inputs = [.. result.Added("UpToDateCheckInput")];
        Assert.Contains(Path.Combine(project.Folder, "tiny", "model.safetensors"), inputs);
        Assert.Contains(Path.Combine(project.Folder, "calibration.txt"), inputs);
        Assert.True(File.Exists(Path.Combine(project.Intermediate, "quantbuild", "TinyRtn4.quantbuild.xml")));
        Assert.False(Directory.Exists(Path.Combine(project.Cache, "artifacts")));
    }

    [Fact]
    public void A_bad_item_costs_an_ide_only_that_item()
    {
        UserProject project = new(feed);
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item + """<QuantizedModel Include="nowhere" Method="Rtn" />""", "<TreatWarningsAsErrors>false</TreatWarningsAsErrors>");
        Assert.Equal(0, project.Run("restore").ExitCode);

        BuildResult result = project.Run(
            "msbuild", "-t:Compile", "-p:DesignTimeBuild=true", "-p:BuildingProject=false", "-p:SkipCompilerExecution=true", "-p:ProvideCommandLineArgs=true");

        Assert.True(result.ExitCode == 0, result.Output);
        Assert.Contains("QB2001", result.Output, StringComparison.Ordinal);
        Assert.Contains(result.Added("AdditionalFiles"), item => item.EndsWith("TinyRtn4.quantbuild.xml", StringComparison.Ordinal));
    }

    [Fact]
    public void Visual_Studio_knows_what_a_build_reads_writes_and_copies_and_that_one_was_done_though_a_file_was_only_touched()
    {
        UserProject project = new(feed) { Stub = "quiet" };
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item);
        project.Build();
        string weights = Path.Combine(project.Folder, "tiny", "model.safetensors");
        File.SetLastWriteTimeUtc(weights, DateTime.UtcNow);

        BuildResult touched = project.Build();
        Assert.False(touched.Compiled);
        Assert.Equal(1, project.StubStarts);

        BuildResult declared = project.Run(
            "msbuild", "-t:QuantBuildDeclare", "-p:DesignTimeBuild=true", "-getItem:UpToDateCheckInput,UpToDateCheckOutput,UpToDateCheckBuilt,PropertyPageSchema");
        Assert.True(declared.ExitCode == 0, declared.Output);
        JsonNode items = JsonNode.Parse(declared.Output)!["Items"]!;
        JsonNode[] inputs = [.. items["UpToDateCheckInput"]!.AsArray().Where(item => (string?)item!["Set"] == "QuantBuild")!];
        JsonNode output = items["UpToDateCheckOutput"]!.AsArray().Single(item => (string?)item!["Set"] == "QuantBuild")!;
        Assert.Contains(weights, inputs.Select(item => (string)item["Identity"]!));
        Assert.All(inputs, input => Assert.True(File.GetLastWriteTimeUtc((string)input["FullPath"]!) <= File.GetLastWriteTimeUtc((string)output["FullPath"]!)));

        JsonNode copy = items["UpToDateCheckBuilt"]!.AsArray().Single(item => item!["Original"] is not null)!;
        Assert.Equal(Path.Combine(project.Output, "TinyRtn4.safetensors"), (string)copy["FullPath"]!);
        Assert.True(File.Exists(Path.Combine(project.Folder, (string)copy["Original"]!)));
        Assert.True(File.Exists((string)copy["FullPath"]!));

        JsonNode page = items["PropertyPageSchema"]!.AsArray().Single(item => ((string)item!["Identity"]!).EndsWith("QuantizedModel.xaml", StringComparison.Ordinal))!;
        Assert.True(File.Exists((string)page["FullPath"]!));
        Assert.Equal("File;BrowseObject", (string)page["Context"]!);
    }
}
