using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;

namespace QuantBuild.Runtime.Tests.Text;

[Properties(Arbitrary = [typeof(TokenDecoderProperties)], MaxTest = 2000)]
public class TokenDecoderProperties
{
    private static readonly TextTokenizer Tokenizer = TextTokenizer.Load(Sample.TokenizerJson, "tokenizer.json");

    // The token of each byte, as a byte-level vocabulary has them all.
    private static readonly int[] ByteTokens =
        [.. Enumerable.Range(0, 256).Select(b => Enumerable.Range(0, Tokenizer.VocabularySize).First(id => Tokenizer.TokenBytes(id) is [byte only] && only == b))];

    /// <summary>Token ids.</summary>
    public sealed record TokenSequence(int[] Tokens)
    {
        public override string ToString() => string.Join(' ', Tokens.Select(id => Convert.ToHexString(Tokenizer.TokenBytes(id))));
    }

    public static Arbitrary<TokenSequence> Sequences()
    {
        Gen<int[]> Bytes(params byte[] bytes) => Gen.Constant(bytes.Select(b => ByteTokens[b]).ToArray());
        Gen<int[]> any = Gen.Choose(0, 255).Select(b => (int[])[ByteTokens[b]]);
        // The bytes where UTF-8 has its limits, so that random sequences are often nearly right.
        Gen<int[]> critical = Gen.Elements<byte>(0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE2, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF)
            .Select(b => (int[])[ByteTokens[b]]);
        Gen<int[]> whole = Gen.OneOf(Bytes([.. "é"u8]), Bytes([.. "中"u8]), Bytes([.. "😀"u8]), Bytes(0xED, 0x9F, 0xBF), Bytes(0xF4, 0x8F, 0xBF, 0xBF));
        Gen<int[]> words = Gen.Choose(0, Tokenizer.VocabularySize - 1).Select(id => (int[])[id]);
        return Gen.Frequency((1, any), (4, critical), (2, whole), (1, words)).ArrayOf().Select(parts => new TokenSequence([.. parts.SelectMany(p => p)])).ToArbitrary();
    }

    [Property]
    public void Tokens_one_by_one_give_the_text_of_all_their_bytes_and_each_character_as_soon_as_it_is_decided(TokenSequence sequence)
    {
        TokenDecoder decoder = Tokenizer.CreateDecoder();
        List<byte> bytes = [];
        StringBuilder text = new();
        foreach (int token in sequence.Tokens)
        {
            bytes.AddRange(Tokenizer.TokenBytes(token));
            string piece = decoder.Append(token);
            // Whole characters: no surrogate without its other half.
            Assert.Equal(piece, string.Concat(piece.EnumerateRunes()));
            Assert.Equal(Decode(bytes, atEnd: false), text.Append(piece).ToString());
        }

        string all = Decode(bytes, atEnd: true);
        Assert.Equal(all, text.Append(decoder.Finish()).ToString());
        Assert.Equal(all, Tokenizer.Decode(sequence.Tokens));
    }

    /// <summary>
    /// UTF-8 by table 3-7 of the Unicode Standard: the longest beginning of a character that cannot go on as it does becomes one U+FFFD (section 3.9). What is
    /// incomplete at the end is left out, or if nothing follows, becomes U+FFFD too.
    /// </summary>
    private static string Decode(List<byte> bytes, bool atEnd)
    {
        StringBuilder text = new();
        for (int i = 0; i < bytes.Count;)
        {
            int lead = bytes[i++];
            (int more, int low, int high) = lead switch
            {
                < 0x80 => (0, 0, 0),
                >= 0xC2 and <= 0xDF => (1, 0x80, 0xBF),
                0xE0 => (2, 0xA0, 0xBF),
                0xED => (2, 0x80, 0x9F),
                >= 0xE1 and <= 0xEF => (2, 0x80, 0xBF),
                0xF0 => (3, 0x90, 0xBF),
                >= 0xF1 and <= 0xF3 => (3, 0x80, 0xBF),
                0xF4 => (3, 0x80, 0x8F),
                _ => (-1, 0, 0),
            };
            int character = more <= 0 ? lead : lead & (0x3F >> more);
            while (more > 0 && i < bytes.Count && bytes[i] >= low && bytes[i] <= high)
            {
                character = (character << 6) | (bytes[i++] & 0x3F);
                (low, high) = (0x80, 0xBF);
                more--;
            }

            if (more == 0) text.Append(new Rune(character).ToString());
            else if (more < 0 || i < bytes.Count || atEnd) text.Append('\uFFFD');
        }

        return text.ToString();
    }
}
