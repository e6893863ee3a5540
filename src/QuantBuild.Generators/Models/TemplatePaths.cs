using System.Collections.Immutable;

namespace QuantBuild.Generators.Models;

/// <summary>Where the chat templates of models are: a project may have other files of that kind.</summary>
/// <param name="Lines">The paths, ordered, one a line: a text is compared by what it says.</param>
internal sealed record TemplatePaths(string Lines)
{
    /// <summary>The paths that models name.</summary>
    public static TemplatePaths Of(ImmutableArray<ModelClass> models) => new(string.Concat(models
        .SelectMany(model => new[] { model.Descriptor.ChatTemplateFile, model.Descriptor.ToolChatTemplateFile })
        .Where(path => path is not null).Distinct().OrderBy(path => path, StringComparer.Ordinal).Select(path => $"\n{path}\n")));

    /// <summary>Whether a file is one of them.</summary>
    public bool Contains(string path) => Lines.IndexOf($"\n{path}\n", StringComparison.Ordinal) >= 0;
}
