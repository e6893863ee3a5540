using System.Buffers;
using System.Text;
using QuantBuild.Text.Patterns;

namespace QuantBuild.Text;

/// <summary>A token that is matched in the text itself, before it is cut into words.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its text.</param>
internal sealed record AddedToken(int Id, string Content)
{
    /// <summary>Whether decoding leaves it out.</summary>
    public bool Special { get; init; }

    /// <summary>Whether it matches only between characters that are not of a word.</summary>
    public bool SingleWord { get; init; }

    /// <summary>Whether it takes the white space before it.</summary>
    public bool StripLeft { get; init; }

    /// <summary>Whether it takes the white space after it.</summary>
    public bool StripRight { get; init; }

    /// <summary>Whether it is matched in the normalized text, else in the text as it was given.</summary>
    public bool Normalized { get; init; }

    /// <summary>What to look for in the normalized text, where it is not the normalized content.</summary>
    public string? SoughtAs { get; init; }
}

/// <summary>Finds added tokens: the leftmost first, of those that begin at one place the longest.</summary>
internal sealed class AddedTokens
{
    private static readonly CharacterSet WordCharacters = PatternParser.ParseClass(PatternParser.UnicodeWord);

    private readonly AddedToken[] tokens;
    private readonly TextTrie trie;
    private readonly SearchValues<char> firstCharacters;

    /// <summary>Makes the search.</summary>
    /// <param name="contents">The tokens, each with what to look for.</param>
    public AddedTokens(IEnumerable<(AddedToken Token, string Content)> contents)
    {
        (AddedToken Token, string Content)[] sought = [.. contents.Where(c => c.Content.Length > 0)];
        tokens = [.. sought.Select(s => s.Token)];
        trie = new TextTrie(sought.Select((s, i) => KeyValuePair.Create(s.Content, i)));
        firstCharacters = SearchValues.Create([.. sought.Select(s => s.Content[0]).Distinct()]);
    }

    /// <summary>The pieces of a text in order: a token, or a stretch of plain text where the token is <see langword="null"/>.</summary>
    public List<(Range Range, AddedToken? Token)> Split(string text)
    {
        List<(Range, AddedToken?)> pieces = [];
        int position = 0;
        for (int search = 0; search < text.Length;)
        {
            int found = text.AsSpan(search).IndexOfAny(firstCharacters);
            if (found < 0) break;
            int start = search + found;
            int length = trie.LongestPrefix(TextTrie.Root, text.AsSpan(start), out int index);
            search = start + Math.Max(1, length);
            // As the reference has it: the longest match decides, and is dropped where it is not a word of its own.
            if (length == 0 || (tokens[index].SingleWord && InWord(text, start, start + length)) || start < position) continue;
            AddedToken token = tokens[index];
            int end = start + length;
            while (token.StripLeft && start > position && char.IsWhiteSpace(text[start - 1])) start--;
            while (token.StripRight && end < text.Length && char.IsWhiteSpace(text[end])) end++;
            if (start > position) pieces.Add((position..start, null));
            pieces.Add((start..end, token));
            position = end;
        }

        if (position < text.Length) pieces.Add((position..text.Length, null));
        return pieces;
    }

    private static bool InWord(string text, int start, int end)
    {
        Rune.DecodeLastFromUtf16(text.AsSpan(0, start), out Rune before, out int beforeLength);
        Rune.DecodeFromUtf16(text.AsSpan(end), out Rune after, out int afterLength);
        return (beforeLength > 0 && WordCharacters.Contains(before.Value)) || (afterLength > 0 && WordCharacters.Contains(after.Value));
    }
}
