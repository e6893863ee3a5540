using System.Collections.Immutable;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using QuantBuild.CodeFixes;
using QuantBuild.Generators.Analyzers;

namespace QuantBuild.Generators.Tests.Analyzers;

/// <summary>What the pages say of the analyzers, and what the analyzers say of the pages.</summary>
public partial class DocumentationTests
{
    private static readonly string Repository = Path.GetFullPath(Path.Combine(TestProject.Folder, "..", ".."));

    private static readonly ImmutableArray<DiagnosticAnalyzer> All =
        [.. typeof(ModelAnalyzer).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(ModelAnalyzer))).Select(type => (DiagnosticAnalyzer)Activator.CreateInstance(type)!)];

    private static readonly DiagnosticDescriptor[] Rules = [.. All.SelectMany(analyzer => analyzer.SupportedDiagnostics)];

    public static TheoryData<string> Ids { get; } = [.. Rules.Select(rule => rule.Id)];

    [Fact]
    public void Each_analyzer_has_an_id_of_its_own_that_is_tracked_as_it_is_and_linked_to_its_page()
    {
        string tracked = File.ReadAllText(Path.Combine(Repository, "src", "QuantBuild.Generators", "AnalyzerReleases.Unshipped.md"));
        string table = File.ReadAllText(Path.Combine(Repository, "docs", "diagnostics", "README.md"));
        Assert.NotEmpty(Rules);
        Assert.Equal(Rules.Length, Rules.Select(rule => rule.Id).Distinct().Count());
        Assert.All(Rules, rule =>
        {
            Assert.Matches("^QB41[01][0-9]$", rule.Id);
            Assert.Contains($"\n{rule.Id}  | {rule.Category} | {rule.DefaultSeverity} | ", tracked, StringComparison.Ordinal);
            Assert.Equal(DiagnosticIds.HelpLink(rule.Id), rule.HelpLinkUri);
            Assert.Contains($"| [{rule.Id}]({rule.Id}.md) | ", table, StringComparison.Ordinal);
        });
    }

    [Fact]
    public void Each_fix_is_of_an_analyzer_and_can_be_applied_to_all_at_once()
    {
        CodeFixProvider[] fixes = [.. typeof(ModelCodeFix).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(ModelCodeFix))).Select(type => (CodeFixProvider)Activator.CreateInstance(type)!)];
        Assert.Equal(["QB4101", "QB4102", "QB4103", "QB4105", "QB4106"], fixes.SelectMany(fix => fix.FixableDiagnosticIds).Order(StringComparer.Ordinal));
        Assert.All(fixes, fix => Assert.Equal(WellKnownFixAllProviders.BatchFixer, fix.GetFixAllProvider()));
        Assert.All(fixes, fix => Assert.Single(fix.GetType().GetCustomAttributes(typeof(ExportCodeFixProviderAttribute), inherit: false)));
    }

    [Theory]
    [MemberData(nameof(Ids))]
    public async Task The_example_of_a_page_is_reported_as_it_says_and_the_corrections_are_not(string id)
    {
        string page = await File.ReadAllTextAsync(Path.Combine(Repository, "docs", "diagnostics", id + ".md"));
        string[] snippets = [.. Snippet().Matches(page).Select(match => match.Groups[1].Value)];
        Assert.True(snippets.Length >= 2);
        string reported = Assert.Single(await Report(snippets[0], contextLength: 16));
        Assert.Contains($"```text\n{reported}\n```", page, StringComparison.Ordinal);
        foreach (string correction in snippets[1..]) Assert.Empty(await Report(correction, contextLength: 16));
    }

    [Fact]
    public async Task The_other_pages_and_the_samples_get_no_warning()
    {
        string[] programs = Directory.GetFiles(Path.Combine(Repository, "samples"), "Program.cs", SearchOption.AllDirectories);
        string[] pages = [.. Directory.GetFiles(Path.Combine(Repository, "docs"), "*.md"), Path.Combine(Repository, "README.md")];
        string[] snippets = [.. pages.SelectMany(page => Snippet().Matches(File.ReadAllText(page)).Select(match => match.Groups[1].Value))];
        Assert.NotEmpty(programs);
        Assert.NotEmpty(snippets);
        foreach (string source in snippets.Concat(programs.Select(File.ReadAllText))) Assert.Empty(await Report(source, contextLength: 512));
    }

    [Fact]
    public async Task A_program_that_is_being_typed_breaks_no_analyzer()
    {
        string[] pages = [.. Rules.Select(rule => File.ReadAllText(Path.Combine(Repository, "docs", "diagnostics", rule.Id + ".md")))];
        string program = string.Concat(pages.SelectMany(page => Snippet().Matches(page).Select(match => match.Groups[1].Value)));
        // Cut off everywhere, some characters apart.
        for (int length = 0; length < program.Length; length += 97) await Report(program[..length], contextLength: 16);
    }

    /// <summary>What the analyzers report of a program, as the compiler prints it. Whatever is called as the classes of models are is one.</summary>
    private static async Task<string[]> Report(string program, int contextLength)
    {
        string[] classes = [.. ModelClass().Matches(program).Select(match => match.Value).Append("Llama7bGptq4").Distinct()];
        ImmutableArray<AdditionalText> files =
            [.. classes.Select(name => GeneratorRun.File(Descriptors.Sample with { ClassName = name, Namespace = "Models", ContextLength = contextLength, WordsAreTokens = true }))];
        CSharpCompilation compilation = GeneratorRun.Compilation(Check.Usings)
            .AddReferences(Check.Platform)
            .WithOptions(new CSharpCompilationOptions(OutputKind.ConsoleApplication))
            .AddSyntaxTrees(CSharpSyntaxTree.ParseText(program, GeneratorRun.ParseOptions(), path: "Program.cs"));
        GeneratorRun.DriverOf(files).RunGeneratorsAndUpdateCompilation(compilation, out Compilation whole, out _);
        ImmutableArray<Diagnostic> diagnostics = await whole.WithAnalyzers(All, new AnalyzerOptions(files)).GetAnalyzerDiagnosticsAsync();
        Assert.DoesNotContain(diagnostics, diagnostic => diagnostic.Id == "AD0001");
        return [.. diagnostics.Select(diagnostic => diagnostic.ToString())];
    }

    [GeneratedRegex(@"^```csharp\r?\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Snippet();

    [GeneratedRegex(@"\b[A-Z]\w*(Gptq|Awq|Rtn|Nf)\d\b")]
    private static partial Regex ModelClass();
}
