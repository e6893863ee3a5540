using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;

namespace QuantBuild.Runtime.Tests.Text;

public class TextTokenizerTests
{
    private static readonly TextTokenizer Tokenizer = TextTokenizer.Load(Sample.TokenizerJson, "tokenizer.json");
    private static readonly ReferenceBpe Reference = new(Sample.TokenizerJson);

    public static TheoryData<string> Texts { get; } =
    [
        "Hello, world!",
        "It's HE'LL they'Re we'd 'Twas 's",
        "for (int i = 0; i < n; i++)\n{\n\tsum += a[i] * 0x1F;   // twelve 123456789\r\n}\n\n\n",
        "   leading, trailing   ",
        " \t \n \r\n  x\u00a0y\u3000z\u2028",
        "\U0001F600abc \U0001F468\u200D\U0001F469\u200D\U0001F467 na\u00EFve caf\u00E9 e\u0301",
        "\U0001D49C\U0001D4B7 \U00010330\U00010331\U00010332 \U0001D7D8\U0001D7D9\U0001D7DA\U0001D7DB \U00011F50x",
        "Привет, мир! 日本語のテキスト 한국어 العربية १२३४५ ⅧⅨ x²",
        "!!!\n\n ...\r\n$100,000.00 50%",
        "\0\u0001\u007f",
        "a",
        "\n",
        " ",
    ];

    [Theory]
    [MemberData(nameof(Texts))]
    public void Tokens_are_those_of_the_definition(string text)
    {
        Assert.Equal(Reference.Encode(text), Tokenizer.Encode(text, addSpecialTokens: false));
        Assert.Equal(text, Tokenizer.Decode(Tokenizer.Encode(text)));
    }

    [Fact]
    public void Tokens_of_the_evaluation_text_are_those_of_the_definition()
    {
        Assert.Equal(Reference.Encode(Sample.EvaluationText), Tokenizer.Encode(Sample.EvaluationText, addSpecialTokens: false));
    }

