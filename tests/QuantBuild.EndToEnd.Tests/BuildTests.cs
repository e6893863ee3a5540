using System.Text.Json.Nodes;

namespace QuantBuild.EndToEnd.Tests;

/// <summary>One project, built once; each test changes something and builds again.</summary>
public sealed class BuiltProject
{
    internal const string Item = """<QuantizedModel Include="tiny" Method="Rtn" Bits="4" GroupSize="16" />""";
    internal const string GptqItem = """
        <QuantizedModel Include="tiny" Method="Gptq" Bits="4" GroupSize="16" CalibrationData="calibration.txt" CalibrationSamples="4" />
        """;

    /// <summary>Builds it.</summary>
    public BuiltProject(PackedFeed feed)
    {
        Project = new UserProject(feed);
        Project.WriteModel("tiny", new TinyModel());
        Project.Write("Program.cs", UserProject.Generating);
        Project.Declare(Item + GptqItem);
        First = Project.Build();
    }

    internal UserProject Project { get; }

    internal BuildResult First { get; }
}

[Collection(Builds.Name)]
public sealed class BuildTests(BuiltProject built) : IClassFixture<BuiltProject>
{
    private const string Artifact = "TinyRtn4.safetensors";
    private readonly UserProject project = built.Project;

    [Fact]
    public void The_first_build_quantizes_and_the_program_generates_text()
    {
        Assert.Equal(2, built.First.Workers);
        Assert.Contains("QuantBuildQuantize", built.First.Targets);
        Assert.Contains("TinyGptq4: layer 1 of 2", built.First.Output, StringComparison.Ordinal);
        foreach (string file in new[] { Artifact, "TinyRtn4.build.json", "TinyGptq4.safetensors", "TinyGptq4.build.json" })
        {
            Assert.True(File.Exists(Path.Combine(project.Output, file)), file);
        }

        string report = Path.Combine(project.Intermediate, "quantbuild", "TinyGptq4.html");
        Assert.True(File.Exists(report));
        Assert.Contains("TinyGptq4: report: " + report, built.First.Output, StringComparison.Ordinal);
        Assert.Empty(project.Leftovers());
        (int exitCode, string output) = project.RunProgram();
        Assert.True(exitCode == 0, output);
        Assert.Matches(@"^\[.+\]\s*$", output);
    }

    [Fact]
    public void A_build_with_nothing_changed_starts_neither_worker_nor_compiler()
    {
        project.Build();
        DateTime artifact = File.GetLastWriteTimeUtc(Path.Combine(project.Output, Artifact));

        BuildResult second = project.Build();
        Assert.Equal(0, second.Workers);
        Assert.False(second.Compiled);
        Assert.DoesNotContain("QuantBuildRestoreWorkerLibraries", second.Targets);
        Assert.Equal(artifact, File.GetLastWriteTimeUtc(Path.Combine(project.Output, Artifact)));
    }

    [Fact]
    public void A_changed_comment_compiles_and_does_not_quantize()
    {
        project.Write("Program.cs", UserProject.Generating.Replace("A comment.", "Another comment.", StringComparison.Ordinal));
        BuildResult result = project.Build();
        Assert.True(result.Compiled);
        Assert.Equal(0, result.Workers);
    }

    [Fact]
    public void A_changed_bit_width_quantizes_and_the_old_width_comes_back_from_the_cache()
    {
        project.Declare(BuiltProject.GptqItem + BuiltProject.Item.Replace("Bits=\"4\"", "Bits=\"3\" ClassName=\"TinyRtn4\"", StringComparison.Ordinal));
        BuildResult changed = project.Build();
        Assert.Equal(1, changed.Workers);
        Assert.Equal(0, project.RunProgram().ExitCode);

        // Older than what it replaces, and copied all the same: the program refuses weights that it was not built for.
        project.Declare(BuiltProject.Item + BuiltProject.GptqItem);
        BuildResult back = project.Build();
        Assert.Equal(0, back.Workers);
        Assert.Equal(0, project.RunProgram().ExitCode);
    }

