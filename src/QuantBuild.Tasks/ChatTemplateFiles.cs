using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

namespace QuantBuild.Tasks;

/// <summary>
/// The chat templates of a model, found as transformers finds them: <c>chat_template.jinja</c> (and <c>additional_chat_templates</c> beside it), else in <c>tokenizer_config.json</c>. The generator
/// reads files, and so a template that is a string of JSON becomes one.
/// </summary>
internal sealed record ChatTemplateFiles
{
    /// <summary>Full path of the template.</summary>
    public string? Template { get; private init; }

    /// <summary>Full path of the one for requests with tools, where that is another.</summary>
    public string? ToolTemplate { get; private init; }

    /// <summary>The tokens that templates may write.</summary>
    public string? BosToken { get; private init; }

    /// <inheritdoc cref="BosToken"/>
    public string? EosToken { get; private init; }

    /// <inheritdoc cref="BosToken"/>
    public string? UnkToken { get; private init; }

    /// <inheritdoc cref="BosToken"/>
    public string? PadToken { get; private init; }

    /// <summary>Why the model's own template cannot be read.</summary>
    public string? Warning { get; private init; }

    /// <summary>Files that were there before.</summary>
    public IEnumerable<string> Files => Items.Where(item => item.GetMetadata("Written").Length == 0).Select(item => item.ItemSpec);

    /// <summary>The templates as items.</summary>
    public IReadOnlyList<ITaskItem> Items { get; private init; } = [];

    /// <summary>Finds the templates of a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="projectFolder">What a path of the item is relative to.</param>
    /// <param name="outputFolder">Where files for the generator are.</param>
    /// <exception cref="QuantBuildException">QB0031: the item asks for a template that is not there.</exception>
    public static ChatTemplateFiles Of(ModelDeclaration model, string projectFolder, string outputFolder)
    {
        // An IDE asks for a model of the hub before anything of it was downloaded.
        if (model.Folder is null) return new ChatTemplateFiles();
        (TokenizerConfig config, string? warning) = ReadConfig(model.Folder);
        // A GGUF file has no templates beside it that are its own.
        Dictionary<string, string> files = Directory.Exists(model.Folder.Path) ? FilesIn(model.Folder.Path) : new(StringComparer.Ordinal);
        IReadOnlyDictionary<string, string> texts = (files.ContainsKey(TokenizerConfig.DefaultTemplate) ? TokenizerConfig.None : config).ChatTemplates;
        Dictionary<string, ITaskItem> items = new(StringComparer.Ordinal);
        string? Find(string name)
        {
            if (!files.TryGetValue(name, out string? path) && texts.TryGetValue(name, out string? text))
            {
                path = Path.Combine(outputFolder, model.ClassName + (name == TokenizerConfig.DefaultTemplate ? "" : ".tools") + ".chat.jinja");
                DeclareModels.WriteIfChanged(path, text);
                items[path] = new TaskItem(path, new Dictionary<string, string> { ["Written"] = "true" });
            }

            if (path is not null && !items.ContainsKey(path)) items[path] = new TaskItem(path);
            return path;
        }

        string? template, toolTemplate = null;
        if (model.ChatTemplate is { } asked)
        {
            string path = Path.GetFullPath(Path.Combine(projectFolder, asked));
            if (File.Exists(path)) files[asked] = path;
            // A template by its name is the only one, and its file has the name of the only one.
            else if (texts.TryGetValue(asked, out string? text)) texts = new Dictionary<string, string> { [TokenizerConfig.DefaultTemplate] = text };
            else if (!files.ContainsKey(asked)) throw Missing(asked, path, files.Keys.Concat(texts.Keys));
            template = Find(files.ContainsKey(asked) ? asked : TokenizerConfig.DefaultTemplate);
        }
        else
        {
            template = Find(TokenizerConfig.DefaultTemplate);
            toolTemplate = Find(TokenizerConfig.ToolTemplate);
        }

        return new ChatTemplateFiles
        {
            Template = template,
            ToolTemplate = toolTemplate,
            BosToken = config.Token("bos_token"),
            EosToken = config.Token("eos_token"),
            UnkToken = config.Token("unk_token"),
            PadToken = config.Token("pad_token"),
            Warning = model.ChatTemplate is null && template is null ? warning : null,
            Items = [.. items.Values],
        };
    }

    private static Dictionary<string, string> FilesIn(string folder)
    {
        Dictionary<string, string> files = new(StringComparer.Ordinal);
        string file = Path.Combine(folder, "chat_template.jinja"), more = Path.Combine(folder, "additional_chat_templates");
        if (File.Exists(file)) files[TokenizerConfig.DefaultTemplate] = file;
        if (!Directory.Exists(more)) return files;
        foreach (string other in Directory.GetFiles(more, "*.jinja")) files[Path.GetFileNameWithoutExtension(other)] = other;
        return files;
    }

    private static (TokenizerConfig Config, string? Warning) ReadConfig(ModelFolder folder)
    {
        try
        {
            if (folder.TokenizerConfigFile is { } path) return (TokenizerConfig.Read(path), null);
            // What the header of a GGUF file says.
            return (folder.TokenizerConfigJson is { } json ? TokenizerConfig.Parse(json) : TokenizerConfig.None, null);
        }
        catch (Exception e) when (e is FormatException || BuildLog.IsFileError(e))
        {
            return (TokenizerConfig.None, Unreadable(folder.TokenizerConfigFile ?? folder.Path, e.Message));
        }
    }

    private static string Unreadable(string path, string why) =>
        $"The chat template of {path} cannot be read: {why} The model's class has the default chat format instead. Copy the file from where the model came from, or set ChatTemplate to a template.";

    private static QuantBuildException Missing(string asked, string path, IEnumerable<string> names)
    {
        string has = string.Join(", ", names.OrderBy(name => name, StringComparer.Ordinal));
        return new QuantBuildException(
            DiagnosticIds.ChatTemplateMissing,
            $"ChatTemplate=\"{asked}\" is no file ({path}), and no template of the model, which has {(has.Length > 0 ? has : "none")}. Correct the path or the name, or leave ChatTemplate out.");
    }
}
