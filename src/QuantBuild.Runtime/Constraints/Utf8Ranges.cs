using System.Text;

namespace QuantBuild.Constraints;

/// <summary>Ranges of characters as ranges of their UTF-8 bytes (as in RE2, Russ Cox, "Regular Expression Matching in the Wild").</summary>
internal static class Utf8Ranges
{
    private static readonly int[] LastOfLength = [0x7F, 0x7FF, 0xFFFF, 0x10FFFF];

    /// <summary>
    /// Sequences of byte ranges that together match the UTF-8 form of the characters of a set, and nothing else.
    /// </summary>
    public static IEnumerable<(byte First, byte Last)[]> Of(CodePointSet set) => set.Ranges.SelectMany(range => Split(range.First, range.Last));

    private static IEnumerable<(byte First, byte Last)[]> Split(int first, int last)
    {
        // Until all characters of a range have the same length, and all bytes but one of its ends run from 80 to BF.
        foreach (int longest in LastOfLength)
        {
            if (first <= longest && last > longest) return Split(first, longest).Concat(Split(longest + 1, last));
        }

        for (int bits = 6; bits <= 18 && last > 0x7F; bits += 6)
        {
            int mask = (1 << bits) - 1;
            if ((first & ~mask) == (last & ~mask)) continue;
            if ((first & mask) != 0) return Split(first, first | mask).Concat(Split((first | mask) + 1, last));
            if ((last & mask) != mask) return Split(first, (last & ~mask) - 1).Concat(Split(last & ~mask, last));
        }

        Span<byte> low = stackalloc byte[4], high = stackalloc byte[4];
        (byte, byte)[] bytes = new (byte, byte)[new Rune(first).EncodeToUtf8(low)];
        new Rune(last).EncodeToUtf8(high);
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (low[i], high[i]);
        return [bytes];
    }
}
