using Microsoft.Build.Framework;

namespace QuantBuild.Tasks.Tests;

[Collection("one cache variable a process")]
public sealed class DeclareModelsTests : IDisposable
{
    private readonly TestProject project = new();

    public void Dispose() => project.Dispose();

    [Fact]
    public void A_sound_item_gives_a_descriptor_and_an_artifact_to_be()
    {
        (DeclareModels task, RecordingBuildEngine engine, bool succeeded) = project.Declare(TestProject.Sound());

        Assert.True(succeeded);
        Assert.Empty(engine.Errors);
        Assert.Empty(engine.Warnings);
        ModelDescriptor descriptor = project.Descriptor("TinyGptq4");
        Assert.Equal("Test.Models", descriptor.Namespace);
        Assert.Equal("tiny", descriptor.ModelName);
        Assert.Equal(16, descriptor.GroupSize);
        Assert.Equal(64, descriptor.Fingerprint.Length);
        Assert.Equal("TinyGptq4.safetensors", descriptor.ArtifactFileName);
        // 64 x 32 twice (no tie), the last norm, two norms, four projections of 32 x 32 and three of 64 x 32.
        Assert.Equal((2 * 64 * 32) + 32 + (2 * 32) + (4 * 32 * 32) + (3 * 64 * 32), descriptor.Parameters);
        ITaskItem declared = Assert.Single(task.Declared);
        Assert.Equal(Path.Combine(project.OutputFolder, "TinyGptq4.safetensors"), declared.ItemSpec);
        Assert.Equal(descriptor.Fingerprint, declared.GetMetadata("Fingerprint"));
        Assert.Equal(project.DescriptorPath("TinyGptq4"), Assert.Single(task.Descriptors).ItemSpec);
    }

    [Fact]
    public void A_descriptor_says_whether_words_are_tokens()
    {
        project.Declare(TestProject.Sound());
        Assert.False(project.Descriptor("TinyGptq4").WordsAreTokens);

        project.Write("tiny/tokenizer.json", """{"pre_tokenizer": {"type": "ByteLevel"}, "model": {}}""");
        project.Declare(TestProject.Sound());
        Assert.True(project.Descriptor("TinyGptq4").WordsAreTokens);
    }

    [Fact]
    public void What_a_package_brings_has_the_namespace_in_its_name()
    {
        (DeclareModels task, _, bool succeeded) = project.Declare(TestProject.Sound(("PackQuantizedModel", "True")), TestProject.Sound(("PackQuantizedModel", "false"), ("Bits", "3")));
        Assert.True(succeeded);
        Assert.Equal(["Test.Models.TinyGptq4.safetensors", "TinyGptq3.safetensors"], task.Declared.Select(item => Path.GetFileName(item.ItemSpec)));
        Assert.Equal("Test.Models.TinyGptq4.safetensors", project.Descriptor("TinyGptq4").ArtifactFileName);
    }

    [Fact]
    public async Task A_model_that_takes_long_to_read_is_named_every_ten_seconds()
    {
        // A pipe takes as long to read as its other end likes. mkfifo is a program of Linux and macOS.
        if (OperatingSystem.IsWindows()) return;
        string weights = Path.Combine(project.Folder, "tiny/model.safetensors");
        File.Delete(weights);
        using (System.Diagnostics.Process made = System.Diagnostics.Process.Start("mkfifo", [weights])) await made.WaitForExitAsync();

        Task<(DeclareModels, RecordingBuildEngine Engine, bool Succeeded)> declaring = Task.Run(() => project.Declare(TestProject.Sound()));
        await Task.Delay(TimeSpan.FromSeconds(11));
        await File.WriteAllTextAsync(weights, "weights");

        Assert.True((await declaring).Succeeded);
        Assert.Contains((await declaring).Engine.Messages, m => m.Message == $"reading {weights} to see whether it has changed, 10 s so far" && m.Importance == MessageImportance.High);
    }

