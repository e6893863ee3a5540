using System.Collections.Immutable;
using QuantBuild.Generators.Jinja;

namespace QuantBuild.Generators.Models;

/// <summary>A class to generate.</summary>
/// <param name="HintName">Name of the generated file; unique in a compilation, without regard to case.</param>
/// <param name="Descriptor">The model.</param>
/// <param name="Template">The statements of its chat template, where it has one that can be compiled.</param>
/// <param name="ToolTemplate">Those of its chat template for requests with tools.</param>
internal sealed record ModelClass(string HintName, ModelDescriptor Descriptor, string? Template = null, string? ToolTemplate = null)
{
    /// <summary>The class with its templates.</summary>
    public ModelClass With(ImmutableArray<CompiledTemplate> templates)
    {
        string? Code(string? path) => path is null ? null : templates.FirstOrDefault(template => template.Path == path)?.Code;
        return this with { Template = Code(Descriptor.ChatTemplateFile), ToolTemplate = Code(Descriptor.ToolChatTemplateFile) };
    }

    /// <summary>
    /// One class for each name. Two models of one class are an error of the declaration (QB0004), which the build reports: here
    /// the first stands, since a second file of the same name would end the generator and take every other model's class away.
    /// </summary>
    public static IEnumerable<ModelClass> Distinct(IEnumerable<ModelDescriptor> descriptors)
    {
        HashSet<string> classes = new(StringComparer.Ordinal);
        HashSet<string> hintNames = new(StringComparer.OrdinalIgnoreCase);
        foreach (ModelDescriptor descriptor in descriptors)
        {
            string fullName = descriptor.Namespace + "." + descriptor.ClassName;
            if (!classes.Add(fullName)) continue;

            // Two classes may differ in case alone; the files of a compilation may not.
            string hintName = fullName;
            while (!hintNames.Add(hintName)) hintName += "_";
            yield return new ModelClass(hintName + ".g.cs", descriptor);
        }
    }
}
