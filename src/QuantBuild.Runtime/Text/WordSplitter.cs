using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace QuantBuild.Text;

/// <summary>
/// Cuts a text into the words that BPE works on: one or more patterns, each match and each stretch between matches being a word of its own
/// (the <c>Split</c> pre-tokenizer with behaviour <c>Isolated</c>).
/// </summary>
/// <param name="patterns">Applied one after the other, each to the words that the one before gave.</param>
internal sealed class WordSplitter(IReadOnlyList<Regex> patterns)
{
    // The patterns were written for whole code points; .NET matches UTF-16 units, and a surrogate is neither letter nor symbol to it. They are therefore
    // matched on a shadow of the text in which one character of the same category stands for each pair. None of these occurs literally in a pattern.
    private static readonly Dictionary<UnicodeCategory, char> StandIns = new()
    {
        [UnicodeCategory.UppercaseLetter] = '\u0100',
        [UnicodeCategory.LowercaseLetter] = '\u0101',
        [UnicodeCategory.TitlecaseLetter] = '\u01C5',
        [UnicodeCategory.ModifierLetter] = '\u02B1',
        [UnicodeCategory.OtherLetter] = '\u05D0',
        [UnicodeCategory.NonSpacingMark] = '\u0300',
        [UnicodeCategory.SpacingCombiningMark] = '\u0903',
        [UnicodeCategory.EnclosingMark] = '\u0488',
        [UnicodeCategory.DecimalDigitNumber] = '\u0660',
        [UnicodeCategory.LetterNumber] = '\u2160',
        [UnicodeCategory.OtherNumber] = '\u00BC',
        [UnicodeCategory.ConnectorPunctuation] = '\u203F',
        [UnicodeCategory.DashPunctuation] = '\u058A',
        [UnicodeCategory.OpenPunctuation] = '\u0F3A',
        [UnicodeCategory.ClosePunctuation] = '\u0F3B',
        [UnicodeCategory.OtherPunctuation] = '\u0589',
        [UnicodeCategory.MathSymbol] = '\u2200',
        [UnicodeCategory.CurrencySymbol] = '\u20A0',
        [UnicodeCategory.ModifierSymbol] = '\u02C2',
        [UnicodeCategory.OtherSymbol] = '\u2300',
        [UnicodeCategory.Format] = '\u200C',
        [UnicodeCategory.PrivateUse] = '\uE000',
        [UnicodeCategory.OtherNotAssigned] = '\u0378',
    };

    /// <summary>The words of a text, in order; together they are the text.</summary>
    public List<Range> Split(string text)
    {
        if (text.Length == 0) return [];
        if (!text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')) return Match(text);

        int[] offsets = new int[text.Length + 1];
        string shadow = Shadow(text, offsets);
        List<Range> words = Match(shadow);
        for (int i = 0; i < words.Count; i++) words[i] = offsets[words[i].Start.Value]..offsets[words[i].End.Value];
        return words;
    }

    /// <summary>The text with one unit for each code point; <paramref name="offsets"/> receives where each lies in the text, and the end.</summary>
    private static string Shadow(string text, int[] offsets)
    {
        StringBuilder shadow = new(text.Length);
        for (int i = 0; i < text.Length;)
        {
            offsets[shadow.Length] = i;
            OperationStatus status = Rune.DecodeFromUtf16(text.AsSpan(i), out Rune rune, out int consumed);
            bool pair = status == OperationStatus.Done && !rune.IsBmp;
            shadow.Append(pair ? StandIns.GetValueOrDefault(Rune.GetUnicodeCategory(rune), '\u0378') : (char)rune.Value);
            i += consumed;
        }

        offsets[shadow.Length] = text.Length;
        return shadow.ToString();
    }

    private List<Range> Match(string text)
    {
        List<Range> words = [new Range(0, text.Length)];
        foreach (Regex pattern in patterns)
        {
            List<Range> finer = new(words.Count);
            foreach (Range word in words) Isolate(pattern, text, word, finer);
            words = finer;
        }

        return words;
    }

    private static void Isolate(Regex pattern, string text, Range word, List<Range> words)
    {
        (int start, int end) = (word.Start.Value, word.End.Value);
        int position = start;
        // A word is a text of its own: a look-around must not see past it.
        foreach (ValueMatch match in pattern.EnumerateMatches(text.AsSpan(start, end - start)))
        {
            if (match.Length == 0) continue;
            int matchStart = start + match.Index;
            if (matchStart > position) words.Add(position..matchStart);
            position = matchStart + match.Length;
            words.Add(matchStart..position);
        }

        if (position < end) words.Add(position..end);
    }
}
