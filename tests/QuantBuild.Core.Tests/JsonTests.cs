using System.Text.Json;

namespace QuantBuild.Core.Tests;

/// <summary>The JSON reader, through the configuration that it reads, against the framework's strict reader.</summary>
public class JsonTests
{
    [Theory]
    [InlineData("1")]
    [InlineData("-0.5e+10")]
    [InlineData("0")]
    [InlineData("1E5")]
    [InlineData("[]")]
    [InlineData("[1, [2, {}], \"\"]")]
    [InlineData("{\"a\": {\"b\": null}}")]
    [InlineData("\"\\u0041\\n\\\\\\\"\\/\\ud83d\\ude00\"")]
    [InlineData(" \t\r\n true ")]
    [InlineData("01")]
    [InlineData("+1")]
    [InlineData("1.")]
    [InlineData(".5")]
    [InlineData("1e")]
    [InlineData("-")]
    [InlineData("1 2")]
    [InlineData("[1 2]")]
    [InlineData("[1,]")]
    [InlineData("[,1]")]
    [InlineData("[1")]
    [InlineData("{\"a\" 1}")]
    [InlineData("{\"a\": 1,}")]
    [InlineData("{a: 1}")]
    [InlineData("{\"a\": 1 \"b\": 2}")]
    [InlineData("{\"a\": 1")]
    [InlineData("{}{}")]
    [InlineData("{} {}")]
    [InlineData("\"open")]
    [InlineData("\"line\nbreak\"")]
    [InlineData("\"\\x\"")]
    [InlineData("\"\\u12\"")]
    [InlineData("\"\\u 12a\"")]
    [InlineData("tru")]
    [InlineData("truex")]
    [InlineData("True")]
    [InlineData("NaN")]
    [InlineData("'a'")]
    [InlineData("// comment\n1")]
    [InlineData("\0")]
    public void A_value_is_accepted_where_the_framework_accepts_it(string json)
    {
        bool expected = true;
        try
        {
            JsonDocument.Parse(json).Dispose();
        }
        catch (JsonException)
        {
            expected = false;
        }

        // The value is that of a member that the configuration does not read: only the syntax counts.
        string config = $$"""{"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 8, "other": {{json}}}""";
        Exception? error = Record.Exception(() => DecoderConfig.Parse(config, "config.json"));
        Assert.Equal(expected, error is null);
        if (error is not null) Assert.Contains("not valid JSON: line ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_error_says_where_it_is()
    {
        ErrorAssert.Throws("QB2003", () => DecoderConfig.Parse("{\n  \"a\": 1\n  \"b\": 2\n}", "config.json"), "line 3, column 3: expected a comma or }, found '\"'.");
        ErrorAssert.Throws("QB2003", () => DecoderConfig.Parse("{\"a\": ", "config.json"), "line 1, column 7: expected a value, found the end of the file.");
        ErrorAssert.Throws("QB2003", () => DecoderConfig.Parse("", "config.json"), "line 1, column 1: expected a value, found the end of the file.");
    }
}
