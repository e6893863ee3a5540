using System.Text;
using QuantBuild.Text.Patterns;

namespace QuantBuild.Text;

/// <summary>What becomes of the matches that a text is split at.</summary>
internal enum SplitBehavior
{
    /// <summary>A match is a word of its own.</summary>
    Isolated,

    /// <summary>A match is left out.</summary>
    Removed,

    /// <summary>A match is the end of the word before it.</summary>
    MergedWithPrevious,

    /// <summary>A match is the beginning of the word after it.</summary>
    MergedWithNext,

    /// <summary>Matches in a row are one word.</summary>
    Contiguous,
}

/// <summary>A step of cutting a text into the words that a model works on.</summary>
internal abstract record PreTokenizer
{
    /// <summary>Cuts a word.</summary>
    /// <param name="word">What the steps before made.</param>
    /// <param name="first">Whether the whole text begins with it.</param>
    /// <param name="words">Receives what it becomes; empty words are left out.</param>
    public abstract void Apply(ReadOnlyMemory<char> word, bool first, List<ReadOnlyMemory<char>> words);

    /// <summary>Cuts at the matches of a pattern.</summary>
    /// <param name="Pattern">What matches.</param>
    /// <param name="Behavior">What becomes of matches.</param>
    /// <param name="Invert">Whether what lies between the matches counts as match, and they as what lies between.</param>
    public sealed record Split(Pattern Pattern, SplitBehavior Behavior, bool Invert = false) : PreTokenizer
    {
        public override void Apply(ReadOnlyMemory<char> word, bool first, List<ReadOnlyMemory<char>> words)
        {
            List<Range> matches = [];
            Pattern.FindAll(word.Span, matches);
            int position = 0;
            // The word that is being put together, and whether the piece last added to it was a match.
            (int start, int end) = (0, 0);
            bool lastMatched = false;
            foreach (Range match in matches)
            {
                if (match.Start.Value > position) Add(position, match.Start.Value, Invert);
                Add(match.Start.Value, match.End.Value, !Invert);
                position = match.End.Value;
            }

            if (position < word.Length) Add(position, word.Length, Invert);
            Flush();

            void Add(int from, int to, bool matched)
            {
                bool joins = Behavior switch
                {
                    SplitBehavior.Contiguous => matched == lastMatched,
                    SplitBehavior.MergedWithPrevious => matched && !lastMatched,
                    SplitBehavior.MergedWithNext => !matched && lastMatched,
                    _ => false,
                };
                if (!joins) Flush();
                lastMatched = matched;
                if (matched && Behavior == SplitBehavior.Removed) (start, end) = (to, to);
                else (start, end) = (joins ? start : from, to);
            }

            void Flush()
            {
                if (end > start) words.Add(word[start..end]);
                start = end;
            }
        }
    }

    /// <summary>Writes blanks as a visible character, puts one before the text, and cuts before each.</summary>
    /// <param name="Replacement">The character, U+2581 as a rule.</param>
    /// <param name="PrependFirst">Whether one is put before the whole text.</param>
    /// <param name="PrependAlways">Whether one is put before what follows an added token, too.</param>
    /// <param name="Splits">Whether it cuts.</param>
    public sealed record Metaspace(char Replacement, bool PrependFirst, bool PrependAlways, bool Splits) : PreTokenizer
    {
        public override void Apply(ReadOnlyMemory<char> word, bool first, List<ReadOnlyMemory<char>> words)
        {
            string text = word.ToString().Replace(' ', Replacement);
            if ((PrependAlways || (PrependFirst && first)) && text[0] != Replacement) text = Replacement + text;
            int start = 0;
            for (int i = 1; Splits && i < text.Length; i++)
            {
                if (text[i] != Replacement) continue;
                words.Add(text.AsMemory(start, i - start));
                start = i;
            }

            words.Add(text.AsMemory(start));
        }
    }

    /// <summary>Writes a word's UTF-8 in the byte alphabet, after cutting it.</summary>
    /// <param name="PrefixSpace">Whether a blank is put before a word that has none.</param>
    /// <param name="Pattern">What to cut at, if at anything.</param>
    public sealed record ByteLevel(bool PrefixSpace, Pattern? Pattern) : PreTokenizer
    {
        /// <summary>The pattern of GPT-2.</summary>
        public static Pattern Gpt2Pattern { get; } = Pattern.Parse(@"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+");

        public override void Apply(ReadOnlyMemory<char> word, bool first, List<ReadOnlyMemory<char>> words)
        {
            if (PrefixSpace && word.Span[0] != ' ') word = (" " + word.ToString()).AsMemory();
            if (Pattern is null)
            {
                words.Add(ByteAlphabet.Encode(word.Span).AsMemory());
                return;
            }

            List<ReadOnlyMemory<char>> cut = [];
            new Split(Pattern, SplitBehavior.Isolated).Apply(word, first, cut);
            foreach (ReadOnlyMemory<char> part in cut) words.Add(ByteAlphabet.Encode(part.Span).AsMemory());
        }
    }
}
