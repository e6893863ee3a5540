using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace QuantBuild.Text;

/// <summary>What a <c>tokenizer.json</c> of byte-level BPE says. Anything in it that would change the tokens and is not supported is an error.</summary>
internal sealed partial class TokenizerFile
{
    private readonly string source;

    private TokenizerFile(string source) => this.source = source;

    /// <summary>Token in the byte alphabet to id.</summary>
    public Dictionary<string, int> Vocabulary { get; } = [];

    /// <summary>Pairs to merge, most urgent first: two tokens with a blank between.</summary>
    public List<string> Merges { get; } = [];

    /// <summary>Whether a word that is a token as a whole is that token, whatever the merges would make of it.</summary>
    public bool IgnoreMerges { get; private set; }

    /// <summary>Tokens that are matched in the text itself.</summary>
    public List<AddedToken> AddedTokens { get; } = [];

    /// <summary>Patterns that cut a text into words, applied one after the other.</summary>
    public List<Regex> Patterns { get; } = [];

    /// <summary>Ids that go before a text.</summary>
    public List<int> Prefix { get; } = [];

    /// <summary>Ids that go after a text.</summary>
    public List<int> Suffix { get; } = [];

    /// <summary>Reads the file.</summary>
    /// <exception cref="QuantBuildException">QB2009.</exception>
    public static TokenizerFile Parse(ReadOnlySpan<byte> json, string source)
    {
        if (json.StartsWith(Encoding.UTF8.Preamble)) json = json[Encoding.UTF8.Preamble.Length..];
        TokenizerFile file = new(source);
        try
        {
            using JsonDocument document = JsonDocument.Parse(json.ToArray());
            JsonElement root = document.RootElement;
            file.ReadModel(root.GetProperty("model"));
            file.ReadAddedTokens(root);
            if (Member(root, "normalizer") is { } normalizer) file.RefuseUnlessEmptySequence("normalizer", "normalizers", normalizer);
            file.ReadPreTokenizer(Member(root, "pre_tokenizer") ?? throw file.Unsupported("it has no pre_tokenizer, and byte-level BPE needs ByteLevel"));
            if (Member(root, "post_processor") is { } postProcessor) file.ReadPostProcessor(postProcessor);
            file.ReadDecoder(Member(root, "decoder"));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new QuantBuildException(
                DiagnosticIds.TokenizerUnsupported,
                $"{source} is not a tokenizer.json: {e.Message} Copy the file again from where the model came from.", e);
        }

        return file;
    }