    [Fact]
    public void A_changed_calibration_file_quantizes_what_reads_it()
    {
        string path = Path.Combine(project.Folder, "calibration.txt");
        string text = File.ReadAllText(path);
        File.WriteAllText(path, "Once more. " + text);
        Assert.Equal(1, project.Build().Workers);

        File.WriteAllText(path, text);
        Assert.Equal(0, project.Build().Workers);
    }

    [Fact]
    public void A_changed_weight_file_quantizes_and_a_bad_one_leaves_the_last_good_artifact()
    {
        project.WriteModel("tiny", new TinyModel { Seed = 2 });
        Assert.Equal(2, project.Build().Workers);
        byte[] good = File.ReadAllBytes(Path.Combine(project.Output, Artifact));

        project.WriteModel("tiny", new TinyModel { Seed = 3, File = bytes => bytes[..^1000] });
        BuildResult failed = project.FailToBuild();
        failed.AssertError("QB2005", "model.safetensors");
        Assert.Equal(good, File.ReadAllBytes(Path.Combine(project.Output, Artifact)));
        Assert.Equal(good, File.ReadAllBytes(Path.Combine(project.Intermediate, "quantbuild", Artifact)));
        Assert.Empty(project.Leftovers());
        Assert.Equal(0, project.RunProgram().ExitCode);

        project.WriteModel("tiny", new TinyModel());
        Assert.Equal(0, project.Build().Workers);
    }

    [Fact]
    public void A_gate_and_a_warning_that_is_an_error_fail_a_build_that_has_nothing_to_quantize()
    {
        project.Declare(BuiltProject.Item + BuiltProject.GptqItem.Replace(" />", " MaxKlDivergence=\"0\" />", StringComparison.Ordinal));
        BuildResult refused = project.FailToBuild();
        refused.AssertError("QB3008", "MaxKlDivergence allows 0");
        Assert.Equal(0, refused.Workers);

        project.Declare(BuiltProject.Item + BuiltProject.GptqItem, "<NoWarn>QB3014</NoWarn><MSBuildTreatWarningsAsErrors>true</MSBuildTreatWarningsAsErrors>");
        BuildResult warned = project.FailToBuild();
        warned.AssertError("QB3010", "TinyRtn4");
        Assert.Equal(0, warned.Workers);

        project.Declare(BuiltProject.Item + BuiltProject.GptqItem);
        Assert.Equal(0, project.Build().Workers);
        Assert.Equal(0, project.RunProgram().ExitCode);
    }

    [Fact]
    public void Overrides_as_items_a_budget_and_a_chosen_method_reach_the_artifacts()
    {
        project.Declare("""
            <QuantizedModel Include="tiny" Method="Auto" Use="Development" GroupSize="16" />
            <QuantizedModel Include="tiny" Method="Rtn" GroupSize="16" TargetBitsPerWeight="4.8" CalibrationData="calibration.txt" CalibrationSamples="4" Override="layers.0: Float" />
            <QuantizationOverride Include="down_proj" Bits="8" Model="TinyAuto" />
            <QuantizationOverride Include="layers.1.self_attn.q_proj" Method="Nf4" Model="TinyRtn4_8" />
            """);
        project.Write("Program.cs", UserProject.DoingNothing);
        BuildResult result = project.Build();
        Assert.Equal(2, result.Workers);
        Assert.Contains("TinyAuto: Method=\"Auto\" chose Rtn, 4 bits, groups of 16", result.Output, StringComparison.Ordinal);
        Assert.Contains("TinyRtn4_8: widths: ", result.Output, StringComparison.Ordinal);
        JsonNode chosen = Layers("TinyAuto.safetensors"), budget = Layers("TinyRtn4_8.safetensors");
        Assert.Equal(8, (int)chosen["model.layers.1.mlp.down_proj"]!["Bits"]!);
        Assert.Equal(4, (int)chosen["model.layers.1.mlp.up_proj"]!["Bits"]!);
        Assert.Equal("Codebook4", (string)budget["model.layers.1.self_attn.q_proj"]!["Format"]!);
        Assert.Equal(7, budget.AsObject().Count);

        project.Write("Program.cs", UserProject.Generating);
        project.Declare(BuiltProject.Item + BuiltProject.GptqItem);
        Assert.Equal(0, project.Build().Workers);
    }

