using System.Globalization;
using System.Text;
using System.Text.Json;

namespace QuantBuild.Runtime.Tests.Text;

/// <summary>
/// Byte-level BPE written straight from its definition, with the split pattern of Llama 3 by hand over code points: an oracle that
/// shares nothing with the tokenizer but the file it reads.
/// </summary>
internal sealed class ReferenceBpe
{
    private readonly Dictionary<string, int> vocabulary;
    private readonly Dictionary<(string, string), int> ranks = [];

    public ReferenceBpe(byte[] tokenizerJson)
    {
        using JsonDocument document = JsonDocument.Parse(tokenizerJson);
        JsonElement model = document.RootElement.GetProperty("model");
        vocabulary = model.GetProperty("vocab").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetInt32());
        foreach (JsonElement merge in model.GetProperty("merges").EnumerateArray())
        {
            string[] parts = merge.GetString()!.Split(' ');
            ranks.Add((parts[0], parts[1]), ranks.Count);
        }
    }

    public List<int> Encode(string text) => [.. Words(text).SelectMany(EncodeWord)];

    private IEnumerable<int> EncodeWord(string word)
    {
        List<string> symbols = [.. Encoding.UTF8.GetBytes(word).Select(b => Letter(b).ToString())];
        while (true)
        {
            int best = -1;
            int bestRank = int.MaxValue;
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                if (ranks.TryGetValue((symbols[i], symbols[i + 1]), out int rank) && rank < bestRank) (best, bestRank) = (i, rank);
            }

            if (best < 0) return symbols.Select(s => vocabulary[s]);
            symbols[best] += symbols[best + 1];
            symbols.RemoveAt(best + 1);
        }
    }

    // bytes_to_unicode of GPT-2's encoder.py.
    private static char Letter(byte value)
    {
        static bool Printable(int b) => b is (>= 33 and <= 126) or (>= 161 and <= 172) or (>= 174 and <= 255);
        return Printable(value) ? (char)value : (char)(256 + Enumerable.Range(0, value).Count(b => !Printable(b)));
    }

    /// <summary>
    /// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
    /// </summary>
    public static IEnumerable<string> Words(string text)
    {
        Rune[] runes = [.. text.EnumerateRunes()];
        for (int i = 0; i < runes.Length;)
        {
            int length = WordLength(runes.AsSpan(i));
            yield return string.Concat(runes.Skip(i).Take(length).Select(r => r.ToString()));
            i += length;
        }
    }

    private static int WordLength(ReadOnlySpan<Rune> t)
    {
        string start = string.Concat(t[..Math.Min(3, t.Length)].ToArray().Select(r => r.ToString())).ToLowerInvariant();
        foreach (string contraction in new[] { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" })
        {
            if (start.StartsWith(contraction, StringComparison.Ordinal)) return contraction.Length;
        }

        int skip = IsLetter(t[0]) || IsNumber(t[0]) || IsLineEnd(t[0]) ? 0 : 1;
        int letters = Run(t, skip, IsLetter);
        if (letters > 0) return skip + letters;
        int numbers = Run(t, 0, IsNumber);
        if (numbers > 0) return Math.Min(3, numbers);
        skip = t[0].Value == ' ' ? 1 : 0;
        int symbols = Run(t, skip, r => !IsLetter(r) && !IsNumber(r) && !Rune.IsWhiteSpace(r));
        if (symbols > 0) return skip + symbols + Run(t, skip + symbols, IsLineEnd);
        int blanks = Run(t, 0, Rune.IsWhiteSpace);
        for (int end = blanks; end > 0; end--)
        {
            if (IsLineEnd(t[end - 1])) return end;
        }

        return blanks == t.Length || blanks == 1 ? blanks : blanks - 1;
    }

    private static int Run(ReadOnlySpan<Rune> t, int start, Func<Rune, bool> kind)
    {
        int i = start;
        while (i < t.Length && kind(t[i])) i++;
        return i - start;
    }

    private static bool IsLineEnd(Rune r) => r.Value is '\r' or '\n';

    private static bool IsLetter(Rune r) => Rune.GetUnicodeCategory(r) is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter
        or UnicodeCategory.TitlecaseLetter or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter;

    private static bool IsNumber(Rune r) => Rune.GetUnicodeCategory(r) is UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;
}
