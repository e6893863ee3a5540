namespace QuantBuild.EndToEnd.Tests;

[Collection(Builds.Name)]
public sealed class ReferenceTests(PackedFeed feed)
{
    [Fact]
    public void What_the_command_line_says_is_about_the_program_alone()
    {
        UserProject project = new(feed);
        project.WriteModel("tiny", new TinyModel());
        project.Declare(BuiltProject.Item);
        string artifacts = Path.Combine(project.Folder, "artifacts");

        BuildResult result = project.Build(
            $"-p:ArtifactsPath={artifacts}", "-p:UseArtifactsOutput=true", "-p:Version=9.8.7", "-p:Platform=x64", "-p:TreatWarningsAsErrors=true",
            "-p:NuGetAudit=true", "-p:WarningsAsErrors=NU1603");

        Assert.Equal(1, result.Workers);
        Assert.Single(Directory.GetFiles(Path.Combine(artifacts, "bin"), "TinyRtn4.safetensors", SearchOption.AllDirectories));
        // The libraries are restored beside their own project.
        string libraries = Path.GetDirectoryName(Assert.Single(Directory.GetFiles(artifacts, "WorkerLibraries.csproj", SearchOption.AllDirectories)))!;
        Assert.True(File.Exists(Path.Combine(libraries, "obj", "project.assets.json")));
        Assert.False(Directory.Exists(Path.Combine(artifacts, "obj", "WorkerLibraries")));
    }

    [Fact]
    public void A_program_gets_the_artifact_of_the_library_that_it_references()
    {
        UserProject library = new(feed, name: "Library");
        library.WriteModel("tiny", new TinyModel());
        library.Declare("""<QuantizedModel Include="tiny" Method="Rtn" Bits="4" GroupSize="16" Namespace="App.Models" />""", "<OutputType>Library</OutputType>");
        File.Delete(Path.Combine(library.Folder, "Program.cs"));
        File.Move(Path.Combine(library.Folder, "App.csproj"), Path.Combine(library.Folder, "Library.csproj"));

        string folder = Path.Combine(library.Folder, "../Program");
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "Program.cs"), UserProject.Generating);
        File.WriteAllText(Path.Combine(folder, "App.csproj"), """
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
              </PropertyGroup>
              <ItemGroup>
                <ProjectReference Include="../Library/Library.csproj" />
              </ItemGroup>
            </Project>
            """);

        BuildResult result = library.Run("build", Path.Combine(folder, "App.csproj"));

        Assert.True(result.ExitCode == 0, result.Output);
        Assert.Equal(1, result.Workers);
        (int exitCode, string output) = library.RunProgram(Path.Combine(folder, "bin/Debug/net10.0"));
        Assert.True(exitCode == 0, output);
        Assert.Matches(@"^\[.+\]\s*$", output);
    }
}
