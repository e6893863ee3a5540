using System.Collections.Immutable;
using System.Globalization;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace QuantBuild.Generators.Tests;

/// <summary>Templates on their way from the project's files to the class of a model.</summary>
public class ChatTemplateGenerationTests
{
    private const string Template = """
        {{- bos_token }}
        {%- for message in messages %}
            {%- if message.role not in ['user', 'assistant'] %}{{ raise_exception('No ' + message.role) }}{% endif %}
            {{- '<|' ~ message.role ~ '|>\n' + message['content'] | trim + eos_token }}
        {%- endfor %}
        {%- if add_generation_prompt %}<|assistant|>{% endif %}
        """;

    private static readonly ModelDescriptor Model = Descriptors.Sample with { ChatTemplateFile = "/models/a/chat_template.jinja", BosToken = "<s>", EosToken = "</s>" };
    private static readonly AdditionalText File = new GeneratorRun.TextFile(Model.ChatTemplateFile!, Template);

    [Fact]
    public void The_class_of_a_model_with_a_chat_template()
    {
        GeneratorRunResult result = Run(File, GeneratorRun.File(Model));
        Assert.Empty(result.Diagnostics);
        Snapshot.Verify(result.GeneratedSources.Single().SourceText.ToString());
    }

    [Theory]
    [InlineData(LanguageVersion.CSharp9)]
    [InlineData(LanguageVersion.Latest)]
    public void A_class_with_templates_compiles_without_a_diagnostic_of_any_severity(LanguageVersion version)
    {
        ModelDescriptor both = Model with { ToolChatTemplateFile = "/models/a/tools.jinja" };
        AdditionalText tools = new GeneratorRun.TextFile(both.ToolChatTemplateFile!, "{% set x = x %}{% for m in messages %}{% if m %}{% continue %}{{ 1 }}{% endif %}{% break %}{{ 2 }}{% endfor %}");
        GeneratorRun.DriverOf([File, tools, GeneratorRun.File(both)], version)
            .RunGeneratorsAndUpdateCompilation(GeneratorRun.Compilation("", version), out Compilation compilation, out ImmutableArray<Diagnostic> diagnostics);
        Assert.Empty(diagnostics);
        Assert.Empty(compilation.GetDiagnostics());
        Assert.Contains("ToolChatTemplate = new QuantBuildToolChatTemplate()", compilation.SyntaxTrees.Last().ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_template_that_cannot_be_compiled_is_a_warning_at_its_place_and_the_class_is_there()
    {
        GeneratorRunResult result = Run(new GeneratorRun.TextFile(Model.ChatTemplateFile!, "a\n  {{ x | nosuch }}"), GeneratorRun.File(Model));
        Diagnostic diagnostic = Assert.Single(result.Diagnostics);
        Assert.Equal(("QB0030", DiagnosticSeverity.Warning), (diagnostic.Id, diagnostic.Severity));
        FileLinePositionSpan place = diagnostic.Location.GetLineSpan();
        Assert.Equal((Model.ChatTemplateFile, 1, 9), (place.Path, place.StartLinePosition.Line, place.StartLinePosition.Character));
        Assert.Contains("the filter 'nosuch' is not supported", diagnostic.GetMessage(CultureInfo.InvariantCulture), StringComparison.Ordinal);
        Assert.DoesNotContain("QuantBuildChatTemplate", result.GeneratedSources.Single().SourceText.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_template_that_no_model_names_is_none_of_ours()
    {
        GeneratorRunResult result = Run(new GeneratorRun.TextFile("/project/other.jinja", "{{ x | nosuch }}"), File, GeneratorRun.File(Model));
        Assert.Empty(result.Diagnostics);
        Assert.Single(result.TrackedSteps[ModelClassGenerator.Steps.Template]);
    }

    [Fact]
    public void A_template_is_compiled_again_only_when_it_changes()
    {
        CSharpCompilation compilation = GeneratorRun.Compilation();
        AdditionalText descriptor = GeneratorRun.File(Model);
        GeneratorDriver driver = GeneratorRun.DriverOf([File, descriptor]).RunGenerators(compilation);

        driver = driver.ReplaceAdditionalText(descriptor, GeneratorRun.File(Model with { Fingerprint = "ff" })).RunGenerators(compilation);
        Assert.Equal([IncrementalStepRunReason.Cached], Reasons(driver));

        driver = driver.ReplaceAdditionalText(File, new GeneratorRun.TextFile(Model.ChatTemplateFile!, "{{ bos_token }}")).RunGenerators(compilation);
        Assert.Equal([IncrementalStepRunReason.Modified], Reasons(driver));
        Assert.Contains("variables[\"bos_token\"]", driver.GetRunResult().GeneratedTrees.Single().ToString(), StringComparison.Ordinal);
    }

    private static IEnumerable<IncrementalStepRunReason> Reasons(GeneratorDriver driver) =>
        driver.GetRunResult().Results.Single().TrackedSteps[ModelClassGenerator.Steps.Template].SelectMany(step => step.Outputs).Select(output => output.Reason);

    private static GeneratorRunResult Run(params AdditionalText[] files)
    {
        GeneratorRunResult result = GeneratorRun.DriverOf([.. files]).RunGenerators(GeneratorRun.Compilation()).GetRunResult().Results.Single();
        Assert.Null(result.Exception);
        return result;
    }
}