    [Fact]
    public void Tokens_of_random_text_are_those_of_the_definition()
    {
        Random random = new(1);
        string[] alphabet = ["a", "B", "'", "s", "ll", " ", "  ", "\n", "\r", "\t", "1", "23", ".", "-", "é", "ß", "中", "\U0001F600", "\U0001D49C", "\U0001D7D8", "the", "ing", "\u0301"];
        for (int trial = 0; trial < 500; trial++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(1, 40)).Select(_ => alphabet[random.Next(alphabet.Length)]));
            Assert.Equal(Reference.Encode(text), Tokenizer.Encode(text, addSpecialTokens: false));
        }
    }

    [Fact]
    public void The_evaluation_text_survives_encoding_and_decoding()
    {
        Assert.Equal(Sample.EvaluationText, Tokenizer.Decode(Tokenizer.Encode(Sample.EvaluationText)));
    }

    [Fact]
    public void The_template_puts_the_first_token_before_the_text()
    {
        Assert.Equal([4093, .. Tokenizer.Encode("Once", addSpecialTokens: false)], Tokenizer.Encode("Once"));
        Assert.Equal([4093], Tokenizer.Encode(""));
        Assert.Empty(Tokenizer.Encode("", addSpecialTokens: false));
        Assert.Equal(4096, Tokenizer.VocabularySize);
    }

    [Fact]
    public void Special_tokens_are_recognized_in_the_text_and_left_out_of_decoded_text()
    {
        IReadOnlyList<int> ids = Tokenizer.Encode("one<|end_of_text|>two <|end_of_tex", addSpecialTokens: false);
        Assert.Equal([.. Reference.Encode("one"), 4094, .. Reference.Encode("two <|end_of_tex")], ids);
        Assert.Equal("onetwo <|end_of_tex", Tokenizer.Decode(ids));
    }

    [Fact]
    public void An_unpaired_surrogate_counts_as_the_replacement_character()
    {
        Assert.Equal(Tokenizer.Encode("a\uFFFDb"), Tokenizer.Encode("a\uD83Db"));
    }

    [Fact]
    public void A_stream_gives_whole_characters_and_marks_an_incomplete_end()
    {
        // No merge makes these bytes one token, so the emoji comes in pieces.
        IReadOnlyList<int> ids = Tokenizer.Encode("\U0001F600", addSpecialTokens: false);
        Assert.True(ids.Count > 1);
        TokenDecoder whole = Tokenizer.CreateDecoder();
        string[] pieces = [.. ids.Select(whole.Append), whole.Finish()];
        Assert.Equal([.. Enumerable.Repeat("", ids.Count - 1), "\U0001F600", ""], pieces);

        TokenDecoder cut = Tokenizer.CreateDecoder();
        Assert.All(ids.SkipLast(1), id => Assert.Equal("", cut.Append(id)));
        Assert.Equal("\uFFFD", cut.Finish());
    }

    [Fact]
    public void Long_texts_take_linear_time()
    {
        TimeSpan Time(string text)
        {
            long start = Stopwatch.GetTimestamp();
            Tokenizer.Encode(text);
            return Stopwatch.GetElapsedTime(start);
        }

        // Hostile to a quadratic tokenizer: one word of letters, one of blanks, one of symbols. Quadratic time would be many minutes.
        foreach (string unit in new[] { "a", " ", "=-", "the quick brown fox ", "\U0001F600", "ab" })
        {
            string text = string.Concat(Enumerable.Repeat(unit, 1_000_000 / unit.Length));
            Assert.InRange(Time(text), TimeSpan.Zero, TimeSpan.FromSeconds(40));
        }
    }

    [Theory]
    [InlineData("ab")]
    [InlineData("theinganda")]
    [InlineData("=-")]
    [InlineData(" ")]
    [InlineData("é")]
    public void Tokens_of_a_very_long_word_are_those_of_the_definition(string unit)
    {
        string text = string.Concat(Enumerable.Repeat(unit, 1200 / unit.Length));
        Assert.Equal(Reference.Encode(text), Tokenizer.Encode(text, addSpecialTokens: false));
    }

    [Fact]
    public void Ignore_merges_takes_a_word_that_is_a_token_as_it_is()
    {
        // "zq" is a token that no merge makes.
        byte[] json = Edit(root =>
        {
            root["model"]!["vocab"]!["zq"] = 5000;
        });
        Assert.NotEqual([5000], TextTokenizer.Load(json, "t").Encode("zq", addSpecialTokens: false));
        json = Edit(root =>
        {
            root["model"]!["vocab"]!["zq"] = 5000;
            root["model"]!["ignore_merges"] = true;
        });
        Assert.Equal([5000], TextTokenizer.Load(json, "t").Encode("zq", addSpecialTokens: false));
    }

    [Fact]
    public void Merges_may_be_lists_and_added_tokens_may_strip_or_stand_alone()
    {
        byte[] json = Edit(root =>
        {
            JsonArray merges = root["model"]!["merges"]!.AsArray();
            root["model"]!["merges"] = new JsonArray([.. merges.Select(m => new JsonArray([.. m!.GetValue<string>().Split(' ').Select(p => (JsonNode)p)]))]);
            JsonArray added = root["added_tokens"]!.AsArray();
            added.Add(new JsonObject { ["id"] = 6000, ["content"] = "<sep>", ["lstrip"] = true, ["rstrip"] = true, ["special"] = false });
            added.Add(new JsonObject { ["id"] = 6001, ["content"] = "WORD", ["single_word"] = true, ["special"] = false });
        });
        TextTokenizer tokenizer = TextTokenizer.Load(json, "t");
        Assert.Equal([.. Reference.Encode("a"), 6000, .. Reference.Encode("b")], tokenizer.Encode("a  <sep> \nb", addSpecialTokens: false));
        Assert.Equal([6001, .. Reference.Encode(" SWORDS")], tokenizer.Encode("WORD SWORDS", addSpecialTokens: false));
        Assert.Equal("a<sep>b", tokenizer.Decode(tokenizer.Encode("a <sep>b")));
    }

    public static TheoryData<string, string> Unsupported { get; } = new()
    {
        { """{"normalizer":{"type":"Rot13"}}""", "Rot13" },
        { """{"model":{"type":"WordLevel","vocab":{}}}""", "WordLevel" },
        { """{"model":{"type":"Unigram","vocab":[["a"]]}}""", "tokenizer.json" },
        { """{"model":{"type":"Unigram","unk_id":7,"vocab":[["a",0]]}}""", "7" },
        { """{"model":{"type":"WordPiece","unk_token":"[U]","vocab":{"a":0}}}""", "[U]" },
        { """{"pre_tokenizer":{"type":"UnicodeScripts"}}""", "UnicodeScripts" },
        { """{"pre_tokenizer":{"type":"Metaspace","replacement":"__"}}""", "__" },
        { """{"post_processor":{"type":"PairProcessing"}}""", "PairProcessing" },
        { """{"decoder":{"type":"CTC"}}""", "CTC" },
        { """{"decoder":{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"String":"a"},"content":"b"}]}}""", "Replace" },
        { """{"decoder":null}""", "decoder" },
        { """{"model":[]}""", "tokenizer.json" },
        { """{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"}}""", "pattern" },
        { """{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a(?=bc)"},"behavior":"Isolated"}}""", "look-around" },
        { """{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a"},"behavior":"Sideways"}}""", "Sideways" },
        { """{"added_tokens":[{"id":-1,"content":"x"}]}""", "-1" },
    };

    [Theory]
    [MemberData(nameof(Unsupported))]
    public void What_is_not_supported_is_named(string change, string named)
    {
        byte[] json = Edit(root =>
        {
            foreach ((string name, JsonNode? value) in JsonNode.Parse(change)!.AsObject()) root[name] = value?.DeepClone();
        });
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => TextTokenizer.Load(json, "folder/tokenizer.json"));
        Assert.Equal("QB2009", error.Id);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.Contains("folder/tokenizer.json", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":"x"},"merges":[]}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":[null]}}""")]
    [InlineData("""{"model":{"type":"Unigram","vocab":[[null,0.5]]}}""")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"}}""")]
    public void A_malformed_file_is_an_error(string json)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => TextTokenizer.Load(Encoding.UTF8.GetBytes(json), "tokenizer.json"));
        Assert.Equal("QB2009", error.Id);
    }

    private static byte[] Edit(Action<JsonObject> change)
    {
        JsonObject root = JsonNode.Parse(Sample.TokenizerJson)!.AsObject();
        change(root);
        return Encoding.UTF8.GetBytes(root.ToJsonString());
    }
}
