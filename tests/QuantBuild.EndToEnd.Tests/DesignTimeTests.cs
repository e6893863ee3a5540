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
}
