using System.Diagnostics;

namespace QuantBuild.Runtime.Tests.Text;

public class ExpectationTests
{
    public static TheoryData<string> TokenizerNames { get; } = [.. Expectations.TokenizerNames];

    public static TheoryData<string> SentencePieceNames { get; } = [.. Expectations.SentencePieceNames];

    [Theory]
    [MemberData(nameof(TokenizerNames))]
    public void Tokens_and_text_are_those_of_the_tokenizers_library(string name)
    {
        TextTokenizer tokenizer = Expectations.Load(name);
        foreach ((string text, string ids, string bare, string decoded) in Expectations.OfTokenizer(name))
        {
            Assert.Equal((text, ids), (text, string.Join(' ', tokenizer.Encode(text))));
            Assert.Equal((text, bare), (text, string.Join(' ', tokenizer.Encode(text, addSpecialTokens: false))));
            Assert.Equal((text, UntilInvalid(decoded)), (text, UntilInvalid(tokenizer.Decode(tokenizer.Encode(text)))));
            AssertStreamed(tokenizer, text);
        }
    }

    [Theory]
    [MemberData(nameof(SentencePieceNames))]
    public void Tokens_and_text_are_those_of_SentencePiece(string name)
    {
        TextTokenizer tokenizer = TextTokenizer.Load(Expectations.SentencePiece(name), name);
        int first = Expectations.BeginOfText(name);
        foreach ((string text, string expected, string? decoded) in Expectations.OfSentencePiece(name))
        {
            IReadOnlyList<int> ids = tokenizer.Encode(text, addSpecialTokens: false);
            Assert.Equal((text, expected), (text, string.Join(' ', ids)));
            Assert.Equal(first < 0 ? ids : [first, .. ids], tokenizer.Encode(text));
            // Versions of SentencePiece differ about blanks at the beginning beyond the one that it put there.
            if (decoded is not null) Assert.Equal((text, decoded.TrimStart()), (text, tokenizer.Decode(ids).TrimStart()));
            AssertStreamed(tokenizer, text);
        }
    }

    [Theory]
    [InlineData("Llama 2", "a")]
    [InlineData("Llama 2", " ")]
    [InlineData("Llama 2", "狐")]
    [InlineData("Mistral (Metaspace first)", "ab")]
    [InlineData("GPT-4o", "Aa")]
    [InlineData("DeepSeek V3", "!a")]
    [InlineData("Qwen 2", "e\u0301")]
    [InlineData("T5", "a")]
    [InlineData("T5", "\u0301")]
    [InlineData("XLM-R", "the")]
    [InlineData("Unigram with byte fallback", "😀")]
    [InlineData("BERT", "a")]
    [InlineData("BERT", "狐")]
    [InlineData("Splits of all behaviors", "A.")]
    [InlineData("Inner prefix and end suffix", "fox")]
    public void Long_texts_take_linear_time(string name, string unit)
    {
        TextTokenizer tokenizer = Expectations.Load(name);
        string text = string.Concat(Enumerable.Repeat(unit, 500_000 / unit.Length));
        long start = Stopwatch.GetTimestamp();
        tokenizer.Decode(tokenizer.Encode(text));
        // A second as a rule; quadratic time would be many minutes.
        Assert.InRange(Stopwatch.GetElapsedTime(start), TimeSpan.Zero, TimeSpan.FromSeconds(40));
    }

    [Fact]
    public void A_text_that_goes_on_keeps_the_blank_before_its_first_word()
    {
        TextTokenizer tokenizer = Expectations.Load("Llama 2");
        IReadOnlyList<int> ids = tokenizer.Encode("the fox", addSpecialTokens: false);
        Assert.Equal("the fox", tokenizer.Decode(ids));
        TokenDecoder decoder = tokenizer.CreateDecoder(continues: true);
        Assert.Equal(" the fox", string.Concat(ids.Select(decoder.Append)) + decoder.Finish());
    }

    [Fact]
    public void Bytes_of_a_character_come_as_one_and_broken_ones_as_the_replacement_character()
    {
        TextTokenizer tokenizer = Expectations.Load("Llama 2");
        int[] emoji = [.. tokenizer.Encode("a🉐", addSpecialTokens: false)];
        Assert.Equal(4, emoji[^4..].Count(id => tokenizer.TokenBytes(id).Length == 1));
        TokenDecoder decoder = tokenizer.CreateDecoder();
        Assert.Equal(["", "", "", "🉐"], emoji[^4..].Select(decoder.Append));
        int fox = Assert.Single(tokenizer.Encode("fox", addSpecialTokens: false).TakeLast(1));
        Assert.Equal("\uFFFD fox", tokenizer.Decode([.. emoji[^4..^1], fox]));
    }

    private static void AssertStreamed(TextTokenizer tokenizer, string text)
    {
        IReadOnlyList<int> ids = tokenizer.Encode(text);
        TokenDecoder decoder = tokenizer.CreateDecoder();
        Assert.Equal(tokenizer.Decode(ids), string.Concat(ids.Select(decoder.Append)) + decoder.Finish());
    }

    // Of bytes that are not UTF-8, and of bytes beside them, the library makes one U+FFFD each; here it is one for what cannot go on, as Unicode recommends.
    private static string UntilInvalid(string text) => text.Contains('\uFFFD') ? text[..text.IndexOf('\uFFFD')] : text;
}
