using System.Text;
using QuantBuild.Text;

namespace QuantBuild;

/// <summary>
/// Turns tokens into text as they come. A token may hold a part of a character: text is given out in whole characters only. What is not UTF-8, and what is
/// incomplete at the end, becomes U+FFFD.
/// </summary>
public sealed class TokenDecoder
{
    private readonly TextTokenizer tokenizer;
    private readonly Dictionary<int, byte[]> visible;
    private readonly Decoder decoder = Encoding.UTF8.GetDecoder();

    // How many characters may still go from the beginning, and those held back because they may be at the end.
    private int strippedAtStart;
    private string held = "";
    private bool first;

    internal TokenDecoder(TextTokenizer tokenizer, bool continues, Dictionary<int, byte[]> visible)
    {
        (this.tokenizer, this.visible) = (tokenizer, visible);
        first = !continues;
        strippedAtStart = continues ? 0 : tokenizer.StrippedEnds?.Start ?? 0;
    }

    /// <summary>Takes one token; the text that is now certain, which may be empty.</summary>
    public string Append(int id)
    {
        ReadOnlySpan<byte> bytes = tokenizer.TokenBytes(id, first);
        if (visible.TryGetValue(id, out byte[]? mark)) bytes = mark;
        else if (!tokenizer.IsText(id)) return "";
        first = false;
        return Strip(Decode(bytes, flush: false));
    }

    /// <summary>Ends the stream; U+FFFD if a character was left incomplete, else nothing.</summary>
    public string Finish()
    {
        string text = Strip(Decode([], flush: true));
        held = "";
        return text;
    }

    private string Decode(ReadOnlySpan<byte> bytes, bool flush)
    {
        // At most one character for each byte, and one for what was held back.
        Span<char> characters = bytes.Length < 256 ? stackalloc char[bytes.Length + 2] : new char[bytes.Length + 2];
        int count = decoder.GetChars(bytes, characters, flush);
        return new string(characters[..count]);
    }

    /// <summary>Leaves out what the ends of the whole text do not have.</summary>
    private string Strip(string text)
    {
        if (tokenizer.StrippedEnds is not { } ends || text.Length == 0) return text;
        int start = 0;
        while (start < text.Length && strippedAtStart > 0 && text[start] == ends.Content) (start, strippedAtStart) = (start + 1, strippedAtStart - 1);
        if (start < text.Length) strippedAtStart = 0;
        text = held + text[start..];
        int end = text.Length;
        while (end > 0 && text.Length - end < ends.Stop && text[end - 1] == ends.Content) end--;
        held = text[end..];
        return text[..end];
    }
}
