using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

namespace QuantBuild.Tasks.Tests;

/// <summary><c>&lt;QuantizationOverride&gt;</c> items, budgets and <c>Method="Auto"</c> as a project declares them.</summary>
[Collection("one cache variable a process")]
public sealed class OverrideItemsTests : IDisposable
{
    private readonly TestProject project = new();

    public void Dispose() => project.Dispose();

    [Fact]
    public void An_override_is_the_same_as_metadata_and_as_an_item()
    {
        string none = Fingerprint([TestProject.Sound()]);
        string metadata = Fingerprint([TestProject.Sound(("Override", "down_proj: Bits=8; q_proj: Float"))]);
        Assert.NotEqual(none, metadata);
        Assert.Equal(metadata, Fingerprint([TestProject.Sound()], TestProject.Item("down_proj", ("Bits", "8")), TestProject.Item("q_proj", ("Method", "float"))));
        Assert.Equal(metadata, Fingerprint([TestProject.Sound(("Override", "down_proj: Bits=8"))], TestProject.Item("q_proj", ("Method", "Float"))));
        // Of two that match, the last decides.
        Assert.NotEqual(metadata, Fingerprint([TestProject.Sound(("Override", "q_proj: Float"))], TestProject.Item("*_proj", ("Bits", "8"))));
    }

    [Theory]
    [InlineData("tiny")]
    [InlineData("tiny/")]
    [InlineData("TinyGptq4")]
    public void An_item_may_be_for_one_model(string model)
    {
        ITaskItem[] models = [TestProject.Sound(), TestProject.Sound(("Bits", "3"), ("ClassName", "Other"))];
        string four = Fingerprint(models, "TinyGptq4"), three = Fingerprint(models, "Other");
        ITaskItem item = TestProject.Item("down_proj", ("Model", model), ("Bits", "8"));
        Assert.NotEqual(four, Fingerprint(models, "TinyGptq4", item));
        // The folder is that of both.
        Assert.Equal(model == "TinyGptq4", three == Fingerprint(models, "Other", item));
    }

    [Theory]
    [InlineData("down_proj", "Bits", "5", "QB0002")]
    [InlineData("down_proj", "GroupSize", "7", "QB0003")]
    [InlineData("down_proj", "Method", "Gguf", "QB0001")]
    [InlineData("down_proj", "Team", "search", "QB0006")]
    [InlineData("layers..1", "Bits", "8", "QB0006")]
    public void An_item_that_cannot_be_read_is_an_error_where_it_stands(string pattern, string name, string value, string code)
    {
        project.Write("test.csproj", $"""
            <Project>
              <ItemGroup>
                <QuantizedModel Include="tiny" />
                <QuantizationOverride Include="{pattern}" {name}="{value}" />
              </ItemGroup>
            </Project>
            """);
        RecordingBuildEngine engine = Declare([TestProject.Sound()], TestProject.Item(pattern, (name, value)));
        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal((code, 4), (error.Code, error.LineNumber));
    }