    [Fact]
    public void A_csharp_error_costs_no_quantization()
    {
        project.Declare(BuiltProject.Item.Replace("Bits=\"4\"", "Bits=\"8\" ClassName=\"TinyRtn4\"", StringComparison.Ordinal));
        project.Write("Program.cs", "this is not C#");
        BuildResult result = project.FailToBuild();
        Assert.Contains(result.Errors, e => e.Code.StartsWith("CS", StringComparison.Ordinal));
        Assert.Equal(0, result.Workers);

        project.Write("Program.cs", UserProject.Generating);
        project.Declare(BuiltProject.Item + BuiltProject.GptqItem);
        project.Build();
    }

    [Fact]
    public void Clean_removes_the_outputs_and_keeps_the_cache()
    {
        project.Build();
        // It quantized, so it restored as well.
        Assert.True(Directory.Exists(Path.Combine(project.Intermediate, "quantbuild", "worker")));
        Assert.Equal(0, project.Run("clean").ExitCode);
        Assert.Empty(Directory.Exists(project.Output) ? Directory.EnumerateFiles(project.Output, "Tiny*") : []);
        Assert.False(Directory.Exists(Path.Combine(project.Intermediate, "quantbuild")));

        BuildResult again = project.Build();
        Assert.Equal(0, again.Workers);
        Assert.True(File.Exists(Path.Combine(project.Output, Artifact)));
    }

    [Fact]
    public void An_item_that_is_gone_takes_its_outputs_with_it()
    {
        project.Declare(BuiltProject.Item);
        project.Build();
        Assert.False(File.Exists(Path.Combine(project.Output, "TinyGptq4.safetensors")));
        Assert.False(File.Exists(Path.Combine(project.Intermediate, "quantbuild", "TinyGptq4.quantbuild.xml")));

        project.Declare(BuiltProject.Item + BuiltProject.GptqItem);
        Assert.Equal(0, project.Build().Workers);
    }

    [Fact]
    public void Publishing_takes_the_artifact_and_not_the_record_of_how_it_was_made()
    {
        string folder = Path.Combine(project.Folder, "../published");
        BuildResult result = project.Run("publish", "-o", folder, "-c", "Debug");
        Assert.True(result.ExitCode == 0, result.Output);
        Assert.True(File.Exists(Path.Combine(folder, Artifact)));
        Assert.False(File.Exists(Path.Combine(folder, "TinyRtn4.build.json")));
        (int exitCode, string output) = project.RunProgram(folder);
        Assert.True(exitCode == 0, output);
    }

    [Fact]
    public void A_single_file_program_has_its_artifact_beside_it()
    {
        BuildResult result = project.Run("msbuild", "-t:ComputeResolvedFilesToPublishList", "-getItem:ResolvedFileToPublish");
        Assert.True(result.ExitCode == 0, result.Output);
        JsonNode item = JsonNode.Parse(result.Output)!["Items"]!["ResolvedFileToPublish"]!.AsArray().Single(i => (string?)i!["RelativePath"] == Artifact)!;
        Assert.Equal("true", (string?)item["ExcludeFromSingleFile"]);
    }

    /// <summary>What an artifact's manifest says of its layers.</summary>
    private JsonNode Layers(string artifact)
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(project.Output, artifact));
        JsonNode header = JsonNode.Parse(bytes.AsSpan(8, (int)BitConverter.ToInt64(bytes)))!;
        return JsonNode.Parse((string)header["__metadata__"]!["quantbuild"]!)!["Layers"]!;
    }
}
