using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using QuantBuild.Text.Models;
using QuantBuild.Text.Patterns;

namespace QuantBuild.Text;

/// <summary>Reads a <c>tokenizer.json</c>. Anything in it that would change the tokens and is not supported is an error.</summary>
internal sealed partial class TokenizerJson
{
    private readonly string source;

    private TokenizerJson(string source) => this.source = source;

    /// <summary>Reads the file.</summary>
    /// <exception cref="QuantBuildException">QB2009 or QB2027.</exception>
    public static TokenizerDefinition Parse(ReadOnlySpan<byte> json, string source)
    {
        if (json.StartsWith(Encoding.UTF8.Preamble)) json = json[Encoding.UTF8.Preamble.Length..];
        try
        {
            using JsonDocument document = JsonDocument.Parse(json.ToArray());
            return new TokenizerJson(source).ReadRoot(document.RootElement);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or ArgumentException or IndexOutOfRangeException)
        {
            throw new QuantBuildException(
                DiagnosticIds.TokenizerUnsupported,
                $"{source} is not a tokenizer.json: {e.Message} Copy the file again from where the model came from.", e);
        }
    }

    private static JsonElement? Member(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private static bool Flag(JsonElement parent, string name, bool standard = false) => Member(parent, name)?.GetBoolean() ?? standard;

    private static string Text(JsonElement parent, string name) => parent.GetProperty(name).GetString() ?? throw new FormatException($"{name} is null.");

    private static string Kind(JsonElement value) => Member(value, "type")?.GetString() ?? "without a type";

    private QuantBuildException Unsupported(string what) => new(
        DiagnosticIds.TokenizerUnsupported,
        $"{source}: {what}. docs/tokenizers.md lists what is supported. Choose a model with another tokenizer, or file an issue that names the model.");

    private TokenizerDefinition ReadRoot(JsonElement root)
    {
        List<AddedToken> added = [.. (Member(root, "added_tokens")?.EnumerateArray().AsEnumerable() ?? []).Select(ReadAddedToken)];
        (List<int> prefix, List<int> suffix) = ([], []);
        if (Member(root, "post_processor") is { } postProcessor) ReadPostProcessor(postProcessor, prefix, suffix);
        return new TokenizerDefinition
        {
            AddedTokens = added,
            Normalizers = [.. Steps(root, "normalizer", "normalizers").SelectMany(ReadNormalizer)],
            PreTokenizers = [.. Steps(root, "pre_tokenizer", "pretokenizers").SelectMany(ReadPreTokenizer)],
            Model = ReadModel(root.GetProperty("model")),
            Prefix = prefix,
            Suffix = suffix,
            Text = ReadDecoder(root),
        };
    }

    /// <summary>The steps of a part: itself, or those of a Sequence, however deep.</summary>
    private static List<JsonElement> Steps(JsonElement root, string name, string listName)
    {
        List<JsonElement> steps = [];
        if (Member(root, name) is { } part) Add(part);
        return steps;

        // JSON is read to a depth of 64.
        void Add(JsonElement value)
        {
            if (Kind(value) != "Sequence") steps.Add(value);
            else foreach (JsonElement step in value.GetProperty(listName).EnumerateArray()) Add(step);
        }
    }

    private int TokenId(JsonElement value)
    {
        // Ids index tables here and rows of the embedding in the model: an absurd one is a damaged file.
        const int largest = 1 << 24;
        return value.TryGetInt32(out int id) && id is >= 0 and < largest
            ? id
            : throw Unsupported($"it has the token id {value.GetRawText()}, expected a whole number from 0 to {largest - 1}");
    }

    private AddedToken ReadAddedToken(JsonElement token) => new(TokenId(token.GetProperty("id")), Text(token, "content"))
    {
        Special = Flag(token, "special"),
        SingleWord = Flag(token, "single_word"),
        StripLeft = Flag(token, "lstrip"),
        StripRight = Flag(token, "rstrip"),
        Normalized = Flag(token, "normalized", standard: !Flag(token, "special")),
    };

    private TokenModel ReadModel(JsonElement model)
    {
        // Old files leave the type out; their members tell it.
        string kind = Member(model, "type")?.GetString() ?? (Member(model, "merges") is not null ? "BPE" : Member(model, "unk_id") is not null ? "Unigram" : "WordPiece");
        return kind switch
        {
            "BPE" => ReadBpe(model),
            "Unigram" => ReadUnigram(model),
            "WordPiece" => ReadWordPiece(model),
            _ => throw Unsupported($"the model is {kind}"),
        };
    }

    private Dictionary<string, int> ReadVocabulary(JsonElement model)
    {
        JsonElement tokens = model.GetProperty("vocab");
        Dictionary<string, int> vocabulary = new(tokens.GetPropertyCount());
        foreach (JsonProperty token in tokens.EnumerateObject()) vocabulary[token.Name] = TokenId(token.Value);
        return vocabulary;
    }

    private BpeModel ReadBpe(JsonElement model)
    {
        if (Member(model, "dropout") is { } dropout && dropout.GetDouble() != 0) throw Unsupported($"the model has the dropout {dropout}");
        Dictionary<string, int> vocabulary = ReadVocabulary(model);
        JsonElement list = model.GetProperty("merges");
        List<Merge> merges = new(list.GetArrayLength());
        foreach (JsonElement merge in list.EnumerateArray()) merges.Add(ReadMerge(merge, merges.Count, vocabulary.GetAlternateLookup<ReadOnlySpan<char>>()));
        return new BpeModel(vocabulary, merges, new BpeOptions
        {
            IgnoreMerges = Flag(model, "ignore_merges"),
            ByteFallback = Flag(model, "byte_fallback"),
            Unknown = Member(model, "unk_token")?.GetString(),
            FuseUnknown = Flag(model, "fuse_unk"),
            InnerPrefix = Member(model, "continuing_subword_prefix")?.GetString() ?? "",
            EndSuffix = Member(model, "end_of_word_suffix")?.GetString() ?? "",
        });
    }

    /// <summary>A merge is <c>"a b"</c>, or <c>["a", "b"]</c> in newer files.</summary>
    private Merge ReadMerge(JsonElement merge, int rank, Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> vocabulary)
    {
        // There are half a million of them in the largest files. Their parts are tokens, whose texts are there already.
        Span<char> buffer = stackalloc char[256];
        if (merge.ValueKind == JsonValueKind.Array && merge.GetArrayLength() == 2 && Part(merge[0], buffer, vocabulary) is { } first && Part(merge[1], buffer, vocabulary) is { } second)
        {
            return new Merge(first.Text, second.Text, rank) { Ids = (first.Id, second.Id) };
        }

        string[] parts = merge.ValueKind == JsonValueKind.Array ? [.. merge.EnumerateArray().Select(part => part.GetString() ?? "")] : (merge.GetString() ?? "").Split(' ');
        return parts is [{ Length: > 0 } left, { Length: > 0 } right] ? new Merge(left, right, rank) : throw Unsupported($"the merge {merge.GetRawText()} is not a pair of tokens");
    }

    private static (string Text, int Id)? Part(JsonElement part, Span<char> buffer, Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> vocabulary)
    {
        if (part.ValueKind != JsonValueKind.String) return null;
        ReadOnlySpan<byte> written = JsonMarshal.GetRawUtf8Value(part)[1..^1];
        bool isPlain = Utf8.ToUtf16(written, buffer, out _, out int length, replaceInvalidSequences: false) == OperationStatus.Done && length > 0 && !written.Contains((byte)'\\');
        return isPlain && vocabulary.TryGetValue(buffer[..length], out string? text, out int id) ? (text, id) : null;
    }

    private UnigramModel ReadUnigram(JsonElement model)
    {
        Dictionary<string, int> vocabulary = [];
        List<double> scores = [];
        foreach (JsonElement piece in model.GetProperty("vocab").EnumerateArray())
        {
            vocabulary[piece[0].GetString() ?? throw new FormatException("A token is null.")] = scores.Count;
            double score = piece[1].GetDouble();
            if (!double.IsFinite(score)) throw Unsupported($"the token {piece[0]} has the score {score}");
            scores.Add(score);
        }

        int unknown = Member(model, "unk_id") is { } id ? TokenId(id) : -1;
        if (unknown >= scores.Count) throw Unsupported($"the unknown token's id is {unknown}, and there are {scores.Count} tokens");
        return new UnigramModel(vocabulary, vocabulary.Where(t => t.Key.Length > 0), scores, unknown, Flag(model, "byte_fallback"), scores.DefaultIfEmpty().Min(), singlePrecision: false);
    }

    private WordPieceModel ReadWordPiece(JsonElement model)
    {
        Dictionary<string, int> vocabulary = ReadVocabulary(model);
        string unknown = Member(model, "unk_token")?.GetString() ?? "[UNK]";
        return vocabulary.TryGetValue(unknown, out int id)
            ? new WordPieceModel(vocabulary, id, Member(model, "continuing_subword_prefix")?.GetString() ?? "##", Member(model, "max_input_chars_per_word")?.GetInt32() ?? 100)
            : throw Unsupported($"the unknown token {unknown} is not in the vocabulary");
    }

    private IEnumerable<PreTokenizer> ReadPreTokenizer(JsonElement step)
    {
        switch (Kind(step))
        {
            case "Split":
                return [new PreTokenizer.Split(ReadPattern(step.GetProperty("pattern")), ReadBehavior(step, "behavior"), Flag(step, "invert"))];
            case "Digits":
                return [new PreTokenizer.Split(Pattern.Parse(@"\p{N}"), Flag(step, "individual_digits") ? SplitBehavior.Isolated : SplitBehavior.Contiguous)];
            case "Punctuation":
                return [new PreTokenizer.Split(Pattern.Parse(Punctuation), Member(step, "behavior") is null ? SplitBehavior.Isolated : ReadBehavior(step, "behavior"))];
            case "BertPreTokenizer":
                return [new PreTokenizer.Split(Pattern.Parse(@"\s"), SplitBehavior.Removed), new PreTokenizer.Split(Pattern.Parse(Punctuation), SplitBehavior.Isolated)];
            case "WhitespaceSplit":
                return [new PreTokenizer.Split(Pattern.Parse(@"\s"), SplitBehavior.Removed)];
            case "Whitespace":
                return [new PreTokenizer.Split(Pattern.Parse($"[{PatternParser.UnicodeWord}]+|[^{PatternParser.UnicodeWord}\\s]+"), SplitBehavior.Removed, Invert: true)];
            case "CharDelimiterSplit":
                return [new PreTokenizer.Split(Pattern.Literal(Text(step, "delimiter")), SplitBehavior.Removed)];
            case "Metaspace":
                return [ReadMetaspace(step)];
            case "ByteLevel":
                return [new PreTokenizer.ByteLevel(Flag(step, "add_prefix_space", standard: true), Flag(step, "use_regex", standard: true) ? PreTokenizer.ByteLevel.Gpt2Pattern : null)];
            default:
                throw Unsupported($"its pre_tokenizer has a step of the kind {Kind(step)}");
        }
    }

    // Unicode's punctuation, and what of ASCII looks like it.
    private const string Punctuation = @"[\p{P}$+<=>^`|~]";

    private Pattern ReadPattern(JsonElement pattern)
    {
        if (Member(pattern, "String")?.GetString() is { Length: > 0 } literal) return Pattern.Literal(literal);
        try
        {
            return Pattern.Parse(Text(pattern, "Regex"));
        }
        catch (FormatException e)
        {
            throw Unsupported($"it has a pattern of which is not supported: {e.Message}");
        }
    }

    private SplitBehavior ReadBehavior(JsonElement step, string name)
    {
        string behavior = Text(step, name);
        return Enum.TryParse(behavior, out SplitBehavior value) && !char.IsAsciiDigit(behavior[0]) ? value : throw Unsupported($"its pre_tokenizer {Kind(step)} has the behavior {behavior}");
    }

    private (char Replacement, string Scheme) ReadReplacement(JsonElement step)
    {
        string replacement = Member(step, "replacement")?.GetString() ?? "\u2581";
        if (replacement.Length != 1) throw Unsupported($"its Metaspace has the replacement \"{replacement}\", expected one character");
        string scheme = Member(step, "prepend_scheme")?.GetString() ?? (Flag(step, "add_prefix_space", standard: true) ? "always" : "never");
        return scheme is "always" or "first" or "never" ? (replacement[0], scheme) : throw Unsupported($"its Metaspace has the prepend_scheme {scheme}");
    }

    private PreTokenizer.Metaspace ReadMetaspace(JsonElement step)
    {
        (char replacement, string scheme) = ReadReplacement(step);
        return new PreTokenizer.Metaspace(replacement, scheme != "never", scheme == "always", Flag(step, "split", standard: true));
    }

    private void ReadPostProcessor(JsonElement value, List<int> prefix, List<int> suffix)
    {
        switch (Kind(value))
        {
            case "Sequence":
                foreach (JsonElement step in value.GetProperty("processors").EnumerateArray()) ReadPostProcessor(step, prefix, suffix);
                break;
            case "ByteLevel":
                // Changes where tokens lie in the text, not which they are.
                break;
            case "TemplateProcessing":
                ReadTemplate(value, prefix, suffix);
                break;
            case "BertProcessing":
            case "RobertaProcessing":
                prefix.Insert(0, TokenId(value.GetProperty("cls")[1]));
                suffix.Add(TokenId(value.GetProperty("sep")[1]));
                break;
            default:
                throw Unsupported($"its post_processor is {Kind(value)}");
        }
    }

    private void ReadTemplate(JsonElement template, List<int> prefix, List<int> suffix)
    {
        List<int> before = [];
        bool afterText = false;
        foreach (JsonElement piece in template.GetProperty("single").EnumerateArray())
        {
            if (Member(piece, "SpecialToken") is { } special)
            {
                JsonElement ids = template.GetProperty("special_tokens").GetProperty(Text(special, "id")).GetProperty("ids");
                (afterText ? suffix : before).AddRange(ids.EnumerateArray().Select(TokenId));
            }
            else
            {
                piece.GetProperty("Sequence");
                if (afterText) throw Unsupported("its post_processor repeats the text");
                afterText = true;
            }
        }

        if (!afterText) throw Unsupported("its post_processor leaves the text out");
        prefix.InsertRange(0, before);
    }

    private TokenText ReadDecoder(JsonElement root)
    {
        List<JsonElement> decoders = Steps(root, "decoder", "decoders");
        // Without one the library puts a blank between all tokens: no model that writes text has that.
        if (decoders.Count == 0) throw Unsupported("it has no decoder");
        List<TokenText.Step> steps = [];
        TokenText.Strip? ends = null;
        bool fused = false;
        foreach (JsonElement decoder in decoders)
        {
            string kind = Kind(decoder);
            // From here on the text is one; what changes its middle would have to wait for all of it.
            if (fused && kind is not ("Strip" or "Fuse")) throw Unsupported($"its decoder has {kind} after what makes one text of the tokens");
            switch (kind)
            {
                case "ByteLevel":
                    steps.Add(new TokenText.ByteLevel());
                    fused = true;
                    break;
                case "ByteFallback":
                    steps.Add(new TokenText.ByteFallback());
                    break;
                case "Fuse":
                    fused = true;
                    break;
                case "Replace":
                    steps.Add(new TokenText.Replace(ReadReplace(decoder)));
                    break;
                case "Metaspace":
                    (char replacement, string scheme) = ReadReplacement(decoder);
                    steps.Add(new TokenText.Metaspace(replacement, scheme != "never"));
                    break;
                case "WordPiece":
                    steps.Add(new TokenText.WordPiece(Member(decoder, "prefix")?.GetString() ?? "##", Flag(decoder, "cleanup", standard: true)));
                    break;
                case "Strip":
                    TokenText.Strip strip = ReadStrip(decoder);
                    if (!fused) steps.Add(strip);
                    else ends = ends is null ? strip : throw Unsupported("its decoder strips the text twice");
                    break;
                default:
                    throw Unsupported($"its decoder is {kind}");
            }
        }

        return new TokenText(steps) { Ends = ends };
    }

    private TokenText.Strip ReadStrip(JsonElement decoder)
    {
        string content = Text(decoder, "content");
        (int start, int stop) = (decoder.GetProperty("start").GetInt32(), decoder.GetProperty("stop").GetInt32());
        return content.Length == 1 && start >= 0 && stop >= 0
            ? new TokenText.Strip(content[0], start, stop)
            : throw Unsupported(string.Create(CultureInfo.InvariantCulture, $"its decoder strips {start} and {stop} of \"{content}\""));
    }
}
