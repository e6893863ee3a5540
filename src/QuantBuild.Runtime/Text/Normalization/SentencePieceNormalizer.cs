using System.Text;

namespace QuantBuild.Text.Normalization;

/// <summary>What SentencePiece does with a text: maps characters, leaves blanks out that do not separate, puts one before the text, and writes them visibly.</summary>
/// <param name="Map">The map, if any.</param>
/// <param name="DummyPrefix">Whether a blank is put before the text.</param>
/// <param name="RemovesExtraBlanks">Whether blanks at the ends, and after blanks, go.</param>
internal sealed record SentencePieceNormalizer(Charsmap? Map, bool DummyPrefix, bool RemovesExtraBlanks) : Normalizer
{
    private const char Blank = '\u2581';

    public override string Apply(string text)
    {
        text = Map?.NormalizeLongest(text) ?? text;
        StringBuilder result = new(text.Length + 1);
        bool afterBlank = RemovesExtraBlanks;
        if (DummyPrefix) result.Append(Blank);
        foreach (char c in text)
        {
            if (c != ' ' || !afterBlank) result.Append(c == ' ' ? Blank : c);
            afterBlank = RemovesExtraBlanks && c == ' ';
        }

        while (RemovesExtraBlanks && result.Length > 0 && result[^1] == Blank) result.Length--;
        return result.ToString();
    }
}