    [Fact]
    public void An_item_for_a_model_that_is_not_declared_is_an_error_and_names_those_that_are()
    {
        BuildErrorEventArgs error = Assert.Single(Declare([TestProject.Sound()], TestProject.Item("down_proj", ("Model", "llama"), ("Bits", "8"))).Errors);
        Assert.Equal("QB0006", error.Code);
        Assert.Contains("tiny (TinyGptq4)", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_pattern_that_matches_no_layer_is_an_error() =>
        Assert.Equal(["QB0006"], Declare([TestProject.Sound()], TestProject.Item("layers.7", ("Bits", "8"))).ErrorCodes);

    [Fact]
    public void A_misspelled_setting_of_an_override_is_a_warning()
    {
        RecordingBuildEngine engine = Declare([TestProject.Sound()], TestProject.Item("down_proj", ("Bits", "8"), ("GroupSise", "32"), ("Team", "search")));
        Assert.Empty(engine.Errors);
        Assert.Contains("GroupSize", Assert.Single(engine.Warnings, warning => warning.Code == "QB0006").Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("TargetBitsPerWeight", "4.50", "TinyGptq4_5", 4)]
    [InlineData("TargetSize", "20KB", "TinyGptq20KB", 8)]
    public void A_budget_is_in_the_name_of_the_class(string name, string value, string className, int bits)
    {
        Assert.Empty(Declare([TestProject.Sound((name, value))]).Errors);
        Assert.Equal(bits, project.Descriptor(className).Bits);
    }

    [Fact]
    public void A_budget_that_no_width_meets_is_QB0009() =>
        Assert.Equal(["QB0009"], Declare([TestProject.Sound(("TargetBitsPerWeight", "2"))]).ErrorCodes);

    [Fact]
    public void Auto_says_what_it_chose_and_its_class_keeps_its_name()
    {
        RecordingBuildEngine engine = Declare([TestProject.Sound(("Method", "auto"))]);
        Assert.Contains(engine.Messages, message => message.Message!.Contains("TinyAuto: Method=\"Auto\" chose Gptq, 4 bits", StringComparison.Ordinal));
        Assert.Equal(QuantizationMethod.Gptq, project.Descriptor("TinyAuto").Method);

        Declare([TestProject.Item("tiny", ("Method", "Auto"), ("GroupSize", "16"))]);
        Assert.Equal((QuantizationMethod.Rtn, 8), (project.Descriptor("TinyAuto").Method, project.Descriptor("TinyAuto").Bits));

        Declare([TestProject.Sound(("Method", "Auto"), ("Bits", "4"), ("Use", "Development"))]);
        Assert.Equal(QuantizationMethod.Rtn, project.Descriptor("TinyAuto4").Method);
    }

    [Fact]
    public void A_design_time_build_says_nothing_of_what_was_chosen()
    {
        (_, RecordingBuildEngine engine, bool succeeded) = project.Declare(designTime: true, "auto", TestProject.Sound(("Method", "Auto"), ("Use", "FineTuning")));
        Assert.True(succeeded);
        Assert.DoesNotContain(engine.Messages, message => message.Message!.Contains("chose", StringComparison.Ordinal));
    }

    [Fact]
    public void What_its_use_speaks_against_is_a_warning_and_without_a_use_none()
    {
        Assert.Equal(["QB3015"], Declare([TestProject.Sound(("Use", "FineTuning"))]).Warnings.Select(warning => warning.Code));
        Assert.Equal(["QB3016"], Declare([TestProject.Item("tiny", [("Method", "Nf4"), ("Use", "FastestInference")])]).Warnings.Select(warning => warning.Code));
        Assert.Empty(Declare([TestProject.Item("tiny", [("Method", "Nf4")])]).Warnings);
        Assert.Equal(["QB0006"], Declare([TestProject.Sound(("Use", "Fun"))]).ErrorCodes);
        Assert.Equal(Fingerprint([TestProject.Sound()]), Fingerprint([TestProject.Sound(("Use", "Production"))]));
    }

    private string Fingerprint(ITaskItem[] models, params ITaskItem[] overrides) => Fingerprint(models, "TinyGptq4", overrides);

    private string Fingerprint(ITaskItem[] models, string className, params ITaskItem[] overrides)
    {
        Assert.Empty(Declare(models, overrides).Errors);
        return project.Descriptor(className).Fingerprint;
    }

    private RecordingBuildEngine Declare(ITaskItem[] models, params ITaskItem[] overrides)
    {
        RecordingBuildEngine engine = new();
        new DeclareModels
        {
            BuildEngine = engine,
            Models = models,
            Overrides = overrides,
            ProjectFile = project.ProjectFile,
            RootNamespace = "Test",
            OutputFolder = project.OutputFolder,
            Device = "auto",
            WorkerFolder = Path.Combine(project.Folder, "worker"),
        }.Execute();
        return engine;
    }
}
