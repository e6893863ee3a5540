using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;

namespace QuantBuild.Runtime.Tests.Text;

[Properties(Arbitrary = [typeof(TokenizerProperties)], MaxTest = 300)]
public class TokenizerProperties
{
    private static readonly TextTokenizer[] ByteLevel = [.. new[] { "Llama 3", "DeepSeek V3", "GPT-4o", "Falcon", "StarCoder", "Possessive (GPT-4)" }.Select(Expectations.Load)];
    private static readonly TextTokenizer[] ByteFallback = [.. new[] { "Llama 2", "Gemma", "Unigram with byte fallback" }.Select(Expectations.Load)];
    private static readonly TextTokenizer SentencePiece = TextTokenizer.Load(Expectations.SentencePiece("BPE, byte fallback"), "tokenizer.model");

    /// <summary>A text of any characters, without what is a token as it stands.</summary>
    public sealed record AnyText(string Text)
    {
        public override string ToString() => string.Join(' ', Text.Select(c => ((int)c).ToString("X4")));
    }

    public static Arbitrary<AnyText> AnyTexts()
    {
        Gen<string> rune = Gen.Choose(0, 0x10FFFF).Where(Rune.IsValid).Select(char.ConvertFromUtf32);
        Gen<string> ascii = Gen.Choose(0, 127).Select(char.ConvertFromUtf32);
        Gen<string> word = Gen.Elements("the", " fox", "  ", "\n\n", "\r\n", "'s", "狐狸", "é", "e\u0301", "👨‍👩‍👧", "123", "\u0000");
        // The sign that stands for a blank becomes one.
        return Gen.Frequency((1, rune), (2, ascii), (3, word)).ArrayOf().Select(parts => new AnyText(string.Concat(parts).Replace("\u2581", "").Replace("<", ""))).ToArbitrary();
    }

    [Property]
    public void Any_text_survives_byte_level_tokens(AnyText text)
    {
        foreach (TextTokenizer tokenizer in ByteLevel) Assert.Equal(text.Text, tokenizer.Decode(tokenizer.Encode(text.Text)));
    }

    [Property]
    public void Any_text_survives_byte_fallback(AnyText text)
    {
        // Where a blank is put before the text, one is taken from it; where none is, a blank at the beginning is the text's own.
        Assert.Equal(text.Text, ByteFallback[0].Decode(ByteFallback[0].Encode(text.Text)));
        Assert.Equal(text.Text, ByteFallback[1].Decode(ByteFallback[1].Encode(text.Text)));
        string without = text.Text.StartsWith(' ') ? text.Text[1..] : text.Text;
        Assert.Equal(without, ByteFallback[2].Decode(ByteFallback[2].Encode(text.Text)));
        Assert.Equal(text.Text, SentencePiece.Decode(SentencePiece.Encode(text.Text)));
    }

    [Property]
    public void Tokens_one_by_one_are_the_text_of_all(AnyText text)
    {
        foreach (TextTokenizer tokenizer in (IEnumerable<TextTokenizer>)[.. ByteLevel, .. ByteFallback, SentencePiece])
        {
            IReadOnlyList<int> ids = tokenizer.Encode(text.Text);
            TokenDecoder decoder = tokenizer.CreateDecoder();
            StringBuilder streamed = new();
            foreach (int id in ids)
            {
                string piece = decoder.Append(id);
                Assert.Equal(piece, string.Concat(piece.EnumerateRunes()));
                streamed.Append(piece);
            }

            Assert.Equal(tokenizer.Decode(ids), streamed + decoder.Finish());
        }
    }

    [Property]
    public void Texts_on_both_sides_of_an_added_token_have_their_own_tokens(AnyText left, AnyText right)
    {
        foreach (TextTokenizer tokenizer in ByteLevel[..2])
        {
            int special = Assert.Single(tokenizer.Encode("<s>", addSpecialTokens: false));
            Assert.Equal(
                [.. tokenizer.Encode(left.Text, addSpecialTokens: false), special, .. tokenizer.Encode(right.Text, addSpecialTokens: false)],
                tokenizer.Encode(left.Text + "<s>" + right.Text, addSpecialTokens: false));
        }
    }
}