    [Fact]
    public void The_files_that_decide_artifacts_are_listed_once()
    {
        ITaskItem[] items = [TestProject.Sound(("EvaluationData", "evaluation.txt")), TestProject.Sound(("Bits", "3"))];
        string[] inputs = [.. project.Declare(items).Task.Inputs.Select(item => Path.GetRelativePath(project.Folder, item.ItemSpec).Replace('\\', '/'))];
        Assert.Equal(
            ["calibration.txt", "evaluation.txt", "tiny/config.json", "tiny/model.safetensors", "tiny/tokenizer.json"],
            inputs.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_descriptor_that_stays_the_same_is_not_written_again()
    {
        project.Declare(TestProject.Sound());
        DateTime past = new(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(project.DescriptorPath("TinyGptq4"), past);

        project.Declare(TestProject.Sound());
        Assert.Equal(past, File.GetLastWriteTimeUtc(project.DescriptorPath("TinyGptq4")));

        project.Declare(TestProject.Sound(("Symmetric", "true")));
        Assert.NotEqual(past, File.GetLastWriteTimeUtc(project.DescriptorPath("TinyGptq4")));
    }

    [Theory]
    [InlineData("QB0001", "Method", "Gptqq")]
    [InlineData("QB0002", "Bits", "5")]
    [InlineData("QB0003", "GroupSize", "12")]
    [InlineData("QB0006", "BlockSize", "64")]
    [InlineData("QB0007", "GroupSize", "48")]
    [InlineData("QB0005", "ClassName", "2fast")]
    [InlineData("QB0005", "ClassName", "Generate")]
    [InlineData("QB0005", "Namespace", "A..B")]
    [InlineData("QB0006", "ActOrder", "maybe")]
    [InlineData("QB0006", "Damping", "-1")]
    [InlineData("QB0006", "MaxPerplexityIncrease", "2")]
    [InlineData("QB0006", "MaxKlDivergence", "2%")]
    [InlineData("QB0006", "MaxMemory", "much")]
    [InlineData("QB0006", "PackQuantizedModel", "yes")]
    [InlineData("QB3001", "CalibrationData", "nowhere.txt")]
    [InlineData("QB3002", "CalibrationData", "empty.txt")]
    [InlineData("QB3005", "EvaluationData", "nowhere.txt")]
    [InlineData("QB3005", "EvaluationData", "empty.txt")]
    public void A_bad_value_is_an_error_with_its_code_and_its_page(string code, string name, string value)
    {
        project.Write("empty.txt", "");
        (DeclareModels task, RecordingBuildEngine engine, bool succeeded) = project.Declare(TestProject.Sound((name, value)));

        Assert.False(succeeded);
        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal(code, error.Code);
        Assert.Equal(DiagnosticIds.HelpLink(code), error.HelpLink);
        Assert.Empty(task.Descriptors);
    }

    [Fact]
    public void A_model_that_is_quantized_already_is_declared_without_settings_and_text()
    {
        project.WriteModel("packed");
        project.Write("packed/config.json", """
            { "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
              "num_attention_heads": 2, "vocab_size": 64, "max_position_embeddings": 128,
              "quantization_config": { "quant_method": "gptq", "bits": 3, "group_size": 32, "sym": true, "desc_act": true } }
            """);

        (DeclareModels task, RecordingBuildEngine engine, bool succeeded) = project.Declare(TestProject.Item("packed"));
        Assert.True(succeeded, string.Join("; ", engine.Errors.Select(error => error.Message)));
        Assert.Equal(project.DescriptorPath("PackedGptq3"), Path.GetFullPath(Assert.Single(task.Descriptors).ItemSpec));

        (_, engine, succeeded) = project.Declare(TestProject.Item("packed", ("Bits", "4")));
        Assert.False(succeeded);
        Assert.Equal(DiagnosticIds.CheckpointQuantizationMismatch, Assert.Single(engine.Errors).Code);
    }

    [Fact]
    public void A_text_behind_a_link_is_as_long_as_what_the_link_leads_to()
    {
        // Links need a right of its own on Windows, which not every user has.
        project.Write("empty.txt", "");
        try
        {
            File.CreateSymbolicLink(Path.Combine(project.Folder, "link.txt"), Path.Combine(project.Folder, "calibration.txt"));
            File.CreateSymbolicLink(Path.Combine(project.Folder, "empty-link.txt"), Path.Combine(project.Folder, "empty.txt"));
        }
        catch (IOException) when (OperatingSystem.IsWindows())
        {
            return;
        }

        Assert.True(project.Declare(TestProject.Sound(("CalibrationData", "link.txt"), ("EvaluationData", "link.txt"))).Succeeded);
        Assert.Equal(["QB3002"], project.Declare(TestProject.Sound(("CalibrationData", "empty-link.txt"))).Engine.ErrorCodes);
        Assert.Equal(["QB3005"], project.Declare(TestProject.Sound(("EvaluationData", "empty-link.txt"))).Engine.ErrorCodes);
    }

    [Fact]
    public void Gptq_without_calibration_data_is_an_error_and_rtn_without_it_is_not()
    {
        (_, RecordingBuildEngine engine, _) = project.Declare(TestProject.Item("tiny", ("GroupSize", "16")));
        Assert.Equal(["QB3004"], engine.ErrorCodes);

        (_, _, bool succeeded) = project.Declare(TestProject.Item("tiny", ("GroupSize", "16"), ("Method", "Rtn")));
        Assert.True(succeeded);
    }

    [Fact]
    public void A_gate_needs_a_text_and_a_text_that_quality_is_measured_on_must_be_there()
    {
        ITaskItem Rtn(params (string, string)[] metadata) => TestProject.Item("tiny", [("GroupSize", "16"), ("Method", "Rtn"), .. metadata]);
        Assert.Equal(["QB3009"], project.Declare(Rtn(("MaxKlDivergence", "0.1"))).Engine.ErrorCodes);
        Assert.True(project.Declare(Rtn(("MaxKlDivergence", "0.1"), ("CalibrationData", "calibration.txt"))).Succeeded);
        Assert.True(project.Declare(Rtn(("MaxKlDivergence", "0.1"), ("EvaluationData", "evaluation.txt"))).Succeeded);
        Assert.Equal(["QB3001"], project.Declare(Rtn(("CalibrationData", "nowhere.txt"))).Engine.ErrorCodes);
        // Nothing reads it.
        Assert.True(project.Declare(Rtn(("CalibrationData", "nowhere.txt"), ("EvaluationData", "evaluation.txt"))).Succeeded);
    }

    [Fact]
    public void A_gate_changes_no_fingerprint()
    {
        project.Declare(TestProject.Sound());
        string fingerprint = project.Descriptor("TinyGptq4").Fingerprint;
        project.Declare(TestProject.Sound(("MaxKlDivergence", "0.1"), ("MaxPerplexityIncrease", "2%")));
        Assert.Equal(fingerprint, project.Descriptor("TinyGptq4").Fingerprint);
    }

    [Fact]
    public void A_limit_of_memory_goes_on_in_bytes_and_changes_no_fingerprint()
    {
        project.Declare(TestProject.Sound());
        string fingerprint = project.Descriptor("TinyGptq4").Fingerprint;
        (DeclareModels task, RecordingBuildEngine engine, bool succeeded) = project.Declare(TestProject.Sound(("MaxMemory", "1.5 GB")));
        Assert.True(succeeded);
        Assert.Empty(engine.Warnings);
        Assert.Equal("1500000000", Assert.Single(task.Declared).GetMetadata("MaxMemory"));
        Assert.Equal(fingerprint, project.Descriptor("TinyGptq4").Fingerprint);
    }

    [Fact]
    public void Every_bad_item_is_reported_in_one_build()
    {
        project.Write("noconfig/tokenizer.json", "{}");
        project.WriteModel("notokenizer");
        File.Delete(Path.Combine(project.Folder, "notokenizer/tokenizer.json"));
        project.WriteModel("noweights");
        File.Delete(Path.Combine(project.Folder, "noweights/model.safetensors"));
        project.WriteModel("nojson");
        project.Write("nojson/config.json", "not json");
        project.WriteModel("mamba");
        project.Write("mamba/config.json", """{ "architectures": ["MambaForCausalLM"] }""");

        string[] folders = ["nowhere", "noconfig", "nojson", "mamba", "notokenizer", "noweights", "tiny"];
        (DeclareModels task, RecordingBuildEngine engine, bool succeeded) = project.Declare(
            [.. folders.Select(f => TestProject.Item(f, ("CalibrationData", "calibration.txt"), ("GroupSize", "16")))]);

        Assert.False(succeeded);
        Assert.Equal(["QB2001", "QB2002", "QB2003", "QB2004", "QB2008", "QB2010"], engine.ErrorCodes);
        Assert.Contains("LlamaForCausalLM", engine.Errors.Single(e => e.Code == "QB2004").Message, StringComparison.Ordinal);
        Assert.Single(task.Descriptors);
    }

    [Fact]
    public void Two_items_of_one_class_name_are_both_named()
    {
        project.WriteModel("other/Tiny");
        (_, RecordingBuildEngine engine, _) = project.Declare(
            TestProject.Sound(), TestProject.Item("other/Tiny", ("CalibrationData", "calibration.txt"), ("GroupSize", "32")));

        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal("QB0004", error.Code);
        Assert.Contains("tiny", error.Message, StringComparison.Ordinal);
        Assert.Contains("other/Tiny", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_misspelled_setting_is_a_warning_and_metadata_of_the_users_own_is_not()
    {
        (_, RecordingBuildEngine engine, bool succeeded) = project.Declare(TestProject.Sound(("GroupSze", "32"), ("Team", "search")));

        Assert.True(succeeded);
        BuildWarningEventArgs warning = Assert.Single(engine.Warnings);
        Assert.Equal("QB0006", warning.Code);
        Assert.Contains("GroupSize", warning.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gpu")]
    [InlineData("cuda:")]
    [InlineData("cuda:-1")]
    [InlineData("")]
    public void A_device_that_does_not_exist_is_an_error(string device)
    {
        (_, RecordingBuildEngine engine, bool succeeded) = project.Declare(false, device, TestProject.Sound());
        Assert.False(succeeded);
        Assert.Equal(["QB1006"], engine.ErrorCodes);
        Assert.Equal(device is "gpu" or "cuda:", Assert.Single(engine.Errors).Message!.Contains("Probably cuda is meant.", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("tiny/model.safetensors", true)]
    [InlineData("tiny/tokenizer.json", true)]
    [InlineData("calibration.txt", true)]
    [InlineData("worker/QuantBuild.Core.dll", true)]
    [InlineData("worker/QuantBuild.Runtime.dll", true)]
    [InlineData("worker/QuantBuild.Quantization.dll", true)]
    [InlineData("worker/QuantBuild.Worker.dll", false)]
    [InlineData("worker/TorchSharp.dll", false)]
    [InlineData("tiny/README.md", false)]
    [InlineData("evaluation.txt", false)]
    public void A_changed_file_changes_the_fingerprint_if_it_decides_the_artifact(string file, bool changes)
    {
        project.Declare(TestProject.Sound());
        string before = project.Descriptor("TinyGptq4").Fingerprint;
        project.Write(file, "{ \"changed\": true }");
        project.Declare(TestProject.Sound());
        Assert.Equal(changes, before != project.Descriptor("TinyGptq4").Fingerprint);
    }

    [Theory]
    [InlineData("QuantBuild.Core.dll")]
    [InlineData("QuantBuild.Runtime.dll")]
    [InlineData("QuantBuild.Quantization.dll")]
    public void A_part_of_the_quantizer_that_is_not_there_is_an_error_and_costs_an_ide_nothing(string part)
    {
        File.Delete(Path.Combine(project.Folder, "worker", part));
        (_, RecordingBuildEngine engine, bool succeeded) = project.Declare(TestProject.Sound());
        Assert.False(succeeded);
        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal("QB1005", error.Code);
        Assert.Contains(part, error.Message, StringComparison.Ordinal);

        Assert.True(project.Declare(designTime: true, "auto", TestProject.Sound()).Succeeded);
    }

    [Fact]
    public void A_design_time_build_hashes_nothing_and_keeps_the_fingerprint_that_was_known()
    {
        project.Declare(designTime: true, "auto", TestProject.Sound());
        Assert.Equal("", project.Descriptor("TinyGptq4").Fingerprint);
        Assert.False(Directory.Exists(project.Cache.HashFolder));

        project.Declare(TestProject.Sound());
        string known = project.Descriptor("TinyGptq4").Fingerprint;
        project.Write("tiny/model.safetensors", "other weights");
        project.Declare(designTime: true, "auto", TestProject.Sound());
        Assert.Equal(known, project.Descriptor("TinyGptq4").Fingerprint);
    }

    [Fact]
    public void A_design_time_build_recalls_a_fingerprint_that_other_builds_computed()
    {
        project.Declare(TestProject.Sound());
        string known = project.Descriptor("TinyGptq4").Fingerprint;
        Directory.Delete(project.OutputFolder, recursive: true);

        project.Declare(designTime: true, "auto", TestProject.Sound());
        Assert.Equal(known, project.Descriptor("TinyGptq4").Fingerprint);
    }

    [Fact]
    public void An_error_points_at_the_element_of_its_item()
    {
        project.Write("test.csproj", """
            <Project>
              <ItemGroup>
                <QuantizedModel Include="tiny" Bits="4" />
                <QuantizedModel Include="tiny" Bits="5" />
              </ItemGroup>
            </Project>
            """);
        (_, RecordingBuildEngine engine, _) = project.Declare(TestProject.Item("tiny", ("Bits", "5")));

        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal(project.ProjectFile, error.File);
        Assert.Equal(4, error.LineNumber);
    }
}
