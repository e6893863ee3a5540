using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace QuantBuild.Text.Normalization;

/// <summary>
/// SentencePiece's precompiled normalization: a double-array trie (Darts-clone) of UTF-8 texts, each with the place of what it becomes in a block of texts that end with
/// zero. The bytes are a stranger's: every place in them is checked before it is read.
/// </summary>
internal sealed class Charsmap
{
    private readonly uint[] units;
    private readonly byte[] texts;

    /// <summary>Reads the map.</summary>
    /// <param name="bytes">The trie's length in bytes, little-endian; the trie; the texts.</param>
    /// <exception cref="FormatException">The lengths do not fit.</exception>
    public Charsmap(ReadOnlySpan<byte> bytes)
    {
        uint trieBytes = bytes.Length < 4 ? uint.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        if (trieBytes % 4 != 0 || trieBytes == 0 || trieBytes > bytes.Length - 4)
        {
            throw new FormatException($"the precompiled charsmap of {bytes.Length} bytes does not hold the trie that it announces");
        }

        units = new uint[trieBytes / 4];
        for (int i = 0; i < units.Length; i++) units[i] = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(4 + (4 * i))..]);
        texts = bytes[(4 + (int)trieBytes)..].ToArray();
    }

    /// <summary>Normalizes as SentencePiece does: at each place the longest text of the map.</summary>
    public string NormalizeLongest(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        List<byte> result = new(bytes.Length);
        for (int i = 0; i < bytes.Length;)
        {
            int length = Find(bytes.AsSpan(i), longest: true, out int place);
            if (length > 0)
            {
                result.AddRange(TextAt(place));
            }
            else
            {
                Rune.DecodeFromUtf8(bytes.AsSpan(i), out _, out length);
                result.AddRange(bytes.AsSpan(i, length));
            }

            i += length;
        }

        return Encoding.UTF8.GetString([.. result]);
    }

    /// <summary>
    /// Normalizes as the tokenizers library does: a grapheme of up to five bytes as a whole, else its characters one by one, each becoming what the shortest text of
    /// the map that it begins with becomes.
    /// </summary>
    public string NormalizeGraphemes(string text)
    {
        StringBuilder result = new(text.Length);
        Span<char> units = stackalloc char[2];
        for (int i = 0; i < text.Length;)
        {
            int length = StringInfo.GetNextTextElementLength(text.AsSpan(i));
            ReadOnlySpan<char> grapheme = text.AsSpan(i, length);
            i += length;
            if (Encoding.UTF8.GetByteCount(grapheme) < 6 && Transform(grapheme) is { } whole)
            {
                result.Append(whole);
                continue;
            }

            foreach (Rune rune in grapheme.EnumerateRunes())
            {
                ReadOnlySpan<char> character = units[..rune.EncodeToUtf16(units)];
                if (Transform(character) is { } one) result.Append(one);
                else result.Append(character);
            }
        }

        return result.ToString();
    }

    private string? Transform(ReadOnlySpan<char> chunk)
    {
        Span<byte> bytes = stackalloc byte[16];
        int count = Encoding.UTF8.GetBytes(chunk, bytes);
        return Find(bytes[..count], longest: false, out int place) > 0 ? Encoding.UTF8.GetString(TextAt(place)) : null;
    }

    private ReadOnlySpan<byte> TextAt(int place)
    {
        ReadOnlySpan<byte> rest = place < texts.Length ? texts.AsSpan(place) : [];
        int end = rest.IndexOf((byte)0);
        return end < 0 ? rest : rest[..end];
    }

    /// <summary>The bytes of the shortest or longest text that the key begins with, 0 if none; and its value.</summary>
    private int Find(ReadOnlySpan<byte> key, bool longest, out int value)
    {
        (value, int found) = (0, 0);
        uint place = Offset(units[0]);
        for (int i = 0; i < key.Length; i++)
        {
            if (key[i] == 0) break;
            place ^= key[i];
            if (place >= units.Length) break;
            uint unit = units[place];
            // Label, with the bit that marks a value: Darts-clone's layout.
            if ((unit & 0x800000FF) != key[i]) break;
            place ^= Offset(unit);
            if (place >= units.Length) break;
            if ((unit >> 8 & 1) == 0) continue;
            (value, found) = ((int)(units[place] & 0x7FFFFFFF), i + 1);
            if (!longest) break;
        }

        return found;
    }

    private static uint Offset(uint unit) => unit >> 10 << (int)((unit & (1 << 9)) >> 6);
}
