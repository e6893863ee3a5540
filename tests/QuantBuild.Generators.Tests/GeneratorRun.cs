using System.Collections.Immutable;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;

namespace QuantBuild.Generators.Tests;

/// <summary>Runs the generator in a compilation that has the runtime's types, as the compiler would.</summary>
internal static class GeneratorRun
{
    private static readonly ImmutableArray<MetadataReference> Framework =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(path => Path.GetFileName(path).StartsWith("System.", StringComparison.Ordinal) || Path.GetFileName(path) == "netstandard.dll")
            .Select(path => MetadataReference.CreateFromFile(path)),
    ];

    /// <summary>A user's library with documentation on and every warning that the compiler has.</summary>
    public static CSharpCompilation Compilation(string source = "", LanguageVersion version = LanguageVersion.Latest) => CSharpCompilation.Create(
        "UserLibrary",
        [CSharpSyntaxTree.ParseText(source, ParseOptions(version), path: "User.cs")],
        [.. Framework, .. RuntimeReference.All],
        new CSharpCompilationOptions(
            OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Enable, warningLevel: 9999));

    public static CSharpParseOptions ParseOptions(LanguageVersion version = LanguageVersion.Latest) =>
        new(version, DocumentationMode.Diagnose);

    /// <summary>A driver that records its steps, with one descriptor file for each descriptor.</summary>
    public static GeneratorDriver Driver(params IEnumerable<ModelDescriptor> descriptors) => DriverOf([.. descriptors.Select(File)]);

    public static GeneratorDriver DriverOf(ImmutableArray<AdditionalText> files, LanguageVersion version = LanguageVersion.Latest) =>
        CSharpGeneratorDriver.Create(
            [new ModelClassGenerator().AsSourceGenerator()],
            files,
            ParseOptions(version),
            driverOptions: new GeneratorDriverOptions(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true));

    /// <summary>The descriptor file that a build would write.</summary>
    public static AdditionalText File(ModelDescriptor descriptor) =>
        new TextFile($"/project/obj/quantbuild/{descriptor.Namespace}.{descriptor.ClassName}{ModelDescriptor.FileSuffix}", descriptor.ToXml());

    /// <summary>The text of the only file that one descriptor gives.</summary>
    public static string Source(ModelDescriptor descriptor)
    {
        GeneratorRunResult result = Driver(descriptor).RunGenerators(Compilation()).GetRunResult().Results.Single();
        Assert.Empty(result.Diagnostics);
        return result.GeneratedSources.Single().SourceText.ToString();
    }

    internal sealed class TextFile(string path, string? content) : AdditionalText
    {
        public override string Path => path;

        public override SourceText? GetText(CancellationToken cancellationToken = default) =>
            content is null ? null : SourceText.From(content, Encoding.UTF8);
    }
}
