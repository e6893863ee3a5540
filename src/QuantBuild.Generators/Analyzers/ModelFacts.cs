using System.Runtime.CompilerServices;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;

namespace QuantBuild.Generators.Analyzers;

/// <summary>What the descriptors of a project say of its models. Of a model whose class is another project's nothing is known.</summary>
internal sealed class ModelFacts
{
    // The text of a file stays the same object while the user edits others.
    private static readonly ConditionalWeakTable<SourceText, Content> Parsed = new();

    private readonly Lazy<Dictionary<INamedTypeSymbol, ModelDescriptor>> descriptors;

    /// <param name="compilation">The project.</param>
    /// <param name="options">Its files; the descriptors among them are read when a model is asked for first.</param>
    public ModelFacts(Compilation compilation, AnalyzerOptions options) => descriptors = new(() => Read(compilation, options));

    /// <summary>The model of a class.</summary>
    public ModelDescriptor? Of(INamedTypeSymbol? modelClass) => modelClass is not null && descriptors.Value.TryGetValue(modelClass, out ModelDescriptor found) ? found : null;

    private static Dictionary<INamedTypeSymbol, ModelDescriptor> Read(Compilation compilation, AnalyzerOptions options)
    {
        Dictionary<INamedTypeSymbol, ModelDescriptor> found = new(SymbolEqualityComparer.Default);
        foreach (AdditionalText file in options.AdditionalFiles.Where(file => file.Path.EndsWith(ModelDescriptor.FileSuffix, StringComparison.Ordinal)))
        {
            if (file.GetText() is not { } text || Parsed.GetValue(text, static text => new Content(text)).Descriptor is not { } descriptor) continue;
            // Of two models of one class the first has the class.
            if (compilation.GetTypeByMetadataName($"{descriptor.Namespace}.{descriptor.ClassName}") is { } type && !found.ContainsKey(type)) found.Add(type, descriptor);
        }

        return found;
    }

    private sealed class Content(SourceText text)
    {
        public ModelDescriptor? Descriptor { get; } = ModelDescriptor.TryParse(text.ToString());
    }
}
