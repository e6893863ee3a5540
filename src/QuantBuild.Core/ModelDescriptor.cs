using System.Globalization;
using System.Xml;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>
/// What the generated class needs to know of a model: the content of a descriptor file, written by the declaring task and read by the generator.
/// </summary>
public sealed record ModelDescriptor
{
    /// <summary>What the name of every descriptor file ends with.</summary>
    public const string FileSuffix = ".quantbuild.xml";

    private const string RootName = "QuantizedModel";

    /// <summary>Name of the class to generate.</summary>
    public required string ClassName { get; init; }

    /// <summary>Namespace of the class to generate.</summary>
    public required string Namespace { get; init; }

    /// <summary>The model's own name: the last segment of its path or hub id.</summary>
    public required string ModelName { get; init; }

    /// <summary>The architecture, as <c>config.json</c> names it.</summary>
    public required string Architecture { get; init; }

    /// <summary>How the values are chosen.</summary>
    public required QuantizationMethod Method { get; init; }

    /// <summary>Bits per weight.</summary>
    public required int Bits { get; init; }

    /// <summary>Inputs that share a scale; -1 is one group of each row. Of NF4 and FP4 the block size.</summary>
    public required int GroupSize { get; init; }

    /// <summary>Number of weights.</summary>
    public required long Parameters { get; init; }

    /// <summary>The longest sequence, in tokens.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Number of tokens.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Whether a text has at least as many tokens as words (<c>WordTokens</c>), as far as that is known.</summary>
    public bool WordsAreTokens { get; init; }

    /// <summary>Name of the artifact beside the program.</summary>
    public required string ArtifactFileName { get; init; }

    /// <summary>The artifact's fingerprint; empty in a design-time build of a model that was never hashed.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>Full path of the model's chat template; <see langword="null"/> where it has none.</summary>
    public string? ChatTemplateFile { get; init; }

    /// <summary>Full path of its chat template for requests with tools, where that is another.</summary>
    public string? ToolChatTemplateFile { get; init; }

    /// <summary>The token that begins texts, where chat templates may write it.</summary>
    public string? BosToken { get; init; }

    /// <summary>The token that ends texts.</summary>
    public string? EosToken { get; init; }

    /// <summary>The token for what is unknown.</summary>
    public string? UnkToken { get; init; }

    /// <summary>The token that fills up.</summary>
    public string? PadToken { get; init; }

    /// <summary>The descriptor file's text.</summary>
    public string ToXml()
    {
        XElement root = new(
            RootName,
            new XAttribute("ClassName", ClassName),
            new XAttribute("Namespace", Namespace),
            new XAttribute("ModelName", ModelName),
            new XAttribute("Architecture", Architecture),
            new XAttribute("Method", Method),
            new XAttribute("Bits", Bits),
            new XAttribute("GroupSize", GroupSize),
            new XAttribute("Parameters", Parameters),
            new XAttribute("ContextLength", ContextLength),
            new XAttribute("VocabularySize", VocabularySize),
            new XAttribute("WordsAreTokens", WordsAreTokens),
            new XAttribute("ArtifactFileName", ArtifactFileName),
            new XAttribute("Fingerprint", Fingerprint));
        void AddOptional(string name, string? value)
        {
            if (value is not null) root.Add(new XAttribute(name, value));
        }

        AddOptional("ChatTemplateFile", ChatTemplateFile);
        AddOptional("ToolChatTemplateFile", ToolChatTemplateFile);
        AddOptional("BosToken", BosToken);
        AddOptional("EosToken", EosToken);
        AddOptional("UnkToken", UnkToken);
        AddOptional("PadToken", PadToken);
        return Xml.Write(root);
    }

    /// <summary>Reads a descriptor file's text; <see langword="null"/> where it is not one.</summary>
    public static ModelDescriptor? TryParse(string xml)
    {
        try
        {
            XElement root = Xml.Parse(xml);
            if (root.Name != RootName) return null;
            string? Optional(string name) => (string?)root.Attribute(name);
            string Text(string name) => Optional(name) ?? throw new FormatException(name);
            int Number(string name) => int.Parse(Text(name), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
            QuantizationMethod method = (QuantizationMethod)Enum.Parse(typeof(QuantizationMethod), Text("Method"));
            // Enum.Parse takes any number.
            if (!Enum.IsDefined(typeof(QuantizationMethod), method)) return null;
            return new ModelDescriptor
            {
                ClassName = Text("ClassName"),
                Namespace = Text("Namespace"),
                ModelName = Text("ModelName"),
                Architecture = Text("Architecture"),
                Method = method,
                Bits = Number("Bits"),
                GroupSize = Number("GroupSize"),
                Parameters = long.Parse(Text("Parameters"), NumberStyles.None, CultureInfo.InvariantCulture),
                ContextLength = Number("ContextLength"),
                VocabularySize = Number("VocabularySize"),
                WordsAreTokens = (bool?)root.Attribute("WordsAreTokens") ?? false,
                ArtifactFileName = Text("ArtifactFileName"),
                Fingerprint = Text("Fingerprint"),
                ChatTemplateFile = Optional("ChatTemplateFile"),
                ToolChatTemplateFile = Optional("ToolChatTemplateFile"),
                BosToken = Optional("BosToken"),
                EosToken = Optional("EosToken"),
                UnkToken = Optional("UnkToken"),
                PadToken = Optional("PadToken"),
            };
        }
        catch (Exception e) when (e is XmlException or FormatException or ArgumentException or OverflowException)
        {
            return null;
        }
    }
}
