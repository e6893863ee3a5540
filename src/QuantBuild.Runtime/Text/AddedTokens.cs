using System.Buffers;

namespace QuantBuild.Text;

/// <summary>A token that is matched in the text itself, before it is cut into words.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Content">Its text.</param>
/// <param name="Special">Whether decoding leaves it out.</param>
/// <param name="SingleWord">Whether it matches only between characters that are not of a word.</param>
/// <param name="StripLeft">Whether it takes the white space before it.</param>
/// <param name="StripRight">Whether it takes the white space after it.</param>
internal sealed record AddedToken(int Id, string Content, bool Special, bool SingleWord, bool StripLeft, bool StripRight);

/// <summary>Finds added tokens: the leftmost first, of those that begin at one place the longest.</summary>
internal sealed class AddedTokens
{
    private readonly AddedToken[] longestFirst;
    private readonly SearchValues<char> firstCharacters;

    public AddedTokens(IEnumerable<AddedToken> tokens)
    {
        longestFirst = [.. tokens.Where(t => t.Content.Length > 0).OrderByDescending(t => t.Content.Length)];
        firstCharacters = SearchValues.Create([.. longestFirst.Select(t => t.Content[0]).Distinct()]);
    }

    /// <summary>The pieces of a text in order: a token, or a stretch of plain text where the token is <see langword="null"/>.</summary>
    public IEnumerable<(Range Range, AddedToken? Token)> Split(string text)
    {
        int position = 0;
        for (int search = 0; search < text.Length;)
        {
            int found = text.AsSpan(search).IndexOfAny(firstCharacters);
            if (found < 0) break;
            int start = search + found;
            if (Match(text, start) is not { } token)
            {
                search = start + 1;
                continue;
            }

            int end = start + token.Content.Length;
            search = end;
            while (token.StripLeft && start > position && char.IsWhiteSpace(text[start - 1])) start--;
            while (token.StripRight && end < text.Length && char.IsWhiteSpace(text[end])) end++;
            if (start > position) yield return (position..start, null);
            yield return (start..end, token);
            position = end;
            search = Math.Max(search, position);
        }

        if (position < text.Length) yield return (position..text.Length, null);
    }

    private AddedToken? Match(string text, int start)
    {
        foreach (AddedToken token in longestFirst)
        {
            if (string.CompareOrdinal(text, start, token.Content, 0, token.Content.Length) != 0) continue;
            // As the reference has it: the longest match decides, and is dropped where it is not a word of its own.
            int end = start + token.Content.Length;
            bool inWord = (start > 0 && IsWordCharacter(text[start - 1])) || (end < text.Length && IsWordCharacter(text[end]));
            return token.SingleWord && inWord ? null : token;
        }

        return null;
    }

    private static bool IsWordCharacter(char c) => char.IsLetterOrDigit(c) || c == '_';
}
