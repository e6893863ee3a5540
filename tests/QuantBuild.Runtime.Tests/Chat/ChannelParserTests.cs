using System.Text.Json;
using Microsoft.Extensions.AI;
using QuantBuild.Chat;

namespace QuantBuild.Runtime.Tests.Chat;

public sealed class ChannelParserTests
{
    private static readonly AIFunctionDeclaration[] Tools =
    [
        AIFunctionFactory.CreateDeclaration("weather", "In a city", JsonDocument.Parse("""{"type":"object","properties":{"city":{"type":"string"}}}""").RootElement),
    ];

    // What comes before the first mark is in the prompt: <|start|>assistant.
    [Theory]
    [InlineData("<|channel|>final<|message|>Hello.", "Hello.")]
    [InlineData("<|channel|>analysis<|message|>They greet.<|end|><|start|>assistant<|channel|>final<|message|>Hello.", "(They greet.)Hello.")]
    [InlineData("<|channel|>analysis<|message|>a < b<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>a |> b", "(a < b)I look.a |> b")]
    [InlineData("""<|channel|>analysis<|message|>Ask.<|end|><|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Oslo"}""", "(Ask.)<weather city: Oslo>")]
    [InlineData("""<|channel|>commentary to=functions.weather<|channel|>commentary json<|message|>{"city": "<|x|>"}""", "<weather city: <|x|>>")]
    [InlineData(""" to=functions.weather<|channel|>commentary json<|message|>{"city": "Oslo"}""", "<weather city: Oslo>")]
    [InlineData("""to=functions.weather<|channel|>commentary json<|message|>{"city": "Oslo"}""", "<weather city: Oslo>")]
    [InlineData("today it rains", "today it rains")]
    [InlineData("to", "to")]
    [InlineData("to=5", "to=5")]
    [InlineData("""<|start|>assistant to=functions.weather<|channel|>commentary json<|message|>{"city": "Oslo"}<|end|><|start|>assistant<|channel|>final<|message|>Done.""", "<weather city: Oslo>Done.")]
    [InlineData("<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{\"city\": ", "{\"city\": ")]
    [InlineData("<|channel|>analysis<|message|>One<|start|>assistant<|channel|>final<|message|>Two<|end|>", "(One)Two")]
    [InlineData("<|channel|>final<|message|>", "")]
    [InlineData("<|channel|>fin", "")]
    [InlineData("Hello.", "Hello.")]
    [InlineData("<b>Hello</b>", "<b>Hello</b>")]
    [InlineData("", "")]
    public void An_answer_is_parted_alike_in_whatever_pieces_it_comes(string answer, string expected)
    {
        Assert.Equal(expected, Read(answer, 1));
        Assert.Equal(expected, Read(answer, 3));
        Assert.Equal(expected, Read(answer, answer.Length));
    }

    [Theory]
    [InlineData("<|channel|>analysis<|message|>Perhaps.<|end|>", null)]
    [InlineData("<|channel|>analysis<|message|>Perhaps.<|end|><|start|>assistant<|channel|>final<|message|>", false)]
    [InlineData("<|channel|>commentary<|message|>I look.", null)]
    [InlineData("Yes", false)]
    [InlineData(" to=functions.weather<|channel|>commentary json<|message|>", true)]
    [InlineData("<|channel|>commentary to=functions.weather <|constrain|>json<|message|>", true)]
    public void Whether_it_calls_a_tool_is_known_with_its_header(string begun, bool? calls)
    {
        ChannelParser parser = new(Tools);
        parser.Append(begun, isLast: false);
        Assert.Equal(calls, parser.Calls);
    }

    [Fact]
    public void Text_is_passed_on_as_it_comes()
    {
        ChannelParser parser = new(Tools);
        Assert.Empty(parser.Append("<|channel|>final<|mess", isLast: false));
        Assert.Equal("Hel", Shown(parser.Append("age|>Hel", isLast: false)));
        Assert.Equal("lo ", Shown(parser.Append("lo <|e", isLast: false)));
        Assert.Equal("<|easy", Shown(parser.Append("asy", isLast: false)));
    }

    private static string Read(string answer, int length)
    {
        ChannelParser parser = new(Tools);
        AIContent[] contents = [.. answer.Chunk(Math.Max(1, length)).SelectMany(piece => parser.Append(new string(piece), isLast: false))];
        return Shown(contents.Concat(parser.Append("", isLast: true)));
    }

    // Pieces of one part are one.
    private static string Shown(IEnumerable<AIContent> contents) => string.Concat(contents.Select(content => content switch
    {
        TextReasoningContent thought => $"({thought.Text})",
        FunctionCallContent call => $"<{call.Name} {string.Join(", ", call.Arguments!.Select(a => $"{a.Key}: {a.Value}"))}>",
        _ => content.ToString(),
    })).Replace(")(", "", StringComparison.Ordinal);
}
