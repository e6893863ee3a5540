using System.Runtime.InteropServices;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>Programs that are compiled ahead of time to machine code.</summary>
[Collection(Builds.Name)]
public sealed class NativeTests(PackedFeed feed)
{
    // After a conversation by the model's chat template.
    private const string Chatting = """

        ChatOptions options = new() { MaxOutputTokens = 12, Seed = 1 };
        System.Console.WriteLine("[" + (await chat.GetResponseAsync("Hi", options)).Text + "]");
        options.ResponseFormat = ChatResponseFormat.Json;
        System.Console.WriteLine((await chat.GetResponseAsync("Hi", options)).Text);
        System.Console.WriteLine((await model.AsEmbeddingGenerator().GenerateVectorAsync("Hi")).Length);
        System.Console.WriteLine(System.Runtime.Intrinsics.Vector256.IsHardwareAccelerated);
        System.Console.WriteLine(model.Placement.Reason);
        """;

    [FactWhereNativeCodeCanBeLinked]
    public void A_program_of_machine_code_answers_with_its_artifact_beside_it_and_without_a_warning()
    {
        UserProject project = new(feed, feed.SharedCache);
        // The compiler to machine code comes from where the SDK's packs come from.
        project.Write("../nuget.config", feed.NuGetConfig(withUsersSources: true));
        ChatTemplateTests.WriteModel(project);
        project.Write("Program.cs", ChatTemplateTests.Program + Chatting);
        // Warnings of trimming and of the compiler to machine code are errors too.
        // A program that can use a GPU says why there is none, or runs there; it never names the package in its code.
        feed.Pack("QuantBuild.Runtime.Cuda");
        project.Declare(
            BuiltProject.Item + $"""<PackageReference Include="QuantBuild.Runtime.Cuda" Version="{PackedFeed.Version}" />""", "<PublishAot>true</PublishAot><InvariantGlobalization>true</InvariantGlobalization>");

        string rid = RuntimeInformation.RuntimeIdentifier;
        BuildResult result = project.Run("publish", "-r", rid, "-o", "out");
        Assert.True(result.ExitCode == 0, result.Output);
        Assert.DoesNotContain("warning", result.Output, StringComparison.Ordinal);

        string published = Path.Combine(project.Folder, "out");
        Assert.Equal(["App", "TinyRtn4.safetensors"], Directory.EnumerateFiles(published).Select(Path.GetFileName).Where(name => name != "App.dbg").Order());
        (int exitCode, string output) = DotNet.Run(Path.Combine(published, "App"), [], Path.GetTempPath());
        Assert.True(exitCode == 0, output);
        // The kernels have the vectors that they are written for.
        bool wide = RuntimeInformation.ProcessArchitecture == Architecture.X64;
        Assert.StartsWith(ChatTemplateTests.Expected, output, StringComparison.Ordinal);
        Assert.Matches($@"(?s)^\s+{ChatTemplateTests.Counts}\s+\[.+\]\s+\{{.*\}}\s+32\s+{wide}\s+(No GPU can be used on this machine: .+|All \d+ layers are on cuda:0 .+)\s*$", output[ChatTemplateTests.Expected.Length..]);
    }
}

/// <summary>A test that compiles to machine code: skipped where there is no linker.</summary>
internal sealed class FactWhereNativeCodeCanBeLinkedAttribute : FactAttribute
{
    public FactWhereNativeCodeCanBeLinkedAttribute()
    {
        string[] folders = Environment.GetEnvironmentVariable("PATH")?.Split(Path.PathSeparator) ?? [];
        bool linker = folders.Any(folder => File.Exists(Path.Combine(folder, "clang")) || File.Exists(Path.Combine(folder, "gcc")));
        if (!OperatingSystem.IsLinux() || !linker) Skip = "NativeAOT is not tested here: it takes Linux, and clang or gcc on the PATH (apt-get install clang zlib1g-dev)";
    }
}
