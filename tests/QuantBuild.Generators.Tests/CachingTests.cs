using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace QuantBuild.Generators.Tests;

/// <summary>What runs again after an edit, by the reasons that the compiler records for each step's outputs.</summary>
public class CachingTests
{
    private static readonly ModelDescriptor[] Two = [Descriptors.Sample, Descriptors.PerChannel];
    private static readonly ImmutableArray<AdditionalText> Files = [.. Two.Select(GeneratorRun.File)];

    [Fact]
    public void The_first_run_does_every_step()
    {
        GeneratorDriver driver = GeneratorRun.DriverOf(Files).RunGenerators(GeneratorRun.Compilation());
        foreach (string step in new[] { ModelClassGenerator.Steps.Read, ModelClassGenerator.Steps.Name })
        {
            Assert.Equal([IncrementalStepRunReason.New, IncrementalStepRunReason.New], Reasons(driver, step));
        }

        Assert.Equal([IncrementalStepRunReason.New, IncrementalStepRunReason.New], OutputReasons(driver));
    }

    [Fact]
    public void An_edit_of_the_users_code_runs_nothing()
    {
        CSharpCompilation compilation = GeneratorRun.Compilation("class A;");
        GeneratorDriver driver = GeneratorRun.DriverOf(Files).RunGenerators(compilation);
        CSharpCompilation edited = compilation
            .ReplaceSyntaxTree(compilation.SyntaxTrees[0], CSharpSyntaxTree.ParseText("// a comment\nclass A { int b; }", GeneratorRun.ParseOptions()))
            .AddSyntaxTrees(CSharpSyntaxTree.ParseText("class B;", GeneratorRun.ParseOptions()));

        driver = driver.RunGenerators(edited);

        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached], Reasons(driver, ModelClassGenerator.Steps.Read));
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached], Reasons(driver, ModelClassGenerator.Steps.Name));
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached], OutputReasons(driver));
    }

    [Fact]
    public void A_change_of_one_descriptor_writes_that_class_alone()
    {
        CSharpCompilation compilation = GeneratorRun.Compilation();
        GeneratorDriver driver = GeneratorRun.DriverOf(Files).RunGenerators(compilation);

        driver = driver.ReplaceAdditionalText(Files[1], GeneratorRun.File(Two[1] with { Fingerprint = "ff" })).RunGenerators(compilation);

        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Modified], Reasons(driver, ModelClassGenerator.Steps.Read));
        Assert.Equal([IncrementalStepRunReason.Unchanged, IncrementalStepRunReason.Modified], Reasons(driver, ModelClassGenerator.Steps.Name));
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Modified], OutputReasons(driver));
    }

    [Fact]
    public void A_descriptor_file_written_again_with_the_same_content_writes_no_class()
    {
        CSharpCompilation compilation = GeneratorRun.Compilation();
        GeneratorDriver driver = GeneratorRun.DriverOf(Files).RunGenerators(compilation);

        driver = driver.ReplaceAdditionalText(Files[0], GeneratorRun.File(Two[0])).RunGenerators(compilation);

        Assert.Equal([IncrementalStepRunReason.Unchanged, IncrementalStepRunReason.Cached], Reasons(driver, ModelClassGenerator.Steps.Read));
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached], OutputReasons(driver));
    }

    [Fact]
    public void An_additional_file_of_another_kind_runs_nothing()
    {
        CSharpCompilation compilation = GeneratorRun.Compilation();
        GeneratorDriver driver = GeneratorRun.DriverOf(Files).RunGenerators(compilation);

        driver = driver.AddAdditionalTexts([new GeneratorRun.TextFile("/project/notes.xml", "<notes/>")]).RunGenerators(compilation);

        Assert.Equal(2, driver.GetRunResult().GeneratedTrees.Length);
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached], OutputReasons(driver));
    }

    private static IEnumerable<IncrementalStepRunReason> Reasons(GeneratorDriver driver, string step) =>
        driver.GetRunResult().Results.Single().TrackedSteps[step].SelectMany(run => run.Outputs).Select(output => output.Reason);

    private static IEnumerable<IncrementalStepRunReason> OutputReasons(GeneratorDriver driver) =>
        driver.GetRunResult().Results.Single().TrackedOutputSteps.SelectMany(step => step.Value)
            .SelectMany(run => run.Outputs).Select(output => output.Reason);
}
