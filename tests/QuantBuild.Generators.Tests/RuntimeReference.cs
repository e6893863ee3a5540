using System.Collections.Immutable;
using Microsoft.CodeAnalysis;

namespace QuantBuild.Generators.Tests;

/// <summary>The assemblies that generated code uses, as they ship.</summary>
internal static class RuntimeReference
{
    /// <summary>Paths of the runtime and of Core.</summary>
    public static ImmutableArray<string> Paths { get; } =
        [TestProject.Value("RuntimeAssembly"), Path.Combine(Path.GetDirectoryName(TestProject.Value("RuntimeAssembly"))!, "QuantBuild.Core.dll")];

    /// <summary>The same as references of a compilation.</summary>
    public static ImmutableArray<MetadataReference> All { get; } = [.. Paths.Select(path => MetadataReference.CreateFromFile(path))];
}