    // The pattern that ByteLevel applies by itself (GPT-2).
    [GeneratedRegex(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", RegexOptions.CultureInvariant)]
    private static partial Regex ByteLevelPattern { get; }

    private static JsonElement? Member(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private static bool Flag(JsonElement parent, string name, bool standard = false) => Member(parent, name)?.GetBoolean() ?? standard;

    private static string Kind(JsonElement value) => Member(value, "type")?.GetString() ?? "without a type";

    private QuantBuildException Unsupported(string what) => new(
        DiagnosticIds.TokenizerUnsupported,
        $"{source}: {what}. Supported is byte-level BPE without a normalizer, as in Llama 3 and GPT-2. Choose a model with such a tokenizer.");

    private void ReadModel(JsonElement model)
    {
        // Old files leave the type out, and were always BPE if they have merges.
        string kind = Member(model, "type")?.GetString() ?? (Member(model, "merges") is null ? "without a type" : "BPE");
        if (kind != "BPE") throw Unsupported($"the model is {kind}");
        if (Member(model, "dropout") is { } dropout && dropout.GetDouble() != 0) throw Unsupported($"the model has the dropout {dropout}");
        if (Flag(model, "byte_fallback")) throw Unsupported("the model has byte_fallback");
        foreach (string name in new[] { "continuing_subword_prefix", "end_of_word_suffix" })
        {
            if (Member(model, name)?.GetString() is { Length: > 0 } affix) throw Unsupported($"the model has the {name} \"{affix}\"");
        }

        IgnoreMerges = Flag(model, "ignore_merges");
        foreach (JsonProperty token in model.GetProperty("vocab").EnumerateObject()) Vocabulary[token.Name] = TokenId(token.Value);
        foreach (JsonElement merge in model.GetProperty("merges").EnumerateArray()) Merges.Add(ReadMerge(merge));
    }

    /// <summary>A merge is <c>"a b"</c>, or <c>["a", "b"]</c> in newer files.</summary>
    private string ReadMerge(JsonElement merge)
    {
        string[] parts = merge.ValueKind == JsonValueKind.Array
            ? [.. merge.EnumerateArray().Select(part => part.GetString() ?? "")]
            : merge.GetString()!.Split(' ');
        if (parts.Length != 2 || parts.Any(part => part.Length == 0 || part.Contains(' ')))
        {
            throw Unsupported($"the merge {merge.GetRawText()} is not a pair of tokens");
        }

        return parts[0] + " " + parts[1];
    }

    private int TokenId(JsonElement value)
    {
        // Ids index tables here and rows of the embedding in the model: an absurd one is a damaged file.
        const int largest = 1 << 24;
        return value.TryGetInt32(out int id) && id is >= 0 and < largest
            ? id
            : throw Unsupported($"it has the token id {value.GetRawText()}, expected a whole number from 0 to {largest - 1}");
    }

    private void ReadAddedTokens(JsonElement root)
    {
        if (Member(root, "added_tokens") is not { } tokens) return;
        foreach (JsonElement token in tokens.EnumerateArray())
        {
            AddedTokens.Add(new AddedToken(
                TokenId(token.GetProperty("id")),
                token.GetProperty("content").GetString() ?? "",
                Flag(token, "special"),
                Flag(token, "single_word"),
                Flag(token, "lstrip"),
                Flag(token, "rstrip")));
        }
    }

    private void RefuseUnlessEmptySequence(string what, string listName, JsonElement value)
    {
        string kind = Kind(value);
        if (kind != "Sequence") throw Unsupported($"its {what} is {kind}");
        string[] kinds = [.. value.GetProperty(listName).EnumerateArray().Select(Kind)];
        if (kinds.Length > 0) throw Unsupported($"its {what} is a Sequence of {string.Join(", ", kinds)}");
    }

    private void ReadPreTokenizer(JsonElement value)
    {
        JsonElement[] steps = Kind(value) == "Sequence" ? [.. value.GetProperty("pretokenizers").EnumerateArray()] : [value];
        bool byteLevel = false;
        foreach (JsonElement step in steps)
        {
            // After ByteLevel the text is in the byte alphabet, which a pattern would see differently.
            if (byteLevel) throw Unsupported("its pre_tokenizer has a step after ByteLevel");
            switch (Kind(step))
            {
                case "Split":
                    Patterns.Add(ReadSplit(step));
                    break;
                case "ByteLevel":
                    if (Flag(step, "add_prefix_space", standard: true)) throw Unsupported("its pre_tokenizer ByteLevel has add_prefix_space");
                    if (Flag(step, "use_regex", standard: true)) Patterns.Add(ByteLevelPattern);
                    byteLevel = true;
                    break;
                default:
                    throw Unsupported($"its pre_tokenizer has a step of the kind {Kind(step)}");
            }
        }

        if (!byteLevel) throw Unsupported("its pre_tokenizer has no ByteLevel step");
    }

    private Regex ReadSplit(JsonElement step)
    {
        string? behavior = step.GetProperty("behavior").GetString();
        if (behavior != "Isolated" || Flag(step, "invert"))
        {
            throw Unsupported($"its pre_tokenizer Split has the behavior {behavior}{(Flag(step, "invert") ? ", inverted" : "")}; only Isolated is supported");
        }

        JsonElement pattern = step.GetProperty("pattern");
        string regex = Member(pattern, "Regex")?.GetString() ?? Regex.Escape(pattern.GetProperty("String").GetString()!);
        try
        {
            return new Regex(regex, RegexOptions.CultureInvariant | RegexOptions.Compiled);
        }
        catch (ArgumentException e)
        {
            throw Unsupported($"its pre_tokenizer Split has a pattern that .NET does not read ({e.Message})");
        }
    }

    private void ReadPostProcessor(JsonElement value)
    {
        switch (Kind(value))
        {
            case "Sequence":
                foreach (JsonElement step in value.GetProperty("processors").EnumerateArray()) ReadPostProcessor(step);
                break;
            case "ByteLevel":
                // Changes where tokens lie in the text, not which they are.
                break;
            case "TemplateProcessing":
                ReadTemplate(value);
                break;
            default:
                throw Unsupported($"its post_processor is {Kind(value)}");
        }
    }

    private void ReadTemplate(JsonElement template)
    {
        JsonElement specials = template.GetProperty("special_tokens");
        bool afterText = false;
        foreach (JsonElement piece in template.GetProperty("single").EnumerateArray())
        {
            if (Member(piece, "SpecialToken") is { } special)
            {
                string name = special.GetProperty("id").GetString()!;
                List<int> ids = afterText ? Suffix : Prefix;
                foreach (JsonElement id in specials.GetProperty(name).GetProperty("ids").EnumerateArray()) ids.Add(TokenId(id));
            }
            else
            {
                piece.GetProperty("Sequence");
                if (afterText) throw Unsupported("its post_processor repeats the text");
                afterText = true;
            }
        }
    }

    private void ReadDecoder(JsonElement? decoder)
    {
        if (decoder is not { } value || Kind(value) != "ByteLevel")
        {
            throw Unsupported($"its decoder is {(decoder is { } other ? Kind(other) : "missing")}, expected ByteLevel");
        }
    }
}
