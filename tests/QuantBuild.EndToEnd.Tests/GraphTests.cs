namespace QuantBuild.EndToEnd.Tests;

/// <summary>Builds of several projects: by graph, isolated, of a solution, with several processes. A worker's stub makes the artifacts.</summary>
[Collection(Builds.Name)]
public sealed class GraphTests(PackedFeed feed)
{
    private const string Program = """
        <Project Sdk="Microsoft.NET.Sdk">
          <PropertyGroup>
            <OutputType>Exe</OutputType>
            <TargetFramework>net10.0</TargetFramework>
          </PropertyGroup>
          <ItemGroup>
            <ProjectReference Include="../Library/Library.csproj" />
          </ItemGroup>
        </Project>
        """;

    [Theory]
    [InlineData("-graph")]
    [InlineData("-graph", "-isolate")]
    public void A_graph_of_projects_restores_the_quantizers_libraries_quantizes_and_gives_the_program_the_artifact(params string[] arguments)
    {
        UserProject library = Library();
        string program = Path.Combine(library.Folder, "../Program");
        library.Write("../Program/Program.cs", "System.Console.WriteLine(App.Models.TinyRtn4.Info.ClassName);");
        library.Write("../Program/App.csproj", Program);
        Assert.Equal(0, library.Run("restore", Path.Combine(program, "App.csproj")).ExitCode);

        // What the stub has no use for, a build of everybody else restores.
        BuildResult result = library.Run("build", [Path.Combine(program, "App.csproj"), "--no-restore", "-p:QuantBuildRestoresWorkerLibraries=true", .. arguments]);

        Assert.True(result.ExitCode == 0, result.Output);
        Assert.Contains("QuantBuildRestoreWorkerLibraries", result.Targets);
        Assert.True(File.Exists(Path.Combine(library.Intermediate, "quantbuild/worker/obj/project.assets.json")));
        Assert.Equal(1, library.StubStarts);
        Assert.True(File.Exists(Path.Combine(program, "bin/Debug/net10.0/TinyRtn4.safetensors")));
        Assert.Equal("TinyRtn4", library.RunProgram(Path.Combine(program, "bin/Debug/net10.0")).Output.Trim());
    }

    [Fact]
    public void Two_projects_of_a_solution_that_share_a_model_have_it_quantized_once_by_a_build_of_several_processes()
    {
        UserProject library = Library();
        string item = """<QuantizedModel Include="../Library/tiny" Method="Rtn" Bits="4" GroupSize="16" />""";
        library.Write("../Program/Program.cs", UserProject.DoingNothing);
        library.Declare(item, file: "../Program/App.csproj");
        library.Write("../All.slnx", """<Solution><Project Path="Library/Library.csproj" /><Project Path="Program/App.csproj" /></Solution>""");

        BuildResult result = library.Run("build", Path.Combine(library.Folder, "../All.slnx"), "-m:2");

        Assert.True(result.ExitCode == 0, result.Output);
        Assert.Equal(1, library.StubStarts);
        foreach (string output in new[] { library.Output, Path.Combine(library.Folder, "../Program/bin/Debug/net10.0") })
        {
            Assert.True(File.Exists(Path.Combine(output, "TinyRtn4.safetensors")), output);
        }
    }

    private UserProject Library()
    {
        UserProject library = new(feed, name: "Library") { Stub = "quiet" };
        library.WriteModel("tiny", new TinyModel());
        library.Declare(
            """<QuantizedModel Include="tiny" Method="Rtn" Bits="4" GroupSize="16" Namespace="App.Models" />""", "<OutputType>Library</OutputType>", "Library.csproj");
        File.Delete(Path.Combine(library.Folder, "Program.cs"));
        return library;
    }
}
