using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CodeFixes;
using Microsoft.CodeAnalysis.CSharp.Testing;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Testing;
using Microsoft.CodeAnalysis.Text;

namespace QuantBuild.Generators.Tests.Analyzers;

/// <summary>Compares what an analyzer reports, and what its fix makes of it, with what a test expects of a program that uses the models <c>Small</c>, <c>Large</c>, <c>Other</c> and <c>Tiny</c>.</summary>
internal static class Check
{
    /// <summary>The models: <c>Other</c> has a vocabulary of its own, <c>Small</c> and <c>Tiny</c> room for 15 tokens; of <c>Tiny</c> it is not known what makes a token.</summary>
    public static ImmutableArray<ModelDescriptor> Models { get; } =
    [
        Descriptors.Sample with { ClassName = "Small", Namespace = "Models", ContextLength = 16, Parameters = 7_000_000, WordsAreTokens = true },
        Descriptors.Sample with { ClassName = "Large", Namespace = "Models", Parameters = 1_000_000_000, WordsAreTokens = true },
        Descriptors.Sample with { ClassName = "Other", Namespace = "Models", Parameters = 5_000_000, VocabularySize = 32_000 },
        Descriptors.Sample with { ClassName = "Tiny", Namespace = "Models", ContextLength = 16 },
    ];

    public const string Usings = """
        global using System;
        global using System.Collections.Generic;
        global using System.Threading;
        global using System.Threading.Tasks;
        global using Models;
        global using QuantBuild;
        """;

    // The classes as the generator writes them; a test of a fix does not run generators.
    private static readonly ImmutableArray<(string, SourceText)> Beside =
        [("Usings.cs", SourceText.From(Usings)), .. Models.Select(model => (model.ClassName + ".g.cs", SourceText.From(GeneratorRun.Source(model))))];

    public static ImmutableArray<MetadataReference> Platform { get; } =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(path => Path.GetFileName(path) is { } name && (name.StartsWith("System.", StringComparison.Ordinal) || name is "netstandard.dll" or "mscorlib.dll" || IsServer(name)))
            .Select(path => MetadataReference.CreateFromFile(path)),
        .. RuntimeReference.All,
    ];

    /// <summary>Statements within <c>async Task Use()</c>, or without <c>async</c>.</summary>
    public static string Method(string statements, bool isAsync = false) => $$"""
        class Program
        {
            {{(isAsync ? "async Task" : "void")}} Use(string prompt)
            {
                {{statements.ReplaceLineEndings("\n").Replace("\n", "\n        ", StringComparison.Ordinal)}}
            }
        }
        """;

    /// <summary>An analyzer reports what the source marks with <c>[|</c> and <c>|]</c>, and nothing else.</summary>
    public static Task Reports<TAnalyzer>(string source, bool isProgram = false, Action<AnalyzerTest<DefaultVerifier>>? change = null)
        where TAnalyzer : DiagnosticAnalyzer, new() =>
        Run(new Test<TAnalyzer, EmptyCodeFixProvider>(), source, isProgram, change);

    /// <summary>Besides, its fix makes another source of that one: at once where there are several.</summary>
    public static Task Fixes<TAnalyzer, TFix>(string source, string corrected, bool isProgram = false)
        where TAnalyzer : DiagnosticAnalyzer, new()
        where TFix : CodeFixProvider, new()
    {
        Test<TAnalyzer, TFix> test = new();
        test.FixedState.Sources.AddRange(Beside);
        test.FixedState.Sources.Insert(0, ("/project/Program.cs", SourceText.From(corrected.ReplaceLineEndings("\n"))));
        if (source == corrected) test.FixedState.MarkupHandling = MarkupMode.Allow;
        return Run(test, source, isProgram, change: null);
    }

    private static Task Run<TAnalyzer, TFix>(Test<TAnalyzer, TFix> test, string source, bool isProgram, Action<AnalyzerTest<DefaultVerifier>>? change)
        where TAnalyzer : DiagnosticAnalyzer, new()
        where TFix : CodeFixProvider, new()
    {
        test.TestState.Sources.Insert(0, ("/project/Program.cs", SourceText.From(source.ReplaceLineEndings("\n"))));
        test.TestState.AdditionalFiles.AddRange(Models.Select(model => ($"/project/obj/{model.ClassName}{ModelDescriptor.FileSuffix}", SourceText.From(model.ToXml()))));
        test.TestState.AdditionalReferences.AddRange(Platform);
        // The program's own errors would hide what the analyzer makes of it.
        test.CompilerDiagnostics = CompilerDiagnostics.Errors;
        if (isProgram) test.TestState.OutputKind = test.FixedState.OutputKind = OutputKind.ConsoleApplication;
        change?.Invoke(test);
        return test.RunAsync();
    }

    private static bool IsServer(string name) =>
        name.StartsWith("Microsoft.AspNetCore.", StringComparison.Ordinal) || name.StartsWith("Microsoft.Extensions.", StringComparison.Ordinal);

    private sealed class Test<TAnalyzer, TFix> : CSharpCodeFixTest<TAnalyzer, TFix, DefaultVerifier>
        where TAnalyzer : DiagnosticAnalyzer, new()
        where TFix : CodeFixProvider, new()
    {
        public Test()
        {
            // Nothing to download: the references are those of the test itself.
            ReferenceAssemblies = new ReferenceAssemblies("net10.0");
            TestState.Sources.AddRange(Beside);
        }

        protected override ParseOptions CreateParseOptions() => GeneratorRun.ParseOptions();
    }
}
