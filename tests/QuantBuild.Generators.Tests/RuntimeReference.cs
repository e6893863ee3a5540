using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace QuantBuild.Generators.Tests;

/// <summary>The public signatures of the runtime that generated code uses.</summary>
internal static class RuntimeReference
{
    private const string Source = """
        #nullable enable
        using System; using System.Collections.Generic; using System.Threading; using System.Threading.Tasks;
        namespace QuantBuild;
        public class QuantBuildException : Exception;
        public enum QuantizationMethod { Rtn, Gptq }
        public sealed record QuantizedModelInfo
        {
            public required string ClassName { get; init; }
            public required string ModelName { get; init; }
            public required string Architecture { get; init; }
            public required QuantizationMethod Method { get; init; }
            public required int Bits { get; init; }
            public required int GroupSize { get; init; }
            public required long Parameters { get; init; }
            public required int ContextLength { get; init; }
            public required int VocabularySize { get; init; }
            public required string ArtifactFileName { get; init; }
            public required string Fingerprint { get; init; }
        }
        public sealed record LoadOptions;
        public sealed record GenerationOptions;
        public sealed class LanguageModel : IDisposable
        {
            public void Dispose() { }
            public static LanguageModel Load(QuantizedModelInfo info, LoadOptions? options = null) => throw null!;
            public static LanguageModel Load(string path, LoadOptions? options = null) => throw null!;
            public static Task<LanguageModel> LoadAsync(QuantizedModelInfo info, LoadOptions? options = null, CancellationToken ct = default) => throw null!;
            public string Generate(string prompt, GenerationOptions? options = null, CancellationToken ct = default) => throw null!;
            public Task<string> GenerateAsync(string prompt, GenerationOptions? options = null, CancellationToken ct = default) => throw null!;
            public IAsyncEnumerable<string> StreamAsync(string prompt, GenerationOptions? options = null, CancellationToken ct = default) => throw null!;
        }
        public sealed class SharedLanguageModel(QuantizedModelInfo info)
        {
            public QuantizedModelInfo Info => info;
            public LanguageModel Value => throw null!;
            public Task<LanguageModel> GetAsync(CancellationToken ct = default) => throw null!;
        }
        """;

    public static ImmutableArray<MetadataReference> All { get; } = [Compile()];

    private static PortableExecutableReference Compile()
    {
        using MemoryStream stream = new();
        var result = CSharpCompilation.Create(
            "QuantBuild.Runtime",
            [CSharpSyntaxTree.ParseText(Source)],
            ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Where(p => Path.GetFileName(p).StartsWith("System.", StringComparison.Ordinal)).Select(p => MetadataReference.CreateFromFile(p)),
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary)).Emit(stream);
        Assert.True(result.Success, string.Join("\n", result.Diagnostics));
        return MetadataReference.CreateFromImage(stream.ToArray());
    }
}
