using System.Text;

namespace QuantBuild.Text;

/// <summary>
/// The alphabet of byte-level BPE: each byte is written as one printable character, so that a vocabulary of any bytes is a list of texts. Printable
/// Latin-1 stands for itself; the other 68 bytes, in order, are U+0100 onwards. (GPT-2, Radford et al., 2019.)
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] Letters = MakeLetters();
    private static readonly Dictionary<char, byte> Bytes = Letters.Select((letter, value) => (letter, value)).ToDictionary(p => p.letter, p => (byte)p.value);

    /// <summary>The character that stands for a byte.</summary>
    public static char Letter(byte value) => Letters[value];

    /// <summary>Writes a text's UTF-8 bytes in the alphabet.</summary>
    public static string Encode(ReadOnlySpan<char> text) => Encode(Encoding.UTF8.GetBytes(text.ToArray()));

    /// <summary>Writes bytes in the alphabet.</summary>
    public static string Encode(byte[] bytes)
    {
        return string.Create(bytes.Length, bytes, (letters, source) =>
        {
            for (int i = 0; i < source.Length; i++) letters[i] = Letters[source[i]];
        });
    }

    /// <summary>The bytes of a token, or those of its UTF-8 form where it is not written in the alphabet (an added token).</summary>
    public static byte[] Decode(string token)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            if (!Bytes.TryGetValue(token[i], out bytes[i])) return Encoding.UTF8.GetBytes(token);
        }

        return bytes;
    }

    private static char[] MakeLetters()
    {
        char[] letters = new char[256];
        char next = (char)256;
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            letters[value] = printable ? (char)value : next++;
        }

        return letters;
    }
}
