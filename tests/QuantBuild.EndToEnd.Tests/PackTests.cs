using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using System.Xml.Linq;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>Libraries with a model, packed; and programs that know nothing but the packages.</summary>
[Collection(Builds.Name)]
public sealed class PackTests(PackedFeed feed)
{
    private const string Item = """<QuantizedModel Include="tiny" Method="Rtn" Bits="4" GroupSize="16" PackQuantizedModel="true" />""";

    // Nothing final may depend on what is not, and the packages that are tested are not.
    private const string Library = "<OutputType>Library</OutputType><Version>1.0.0-test</Version>";

    // As the documentation recommends: what builds stays with the one who builds.
    private const string References = """
        <PackageReference Update="QuantBuild" PrivateAssets="all" />
        <PackageReference Include="QuantBuild.Runtime" Version="0.1.0-e2e" />
        """;

    [Fact]
    public void Programs_that_reference_two_packages_with_models_of_one_name_have_both_classes_with_their_weights()
    {
        UserProject one = NewLibrary("One", seed: 1), two = NewLibrary("Two", seed: 2);
        one.Declare(Item + References, Library, "One.csproj");
        // Without the recommendation it works as well.
        two.Declare(Item, Library, "Two.csproj");
        Pack(one);
        Pack(two);
        // A library of the program uses the other package: the program has it through that alone.
        UserProject program = new(feed);
        program.Write("Program.cs", """
            System.Console.WriteLine(One.Models.TinyRtn4.Generate("Once", new() { MaxTokens = 4 }).Length > 0);
            System.Console.WriteLine(Between.Uses.Generate("Once").Length > 0);
            System.Console.WriteLine(One.Models.TinyRtn4.Info.Fingerprint != Two.Models.TinyRtn4.Info.Fingerprint);
            """);
        program.Write("App.csproj", Program("Exe", """<PackageReference Include="One" Version="1.0.0-test" /><ProjectReference Include="../Between/Between.csproj" />"""));
        program.Write("../Between/Between.csproj", Program("Library", """<PackageReference Include="Two" Version="1.0.0-test" />"""));
        program.Write("../Between/Uses.cs", """
            namespace Between;
            public static class Uses { public static string Generate(string prompt) => Two.Models.TinyRtn4.Generate(prompt, new() { MaxTokens = 4 }); }
            """);

        BuildResult built = program.Build();

        Assert.Equal(0, built.Workers);
        AssertRuns(DotNet.Host, program.Output, "App.dll");
        BuildResult published = program.Run("publish", "-r", RuntimeInformation.RuntimeIdentifier, "--no-self-contained", "-p:PublishSingleFile=true", "-o", "published");
        Assert.True(published.ExitCode == 0, published.Output);
        string folder = Path.Combine(program.Folder, "published");
        AssertRuns(Path.Combine(folder, OperatingSystem.IsWindows() ? "App.exe" : "App"), folder);

        // One's reference is private, Two's is not.
        string[] libraries = [.. JsonNode.Parse(File.ReadAllText(Path.Combine(program.Folder, "obj/project.assets.json")))!["libraries"]!.AsObject().Select(entry => entry.Key.Split('/')[0])];
        Assert.Contains("QuantBuild.Runtime", libraries);
        Assert.DoesNotContain("QuantBuild", Dependencies(one));
        Assert.Contains("QuantBuild", Dependencies(two));
    }

    [Fact]
    public void A_package_has_no_weights_unless_it_is_told_to()
    {
        UserProject library = NewLibrary("Plain", seed: 1);
        library.Declare(BuiltProject.Item, Library, "Plain.csproj");
        Pack(library);
        Assert.DoesNotContain(Entries(library), entry => entry.Contains("safetensors", StringComparison.Ordinal) || entry.EndsWith(".targets", StringComparison.Ordinal));
    }

    [Fact]
    public void Packing_what_was_not_built_is_an_error_and_packing_without_the_runtime_a_warning()
    {
        UserProject library = new(feed) { Stub = "quiet" };
        library.WriteModel("tiny", new TinyModel());
        library.Declare(BuiltProject.Item, Library);
        library.Write("Program.cs", "");
        library.Build();

        library.Declare(Item.Replace("Bits=\"4\"", "Bits=\"8\"", StringComparison.Ordinal), Library);
        library.Run("pack", "--no-build", "-c", "Debug").AssertError("QB1030", "App.Models.TinyRtn8.safetensors does not exist");

        library.Declare(Item + """<PackageReference Update="QuantBuild" PrivateAssets="all" />""", Library);
        library.Run("pack", "-c", "Debug", "-p:MSBuildTreatWarningsAsErrors=true").AssertError("QB0020", "does not depend on QuantBuild.Runtime");
    }

    private static string Program(string outputType, string references) => $"""
        <Project Sdk="Microsoft.NET.Sdk">
          <PropertyGroup>
            <OutputType>{outputType}</OutputType>
            <TargetFramework>net10.0</TargetFramework>
            <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
          </PropertyGroup>
          <ItemGroup>
            {references}
          </ItemGroup>
        </Project>
        """;

    private static void AssertRuns(string program, string folder, params string[] arguments)
    {
        Assert.Equal(["One.Models.TinyRtn4.safetensors", "Two.Models.TinyRtn4.safetensors"], Directory.GetFiles(folder, "*.safetensors").Select(file => Path.GetFileName(file)).Order());
        (int exitCode, string output) = DotNet.Run(program, arguments, folder);
        Assert.True(exitCode == 0, output);
        Assert.Equal(["True", "True", "True"], output.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));
    }

    private UserProject NewLibrary(string name, int seed)
    {
        UserProject library = new(feed, feed.SharedCache, name);
        library.WriteModel("tiny", new TinyModel { Seed = seed });
        File.Delete(Path.Combine(library.Folder, "Program.cs"));
        return library;
    }

    private void Pack(UserProject library)
    {
        BuildResult packed = library.Run("pack", "-c", "Debug", "-o", feed.Folder);
        Assert.True(packed.ExitCode == 0, packed.Output);
    }

    private string[] Entries(UserProject library)
    {
        using ZipArchive package = ZipFile.OpenRead(PackagePath(library));
        return [.. package.Entries.Select(entry => entry.FullName)];
    }

    private string[] Dependencies(UserProject library)
    {
        using ZipArchive package = ZipFile.OpenRead(PackagePath(library));
        using Stream nuspec = package.Entries.Single(entry => entry.FullName.EndsWith(".nuspec", StringComparison.Ordinal)).Open();
        return [.. XDocument.Load(nuspec).Descendants().Where(e => e.Name.LocalName == "dependency").Select(e => (string)e.Attribute("id")!)];
    }

    private string PackagePath(UserProject library) => Path.Combine(feed.Folder, Path.GetFileName(library.Folder) + ".1.0.0-test.nupkg");
}
