using System.Text;

namespace QuantBuild;

/// <summary>
/// Turns tokens into text as they come. A token may hold a part of a character: text is given out in whole characters only. What is not UTF-8, and what is
/// incomplete at the end, becomes U+FFFD.
/// </summary>
public sealed class TokenDecoder
{
    private readonly TextTokenizer tokenizer;
    private readonly Decoder decoder = Encoding.UTF8.GetDecoder();

    internal TokenDecoder(TextTokenizer tokenizer) => this.tokenizer = tokenizer;

    /// <summary>Takes one token; the text that is now certain, which may be empty.</summary>
    public string Append(int id) => Decode(tokenizer.TokenBytes(id), flush: false);

    /// <summary>Ends the stream; U+FFFD if a character was left incomplete, else nothing.</summary>
    public string Finish() => Decode([], flush: true);

    private string Decode(ReadOnlySpan<byte> bytes, bool flush)
    {
        // At most one character for each byte, and one for what was held back.
        Span<char> characters = bytes.Length < 256 ? stackalloc char[bytes.Length + 2] : new char[bytes.Length + 2];
        int count = decoder.GetChars(bytes, characters, flush);
        return new string(characters[..count]);
    }
}
