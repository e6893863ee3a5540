using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Runtime.Tests.Chat;

public sealed class ChatFormatTests : IDisposable
{
    private static readonly AIFunctionDeclaration Weather = AIFunctionFactory.CreateDeclaration(
        "weather", "The weather in a city", JsonDocument.Parse("""{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}""").RootElement);

    private static readonly ChatMessage[] Conversation =
    [
        new(ChatRole.System, "You are brief."),
        new(ChatRole.User, "How warm is Oslo?"),
        new(ChatRole.Assistant,
        [
            new TextContent("I look."),
            new FunctionCallContent("1", "weather", new Dictionary<string, object?> { ["city"] = "Oslo" }),
            new FunctionCallContent("2", "weather", new Dictionary<string, object?> { ["city"] = JsonDocument.Parse("\"Tromsø\"").RootElement }),
        ]),
        new(ChatRole.Tool, [new FunctionResultContent("1", "7 °C")]),
        new(ChatRole.Tool, [new FunctionResultContent("2", JsonDocument.Parse("""{"t":3}""").RootElement), new FunctionResultContent("0", null)]),
        new(ChatRole.Assistant, "7 degrees."),
        new(ChatRole.User, "Thanks"),
    ];

    private const string Described = """
        # Tools

        You may call one or more functions to assist with the user query.

        You are provided with function signatures within <tools></tools> XML tags:
        <tools>
        {"type":"function","function":{"name":"weather","description":"The weather in a city","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}
        </tools>

        For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
        <tool_call>
        {"name": <function-name>, "arguments": <args-json-object>}
        </tool_call>
        """;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_tokenizer_with_the_tokens_of_ChatML_has_ChatML()
    {
        using LanguageModel model = ScriptedModel.Load(folder, [], "<|im_start|>", "<|im_end|>");
        ChatFormat format = ChatFormat.DefaultFor(model.Tokenizer);
        string expected = """
            <|im_start|>system
            You are brief.

            {tools}<|im_end|>
            <|im_start|>user
            How warm is Oslo?<|im_end|>
            <|im_start|>assistant
            I look.
            <tool_call>
            {"name":"weather","arguments":{"city":"Oslo"}}
            </tool_call>
            <tool_call>
            {"name":"weather","arguments":{"city":"Tromsø"}}
            </tool_call><|im_end|>
            <|im_start|>tool
            <tool_response>
            {"name":"weather","content":"7 °C"}
            </tool_response>
            <tool_response>
            {"name":"weather","content":{"t":3}}
            </tool_response>
            <tool_response>
            {"content":null}
            </tool_response><|im_end|>
            <|im_start|>assistant
            7 degrees.<|im_end|>
            <|im_start|>user
            Thanks<|im_end|>

            """.ReplaceLineEndings("\n").Replace("{tools}", Described.ReplaceLineEndings("\n"), StringComparison.Ordinal);
        Assert.Equal(expected, format.Render(Conversation, [Weather], addGenerationPrompt: false));
        Assert.Equal(expected + "<|im_start|>assistant\n", format.Render(Conversation, [Weather], addGenerationPrompt: true));
        Assert.Contains("<|im_end|>", format.StopStrings);
    }

    [Fact]
    public void Any_other_tokenizer_has_a_transcript()
    {
        ChatFormat format = ChatFormat.DefaultFor(TextTokenizer.Load(Sample.TokenizerJson, "tokenizer.json"));
        ChatMessage[] messages = [.. Conversation[..2], new(ChatRole.Assistant, "7 degrees."), new(ChatRole.System, "Be kind."), new(ChatRole.User, "Thanks")];
        Assert.Equal(
            "You are brief.\n\nUser: How warm is Oslo?\nAssistant: 7 degrees.\nSystem: Be kind.\nUser: Thanks\nAssistant:", format.Render(messages, [], addGenerationPrompt: true));
        Assert.StartsWith("# Tools\n\n", format.Render(messages[1..], [Weather], addGenerationPrompt: true), StringComparison.Ordinal);
        Assert.Contains("\nUser:", format.StopStrings);
        Assert.Equal("Assistant:", format.Render([], [], addGenerationPrompt: true));
    }
}
