using System.Text;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>What <c>tokenizer_config.json</c> says of chats: the model's templates, and the tokens that they may write.</summary>
public sealed class TokenizerConfig
{
    /// <summary>Name of the template for all that no other is for.</summary>
    public const string DefaultTemplate = "default";

    /// <summary>Name of the template for requests with tools.</summary>
    public const string ToolTemplate = "tool_use";

    // Far more than any has that was published; declaring takes milliseconds.
    private const int LargestFile = 16 << 20;

    private readonly XElement? config;

    private TokenizerConfig(XElement? config)
    {
        this.config = config;
        ChatTemplates = ReadTemplates();
    }

    /// <summary>That of a model without one.</summary>
    public static TokenizerConfig None { get; } = new(null);

    /// <summary>Chat templates by their names.</summary>
    public IReadOnlyDictionary<string, string> ChatTemplates { get; }

    /// <summary>Reads a file.</summary>
    /// <exception cref="FormatException">It is not a JSON object, or larger than any that was published; the message says why.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static TokenizerConfig Read(string path)
    {
        long length = new FileInfo(path).Length;
        if (length > LargestFile) throw new FormatException($"it has {length} bytes, and at most {LargestFile} are read.");
        return Parse(File.ReadAllText(path, Encoding.UTF8));
    }

    /// <summary>Reads what a file has.</summary>
    /// <exception cref="FormatException">It is not a JSON object; the message says why.</exception>
    public static TokenizerConfig Parse(string json)
    {
        XElement config = Json.Parse(json);
        return config.Kind() == "object" ? new TokenizerConfig(config) : throw new FormatException("it is not a JSON object.");
    }

    /// <summary>A special token such as <c>bos_token</c>: a text, or an object that has it.</summary>
    public string? Token(string name) => config?.Member(name) is not { } token ? null : token.Kind() switch
    {
        "string" => token.Value,
        "object" => token.Member("content") is { } content && content.Kind() == "string" ? content.Value : null,
        _ => null,
    };

    /// <summary>The templates of <c>chat_template</c>: a text, or a list of names and texts.</summary>
    private Dictionary<string, string> ReadTemplates()
    {
        Dictionary<string, string> texts = new(StringComparer.Ordinal);
        if (config?.Member("chat_template") is not { } templates) return texts;
        if (templates.Kind() == "string") texts[DefaultTemplate] = templates.Value;
        if (templates.Kind() != "array") return texts;
        foreach (XElement entry in templates.Elements().Where(entry => entry.Kind() == "object"))
        {
            if (entry.Member("name") is { } name && entry.Member("template") is { } text) texts[name.Value] = text.Value;
        }

        return texts;
    }
}
