using System.Globalization;
using System.Text;
using QuantBuild.Text.Patterns;

namespace QuantBuild.Text.Normalization;

/// <summary>A step that a text goes through before it is cut into words.</summary>
internal abstract record Normalizer
{
    /// <summary>Changes a text, which is not empty.</summary>
    public abstract string Apply(string text);

    /// <summary>One of the forms of Unicode.</summary>
    public sealed record Form(NormalizationForm Which) : Normalizer
    {
        public override string Apply(string text) => NormalizationForms.Normalize(text, Which);
    }

    /// <summary>Capital letters become small ones, each by itself.</summary>
    public sealed record Lowercase : Normalizer
    {
        // The one letter that becomes two; .NET maps one to one.
        public override string Apply(string text) => text.ToLowerInvariant().Replace("\u0130", "i\u0307", StringComparison.Ordinal);
    }

    /// <summary>White space at the ends goes.</summary>
    public sealed record Strip(bool Left, bool Right) : Normalizer
    {
        public override string Apply(string text) => (Left, Right) switch
        {
            (true, true) => text.Trim(),
            (true, false) => text.TrimStart(),
            (false, true) => text.TrimEnd(),
            _ => text,
        };
    }

    /// <summary>Characters of a set go.</summary>
    public sealed record Remove(CharacterSet Characters) : Normalizer
    {
        public override string Apply(string text) => MapCharacters(text, c => Characters.Contains(c) ? -1 : c);
    }

    /// <summary>Something is put before the text.</summary>
    public sealed record Prepend(string Text) : Normalizer
    {
        public override string Apply(string text) => Text + text;
    }

    /// <summary>Matches of a pattern become a text.</summary>
    public sealed record Replace(Pattern Pattern, string Content) : Normalizer
    {
        public override string Apply(string text)
        {
            List<Range> matches = [];
            Pattern.FindAll(text, matches);
            if (matches.Count == 0) return text;
            StringBuilder result = new(text.Length);
            int position = 0;
            foreach (Range match in matches)
            {
                result.Append(text, position, match.Start.Value - position).Append(Content);
                position = match.End.Value;
            }

            return result.Append(text, position, text.Length - position).ToString();
        }
    }

    /// <summary>A text becomes another.</summary>
    public sealed record ReplaceText(string Text, string Content) : Normalizer
    {
        public override string Apply(string text) => text.Replace(Text, Content, StringComparison.Ordinal);
    }

    /// <summary>A map of SentencePiece's, applied to graphemes.</summary>
    public sealed record Precompiled(Charsmap Map) : Normalizer
    {
        public override string Apply(string text) => Map.NormalizeGraphemes(text);
    }

    /// <summary>The text's UTF-8 in the byte alphabet.</summary>
    public sealed record ByteLevel : Normalizer
    {
        public override string Apply(string text) => ByteAlphabet.Encode(text);
    }

    /// <summary>The cleaning of neural machine translation: control characters go, unusual blanks become blanks.</summary>
    public sealed record Nmt : Normalizer
    {
        public override string Apply(string text) => MapCharacters(text, c => c switch
        {
            (>= 1 and <= 8) or 0xB or (>= 0xE and <= 0x1F) or 0x7F or 0x8F or 0x9F => -1,
            9 or 0xA or 0xC or 0xD or 0x1680 or (>= 0x200B and <= 0x200F) or 0x2028 or 0x2029 or 0x2581 or 0xFEFF or 0xFFFD => ' ',
            _ => c,
        });
    }

    /// <summary>The first part of BERT's: control characters go, and white space becomes blanks.</summary>
    public sealed record BertClean : Normalizer
    {
        public override string Apply(string text) => MapCharacters(text, c => c switch
        {
            0 or 0xFFFD => -1,
            '\t' or '\n' or '\r' => ' ',
            _ when CharacterSet.WhiteSpace.Contains(c) => ' ',
            _ when CharUnicodeInfo.GetUnicodeCategory(c) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned => -1,
            _ => c,
        });
    }

    /// <summary>The second part of BERT's: ideographs stand alone.</summary>
    public sealed record BertIdeographs : Normalizer
    {
        public override string Apply(string text)
        {
            StringBuilder result = new(text.Length);
            foreach (Rune rune in text.EnumerateRunes())
            {
                if (IsIdeograph(rune.Value)) result.Append(' ').Append(rune).Append(' ');
                else result.Append(rune);
            }

            return result.ToString();
        }

        private static bool IsIdeograph(int c) => c is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF) or (>= 0x2A700 and <= 0x2B73F)
            or (>= 0x2B740 and <= 0x2B81F) or (>= 0x2B920 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);
    }

    /// <summary>A text with each code point mapped to another, or left out (-1).</summary>
    private static string MapCharacters(string text, Func<int, int> map)
    {
        StringBuilder result = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            int mapped = map(rune.Value);
            if (mapped >= 0) result.Append(new Rune(mapped));
        }

        return result.ToString();
    }
}
