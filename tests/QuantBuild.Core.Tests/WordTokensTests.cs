namespace QuantBuild.Core.Tests;

public sealed class WordTokensTests : IDisposable
{
    private const string Llama3 = """(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+""";

    private readonly string file = Path.GetTempFileName();

    public void Dispose() => File.Delete(file);

    [Theory]
    [InlineData("", 0)]
    [InlineData(" \t\r\n", 0)]
    [InlineData("Once upon a time", 4)]
    [InlineData("  don't\tstop—now\n\n(1,000 2nd ... ", 3)]
    [InlineData("long　night, 長い 夜", 4)]
    public void A_word_stands_between_white_space_and_has_a_letter(string text, int count) => Assert.Equal(count, Words.Count(text));

    [Fact]
    public void The_samples_tokenizer_parts_words() => Assert.True(WordTokens.AreSeparate(Path.Combine(TestFiles.SampleModel, "tokenizer.json")));

    [Theory]
    [InlineData("""{"type": "ByteLevel"}""", true)]
    [InlineData("""{"type": "ByteLevel", "use_regex": true}""", true)]
    [InlineData("""{"type": "ByteLevel", "use_regex": false}""", false)]
    [InlineData("""{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\d"}}, {"type": "ByteLevel", "use_regex": true}]}""", true)]
    [InlineData("""{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "[^!]+"}}, {"type": "ByteLevel", "use_regex": false}]}""", false)]
    [InlineData("""{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"String": " "}}, {"type": "ByteLevel", "use_regex": false}]}""", false)]
    [InlineData("""{"type": "Metaspace"}""", false)]
    [InlineData("null", false)]
    public void Another_is_judged_by_what_cuts_its_words(string preTokenizer, bool separate) =>
        Assert.Equal(separate, Judge($$$"""{"version": "1.0", "added_tokens": [{"id": 1, "content": "<|end_of_text|>"}], "pre_tokenizer": {{{preTokenizer}}}, "model": {"vocab": {} } }"""));

    // A GGUF file holds its tokenizer, and is gigabytes.
    [Fact]
    public void A_file_with_megabytes_before_a_vocabulary_is_not_read_to_the_end()
    {
        string Padded(int length) => $$$"""{"pre_tokenizer": {"type": "ByteLevel"}, "padding": "{{{new string(' ', length)}}}", "model": {} }""";
        Assert.True(Judge(Padded(1_000_000)));
        Assert.False(Judge(Padded(5_000_000)));
    }

    [Theory]
    [InlineData("<|end of text|>", false)]
    [InlineData("    ", true)]
    [InlineData("""a \"model\" \\""", false)]
    [InlineData("""\"model\"\\""", true)]
    public void A_token_of_several_words_spoils_it(string token, bool separate) =>
        Assert.Equal(separate, Judge($$$"""{"added_tokens": [{"id": 1, "content": "{{{token}}}"}], "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "{{{Llama3}}}"}}, "model": {}}"""));

    [Theory]
    [InlineData("""{"model": {"vocab": {}}, "pre_tokenizer": {"type": "ByteLevel"}}""")]
    [InlineData("""{"pre_tokenizer": {"type": "ByteLevel"}}""")]
    [InlineData("""{"pre_tokenizer": {"type": "ByteLevel", """)]
    [InlineData("""{"pre_tokenizer" "model": {}}""")]
    [InlineData("")]
    public void A_file_that_does_not_begin_as_usual_says_nothing(string json) => Assert.False(Judge(json));

    [Fact]
    public void A_file_that_is_not_there_says_nothing() => Assert.False(WordTokens.AreSeparate(file + ".missing"));

    private bool Judge(string json)
    {
        File.WriteAllText(file, json);
        return WordTokens.AreSeparate(file);
    }
}
