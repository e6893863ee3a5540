using System.Globalization;
using System.Text;

namespace QuantBuild;

/// <summary>
/// The tokenizer in the header of a GGUF file, as the file that a Hugging Face folder would have: byte-level BPE as <c>tokenizer.json</c>, SentencePiece as <c>tokenizer.model</c>.
/// </summary>
internal static class GgufTokenizer
{
    // Kinds of tokens. A control token is not written out; a user's own is. Both are matched in the text itself.
    private const long Control = 3, UserDefined = 4;

    // What cuts a text into words, by the name that llama.cpp gives it. The empty pattern is ByteLevel's own.
    private static readonly Dictionary<string, Words> KnownWords = new(StringComparer.Ordinal)
    {
        ["llama-bpe"] = new(
            @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+", IgnoreMerges: true, AddsBeginning: true),
        ["qwen2"] = new(
            @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+", Normalizer: "{\"type\":\"NFC\"}"),
        ["gpt-2"] = new(""),
    };

    /// <summary>The tokenizer's file.</summary>
    /// <exception cref="QuantBuildException">QB2008 the file has no tokenizer; QB2009 it is of a kind that cannot be converted.</exception>
    public static byte[] ToFile(GgufFile file)
    {
        if (!file.Metadata.TryGetValue("tokenizer.ggml.model", out object? kind))
        {
            throw new QuantBuildException(
                DiagnosticIds.TokenizerMissing, $"{file.Path} holds no tokenizer, and no tokenizer.json is beside it. Copy it there from where the model came from: without it text cannot become tokens.");
        }

        if (file.Metadata.TryGetValue("tokenizer.ggml.add_eos_token", out object? ends) && ends is true) throw Unsupported(file, "its tokenizer ends each text with a token (add_eos_token)");
        return kind switch
        {
            "llama" => GgufSentencePiece.ToModel(file) ?? throw Unsupported(file, "its tokenizer lacks tokens, scores or their kinds"),
            "gpt2" => Encoding.UTF8.GetBytes(ToJson(file)),
            _ => throw Unsupported(file, $"its tokenizer is of the kind \"{kind}\""),
        };
    }

    private static string ToJson(GgufFile file)
    {
        string words = file.Metadata.TryGetValue("tokenizer.ggml.pre", out object? pre) && pre is string named ? named : "default";
        if (!KnownWords.TryGetValue(words, out Words? cut)) throw Unsupported(file, $"its tokenizer cuts words as \"{words}\" does");
        if (!file.Metadata.TryGetValue("tokenizer.ggml.tokens", out object? list) || list is not string[] tokens
            || !file.Metadata.TryGetValue("tokenizer.ggml.merges", out object? pairs) || pairs is not string[] merges)
        {
            throw Unsupported(file, "its tokenizer lacks tokens or merges");
        }

        long[] types = file.Metadata.TryGetValue("tokenizer.ggml.token_type", out object? given) && given is long[] known && known.Length == tokens.Length ? known : new long[tokens.Length];
        StringBuilder json = new("{\"version\":\"1.0\",\"added_tokens\":[");
        string separator = "";
        for (int id = 0; id < tokens.Length; id++)
        {
            if (types[id] is not (Control or UserDefined)) continue;
            json.Append(separator).Append(FormattableString.Invariant($"{{\"id\":{id},\"content\":{Json.Quote(tokens[id])},\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":{(types[id] == Control ? "true" : "false")}}}"));
            separator = ",";
        }

        json.Append("],\"normalizer\":").Append(cut.Normalizer).Append(",\"pre_tokenizer\":").Append(cut.PreTokenizer);
        if (BeginsWith(file, tokens.Length, cut.AddsBeginning) is { } bos)
        {
            string token = Json.Quote(tokens[bos]);
            json.Append(FormattableString.Invariant($",\"post_processor\":{{\"type\":\"TemplateProcessing\",\"single\":[{{\"SpecialToken\":{{\"id\":{token},\"type_id\":0}}}},{{\"Sequence\":{{\"id\":\"A\",\"type_id\":0}}}}],\"pair\":[],\"special_tokens\":{{{token}:{{\"id\":{token},\"ids\":[{bos}],\"tokens\":[{token}]}}}}}}"));
        }

        json.Append(",\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"ignore_merges\":")
            .Append(cut.IgnoreMerges ? "true" : "false").Append(",\"vocab\":{");
        // A token that is there twice keeps its first id, as in a dictionary that is filled.
        HashSet<string> seen = new(StringComparer.Ordinal);
        separator = "";
        for (int id = 0; id < tokens.Length; id++)
        {
            if (types[id] is Control or UserDefined || !seen.Add(tokens[id])) continue;
            json.Append(separator).Append(Json.Quote(tokens[id])).Append(':').Append(id.ToString(CultureInfo.InvariantCulture));
            separator = ",";
        }

        json.Append("},\"merges\":[").Append(string.Join(",", merges.Select(Json.Quote))).Append("]}}");
        return json.ToString();
    }

    private static int? BeginsWith(GgufFile file, int tokens, bool standard) =>
        (file.Metadata.TryGetValue("tokenizer.ggml.add_bos_token", out object? adds) ? adds is true : standard)
        && file.Metadata.TryGetValue("tokenizer.ggml.bos_token_id", out object? id) && id is long bos && bos >= 0 && bos < tokens
            ? (int)bos
            : null;

    private static QuantBuildException Unsupported(GgufFile file, string what) => new(
        DiagnosticIds.TokenizerUnsupported,
        $"{file.Path}: {what}; read from GGUF are those of SentencePiece (\"llama\"), and byte-level BPE (\"gpt2\") that cuts words as {string.Join(", ", KnownWords.Keys)} do. " +
        "Copy the model's tokenizer.json into the folder of the file: it is then used in its place.");

    /// <summary>How a text is cut into words.</summary>
    /// <param name="Pattern">The pattern of a word; empty for ByteLevel's own.</param>
    /// <param name="IgnoreMerges">Whether a word that is a token as a whole is that token.</param>
    /// <param name="AddsBeginning">Whether a text begins with the token for that where the file does not say.</param>
    /// <param name="Normalizer">What is done to the text before.</param>
    private sealed record Words(string Pattern, bool IgnoreMerges = false, bool AddsBeginning = false, string Normalizer = "null")
    {
        public string PreTokenizer => Pattern.Length == 0
            ? "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}"
            : $"{{\"type\":\"Sequence\",\"pretokenizers\":[{{\"type\":\"Split\",\"pattern\":{{\"Regex\":{Json.Quote(Pattern)}}},\"behavior\":\"Isolated\",\"invert\":false}}," +
              "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}]}";
    }
}
