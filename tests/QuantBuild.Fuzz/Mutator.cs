using System.Text;

namespace QuantBuild.Fuzz;

/// <summary>
/// Changes valid inputs a little: bytes, numbers in binary and in text, lengths, nesting, repetition, parts of another input. The same seed gives the same inputs.
/// </summary>
/// <param name="random">Where chance comes from.</param>
internal sealed class Mutator(Random random)
{
    private const int LongestInput = 1 << 17;

    private static readonly ulong[] Numbers =
    [
        0, 1, 2, 3, 7, 8, 16, 31, 32, 63, 64, 127, 128, 255, 256, 1000, 4096, 32767, 32768, 65535, 65536, 1 << 20, 1 << 24, int.MaxValue, 1UL << 31, uint.MaxValue, 1UL << 32, 1UL << 40, long.MaxValue,
        1UL << 63, ulong.MaxValue - 7, ulong.MaxValue,
    ];

    private static readonly string[] Texts =
    [
        "0", "-1", "1", "1e308", "1e999", "-0", "0.1", "2147483647", "2147483648", "9223372036854775807", "18446744073709551616", "1e-400", "null", "true", "false", "\"\"", "[]", "{}", "[[]]", "\"\\u0000\"",
        "\"\\ud800\"", "\"..\"", "\"../../etc/passwd\"", "\"/etc/passwd\"", "\"(a+)+$\"", "\"(?:a|a)*b\"", "\"\\\\p{L}\"", "\"[\"", "\"type\"", "\"id\"", "\"Sequence\"",
    ];

    /// <summary>A changed input.</summary>
    /// <param name="seeds">Valid inputs.</param>
    /// <param name="isText">Whether they are JSON or another text.</param>
    public byte[] Next(IReadOnlyList<byte[]> seeds, bool isText)
    {
        List<byte> bytes = [.. seeds[random.Next(seeds.Count)]];
        for (int changes = 1 << random.Next(4); changes > 0 && bytes.Count > 0; changes--)
        {
            if (isText && random.Next(3) > 0) ChangeText(bytes, seeds);
            else ChangeBytes(bytes, seeds);
            if (bytes.Count > LongestInput) bytes.RemoveRange(LongestInput, bytes.Count - LongestInput);
        }

        return [.. bytes];
    }

    private void ChangeBytes(List<byte> bytes, IReadOnlyList<byte[]> seeds)
    {
        int at = random.Next(bytes.Count);
        switch (random.Next(9))
        {
            case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
            case 1: bytes[at] = (byte)random.Next(256); break;
            case 2: Overwrite(bytes, at, BitConverter.GetBytes(Numbers[random.Next(Numbers.Length)]).AsSpan(0, 1 << random.Next(4))); break;
            case 3: // A number that is nearly what it was.
                if (at + 4 <= bytes.Count) bytes[at] = (byte)(bytes[at] + random.Next(-4, 5));
                break;
            case 4: bytes.RemoveRange(at, random.Next(Math.Min(bytes.Count - at, 64)) + 1); break;
            case 5: bytes.InsertRange(at, bytes.GetRange(at, random.Next(Math.Min(bytes.Count - at, 256)) + 1)); break;
            case 6: bytes.RemoveRange(at, bytes.Count - at); break;
            case 7:
                byte[] other = seeds[random.Next(seeds.Count)];
                int from = random.Next(other.Length);
                Overwrite(bytes, at, other.AsSpan(from, random.Next(Math.Min(other.Length - from, 128)) + 1));
                break;
            default: // The same again and again: what is nested, or remembered.
                byte[] part = [.. bytes.GetRange(at, random.Next(Math.Min(bytes.Count - at, 16)) + 1)];
                for (int times = random.Next(1 << random.Next(14)); times > 0; times--) bytes.InsertRange(at, part);
                break;
        }
    }

    private void ChangeText(List<byte> bytes, IReadOnlyList<byte[]> seeds)
    {
        (int start, int length) = Token(bytes);
        switch (random.Next(6))
        {
            case 0: Replace(bytes, start, length, Encoding.UTF8.GetBytes(Texts[random.Next(Texts.Length)])); break;
            case 1: // One token of the text in the place of another.
                (int from, int count) = Token(bytes);
                Replace(bytes, start, length, bytes.GetRange(from, count).ToArray());
                break;
            case 2:
                List<byte> other = [.. seeds[random.Next(seeds.Count)]];
                (from, count) = Token(other);
                Replace(bytes, start, length, other.GetRange(from, count).ToArray());
                break;
            case 3: Replace(bytes, start, length, []); break;
            case 4:
                int depth = 1 << random.Next(14);
                bool isList = random.Next(2) == 0;
                bytes.InsertRange(start, Enumerable.Repeat(Encoding.UTF8.GetBytes(isList ? "[" : "{\"a\":"), depth).SelectMany(part => part));
                break;
            default: Replace(bytes, start, length, Encoding.UTF8.GetBytes("\"" + new string((char)random.Next(' ', 0x2fff), random.Next(1 << random.Next(12))) + "\"")); break;
        }
    }

    /// <summary>A text in quotes, or a run of letters and digits, at or after some place.</summary>
    private (int Start, int Length) Token(List<byte> bytes)
    {
        static bool IsWord(byte b) => b is (>= (byte)'0' and <= (byte)'9') or (>= (byte)'a' and <= (byte)'z') or (>= (byte)'A' and <= (byte)'Z') or (byte)'.' or (byte)'-' or (byte)'_';
        int start = random.Next(bytes.Count);
        while (start < bytes.Count - 1 && bytes[start] != '"' && !IsWord(bytes[start])) start++;
        int end = start + 1;
        if (bytes[start] == '"')
        {
            while (end < bytes.Count && bytes[end] != '"') end++;
            end = Math.Min(end + 1, bytes.Count);
        }
        else
        {
            while (end < bytes.Count && IsWord(bytes[end])) end++;
        }

        return (start, end - start);
    }

    private static void Replace(List<byte> bytes, int start, int length, ReadOnlySpan<byte> with)
    {
        bytes.RemoveRange(start, length);
        bytes.InsertRange(start, with.ToArray());
    }

    private static void Overwrite(List<byte> bytes, int at, ReadOnlySpan<byte> with)
    {
        for (int i = 0; i < with.Length && at + i < bytes.Count; i++) bytes[at + i] = with[i];
    }
}
