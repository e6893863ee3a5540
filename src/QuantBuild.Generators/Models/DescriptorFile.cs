namespace QuantBuild.Generators.Models;

/// <summary>A descriptor file as read.</summary>
/// <param name="Path">Where it is.</param>
/// <param name="Descriptor">What it says; <see langword="null"/> where it cannot be read.</param>
internal sealed record DescriptorFile(string Path, ModelDescriptor? Descriptor);
