using System.Diagnostics;

namespace QuantBuild.Generators.Tests;

/// <summary>The generator as the SDK's own compiler loads it, in a project made outside the repository.</summary>
public sealed class CompilerTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-generator-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void A_strict_project_builds_without_a_warning_and_has_the_class()
    {
        WriteProject();
        Write("Sample.quantbuild.xml", (Descriptors.Sample with { ChatTemplateFile = Path.Combine(folder, "chat.jinja"), BosToken = "<s>" }).ToXml());
        Write("chat.jinja", "{{ bos_token }}{% for m in messages if m.role != 'tool' %}{{ loop.index }}{{ m.content|trim }}{% endfor %}");
        Write("Awkward.quantbuild.xml", Descriptors.Awkward.ToXml());
        Write("PerChannel.quantbuild.xml", Descriptors.PerChannel.ToXml());
        Write("Program.cs", """
            global::System.Console.WriteLine(HelloQuant.Models.Gutenberg7mGptq4.Info.Parameters);
            global::System.Console.WriteLine(HelloQuant.Models.Gutenberg7mRtn8.Info.GroupSize);
            using var variables = global::System.Text.Json.JsonDocument.Parse("{\"messages\": [{\"role\": \"user\", \"content\": \" Hello \"}]}");
            global::System.Console.WriteLine(HelloQuant.Models.Gutenberg7mGptq4.Info.ChatTemplate!.Render(variables.RootElement));
            """);

        (int exitCode, string output) = Build();

        Assert.True(exitCode == 0, output);
        Assert.Contains("0 Warning(s)", output, StringComparison.Ordinal);
        Assert.Equal("6819072\n-1\n<s>1Hello\n", Run(Path.Combine(folder, "bin", "Strict.dll")).ReplaceLineEndings("\n"));
    }

    [Fact]
    public void A_malformed_descriptor_fails_the_build_with_its_id_file_and_page()
    {
        WriteProject();
        Write("Sample.quantbuild.xml", "<QuantizedModel Bits=");
        Write("Program.cs", "return;");

        (int exitCode, string output) = Build();

        Assert.NotEqual(0, exitCode);
        Assert.Contains("Sample.quantbuild.xml(1,1): error QB0008: ", output, StringComparison.Ordinal);
        Assert.Contains("docs/diagnostics/QB0008.md", output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_project_silences_what_the_analyzers_say_and_makes_errors_of_it()
    {
        WriteProject("""
            <TreatWarningsAsErrors>false</TreatWarningsAsErrors>
            <WarningsAsErrors>QB4105</WarningsAsErrors>
            <NoWarn>$(NoWarn);QB4106;CS1591</NoWarn>
            """);
        Write("Sample.quantbuild.xml", Descriptors.Sample.ToXml());
        Write(".editorconfig", """
            root = true
            [*.cs]
            dotnet_diagnostic.QB4103.severity = none
            dotnet_diagnostic.QB4102.severity = error
            """);
        Write("Program.cs", """
            using HelloQuant.Models;
            using QuantBuild;
            LanguageModel model = Gutenberg7mGptq4.Load();
            model.Generate("", new GenerationOptions { TopK = -1 });
            Gutenberg7mGptq4.StreamAsync("");
            for (int i = 0; i < 3; i++) Gutenberg7mGptq4.Load().Dispose();
            static async global::System.Threading.Tasks.Task Answer()
            {
                await global::System.Threading.Tasks.Task.Yield();
                Gutenberg7mGptq4.Generate("");
            }

            Answer().Wait();
            """);

        (int exitCode, string output) = Build();

        Assert.NotEqual(0, exitCode);
        Assert.Contains("Program.cs(3,15): error QB4102: ", output, StringComparison.Ordinal);
        Assert.Contains("Program.cs(5,1): error QB4105: ", output, StringComparison.Ordinal);
        Assert.Contains("Program.cs(6,29): warning QB4101: ", output, StringComparison.Ordinal);
        Assert.Contains("docs/diagnostics/QB4101.md", output, StringComparison.Ordinal);
        Assert.DoesNotContain("QB4103", output, StringComparison.Ordinal);
        Assert.DoesNotContain("QB4106", output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_template_that_cannot_be_compiled_is_a_warning_with_line_and_column()
    {
        WriteProject();
        Write("Sample.quantbuild.xml", (Descriptors.Sample with { ChatTemplateFile = Path.Combine(folder, "chat.jinja") }).ToXml());
        Write("chat.jinja", "a\n {% import 'x' %}");
        Write("Program.cs", "return;");

        (_, string output) = Build();

        // The project is strict: a warning is an error in it.
        Assert.Contains("chat.jinja(2,5): error QB0030: ", output, StringComparison.Ordinal);
        Assert.Contains("docs/diagnostics/QB0030.md", output, StringComparison.Ordinal);
    }

    private void WriteProject(string properties = "") => Write("Strict.csproj", $"""
        <Project Sdk="Microsoft.NET.Sdk">
          <PropertyGroup>
            <OutputType>Exe</OutputType>
            <TargetFramework>net10.0</TargetFramework>
            <Nullable>enable</Nullable>
            <ImplicitUsings>disable</ImplicitUsings>
            <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
            <AnalysisLevel>latest-all</AnalysisLevel>
            <EnforceCodeStyleInBuild>true</EnforceCodeStyleInBuild>
            <GenerateDocumentationFile>true</GenerateDocumentationFile>
            <UseAppHost>false</UseAppHost>
            <OutDir>bin/</OutDir>
            {properties}
          </PropertyGroup>
          <ItemGroup>
            <Analyzer Include="{typeof(ModelClassGenerator).Assembly.Location};{typeof(CodeFixes.ModelCodeFix).Assembly.Location}" />
            <AdditionalFiles Include="*.quantbuild.xml;*.jinja" />
            <Reference Include="{string.Join(';', RuntimeReference.Paths)}" />
          </ItemGroup>
        </Project>
        """);

    private void Write(string name, string content) => File.WriteAllText(Path.Combine(folder, name), content);

    private (int ExitCode, string Output) Build() => Start("build", "--nologo", "-v:m", "-clp:Summary", "--disable-build-servers");

    private string Run(string assembly)
    {
        (int exitCode, string output) = Start(assembly);
        Assert.True(exitCode == 0, output);
        return output;
    }

    private (int ExitCode, string Output) Start(params string[] arguments)
    {
        ProcessStartInfo start = new(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // The build that runs this test is not the build that it tests.
        foreach (string name in start.Environment.Keys.Where(k => k.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)).ToArray())
        {
            start.Environment.Remove(name);
        }

        start.Environment["DOTNET_CLI_UI_LANGUAGE"] = "en";
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd() + errors.Result;
        process.WaitForExit();
        return (process.ExitCode, output);
    }
}
