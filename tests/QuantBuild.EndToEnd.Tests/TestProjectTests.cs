namespace QuantBuild.EndToEnd.Tests;

[Collection(Builds.Name)]
public sealed class TestProjectTests(PackedFeed feed)
{
    [Fact]
    public void Tests_of_a_project_that_references_one_with_a_model_run_with_its_weights()
    {
        UserProject library = new(feed, feed.SharedCache, "Library");
        library.WriteModel("tiny", new TinyModel());
        library.Declare("""<QuantizedModel Include="tiny" Method="Rtn" Bits="4" GroupSize="16" />""", "<OutputType>Library</OutputType>", "Library.csproj");
        File.Delete(Path.Combine(library.Folder, "Program.cs"));
        library.Write("../Tests/StoryTests.cs", """
            public class StoryTests
            {
                [Xunit.Fact]
                public void It_goes_on() => Xunit.Assert.NotEmpty(Library.Models.TinyRtn4.Generate("Once", new() { MaxTokens = 4 }));
            }
            """);
        library.Write("../Tests/Tests.csproj", """
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <TargetFramework>net10.0</TargetFramework>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="Microsoft.NET.Test.Sdk" Version="17.14.1" />
                <PackageReference Include="xunit" Version="2.9.3" />
                <PackageReference Include="xunit.runner.visualstudio" Version="3.1.5" />
                <ProjectReference Include="../Library/Library.csproj" />
              </ItemGroup>
            </Project>
            """);

        BuildResult result = library.Run("test", Path.Combine(library.Folder, "../Tests/Tests.csproj"));

        Assert.True(result.ExitCode == 0, result.Output);
        Assert.Matches(@"Passed!.*Passed:\s+1", result.Output);
    }
}
