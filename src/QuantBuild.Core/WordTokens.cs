using System.Text;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>
/// Whether a tokenizer makes at least one token of each of a text's <see cref="Words"/>, known without its megabytes: where a text is cut apart at white space, no token has letters of two words.
/// </summary>
public static class WordTokens
{
    private const string Tail = @"\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string Contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    private const string Upper = @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    private const string Lower = @"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    private const string Before = @"[^\r\n\p{L}\p{N}]?";

    // In none of these can a match have white space between letters. What other patterns do, nobody looked at.
    private static readonly HashSet<string> CuttingPatterns = new(StringComparer.Ordinal)
    {
        // Llama 3; Qwen 2 and 3; GPT-4o and its kin.
        $@"{Contraction}|{Before}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{Tail}",
        $@"{Contraction}|{Before}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{Tail}",
        $@"{Before}{Upper}*{Lower}+{Contraction}?|{Before}{Upper}+{Lower}*{Contraction}?|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{Tail}",
    };

    // What comes before a vocabulary is some kilobytes. What is longer is another kind of file, and may be gigabytes.
    private const int LongestHead = 1 << 22;

    /// <summary>Whether each word is a token at least; <see langword="false"/> also where the file does not say so in the way that is known here.</summary>
    /// <param name="tokenizerFile">Path of <c>tokenizer.json</c>. What comes before its vocabulary is read, some kilobytes.</param>
    public static bool AreSeparate(string tokenizerFile)
    {
        try
        {
            using StreamReader reader = new(tokenizerFile);
            return BeforeModel(reader) is { } head && AreSeparate(Json.Parse(head));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            // Whoever needs the file will say what is wrong with it.
            return false;
        }
    }

    private static bool AreSeparate(XElement tokenizer)
    {
        // A token that is matched in the text itself may be several words.
        if (tokenizer.Member("added_tokens")?.Elements().Any(token => Words.Count((string?)token.Member("content") ?? "") > 1) ?? false) return false;
        if (tokenizer.Member("pre_tokenizer") is not { } first) return false;
        // One step cuts what the others leave: none joins again.
        return (first.Member("pretokenizers")?.Elements() ?? [first]).Any(step => (string?)step.Member("type") switch
        {
            // Its own pattern is that of GPT-2.
            "ByteLevel" => (string?)step.Member("use_regex") is null or "true",
            "Split" => step.Member("pattern")?.Member("Regex") is { } regex && CuttingPatterns.Contains((string)regex),
            _ => false,
        });
    }

    /// <summary>The members before <c>model</c>, which has the vocabulary, as an object of their own; <see langword="null"/> where nothing is before it.</summary>
    private static string? BeforeModel(TextReader reader)
    {
        StringBuilder head = new();
        int depth = 0, nameStart = -1;
        bool isEscaped = false;
        for (int next = reader.Read(); next >= 0 && head.Length < LongestHead; next = reader.Read())
        {
            char c = (char)next;
            head.Append(c);
            if (nameStart >= 0)
            {
                if (c == '"' && !isEscaped)
                {
                    if (depth == 1 && head.ToString(nameStart, head.Length - nameStart) == "\"model\"") return head.ToString(0, nameStart).TrimEnd().TrimEnd(',') + "}";
                    nameStart = -1;
                }

                isEscaped = c == '\\' && !isEscaped;
            }
            else if (c == '"') nameStart = head.Length - 1;
            else if (c is '{' or '[') depth++;
            else if (c is '}' or ']') depth--;
        }

        return null;
    }
}
