using System.Text.Json;
using Microsoft.Extensions.AI;
using QuantBuild.Chat;

namespace QuantBuild.Runtime.Tests.Chat;

/// <summary>A chat client whose model answers in channels.</summary>
public sealed class ChannelTests : IDisposable
{
    private const string Cue = "<|start|>assistant";
    private const string Analysis = "<|channel|>analysis<|message|>";
    private const string Final = "<|end|><|start|>assistant<|channel|>final<|message|>";
    private const string Preamble = "<|end|><|start|>assistant<|channel|>commentary<|message|>";
    private const string Commentary = "<|end|><|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>";

    private static readonly AIFunction Weather = AIFunctionFactory.Create((string city) => $"7 degrees in {city}", "weather");

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Reasoning_and_answer_come_as_they_are_written()
    {
        using LanguageModel model = Model([Analysis, "I wonder", ".", Final, "Yes", "."]);
        List<ChatResponseUpdate> updates = await model.AsChatClient(new ChannelFormat()).GetStreamingResponseAsync("?").ToListAsync();
        Assert.Equal(["I wonder", "."], updates.SelectMany(update => update.Contents).OfType<TextReasoningContent>().Select(content => content.Text));
        Assert.Equal("Yes.", updates.ToChatResponse().Text);
        Assert.Equal(ChatFinishReason.Stop, updates[^1].FinishReason);

        ChatResponse silent = await model.AsChatClient(new ChannelFormat()).GetResponseAsync("?", new() { Reasoning = new() { Output = ReasoningOutput.None } });
        Assert.Equal("Yes.", Assert.IsType<TextContent>(Assert.Single(silent.Messages.Single().Contents)).Text);
    }

    [Fact]
    public async Task A_tool_is_called_after_reasoning()
    {
        using LanguageModel model = Model([Analysis, "Ask.", Commentary, "{\"city\": \"Os", "lo\"}"]);
        ChatResponse response = await model.AsChatClient(new ChannelFormat()).GetResponseAsync("?", new() { Tools = [Weather] });
        FunctionCallContent call = Assert.Single(response.Messages.Single().Contents.OfType<FunctionCallContent>());
        Assert.Equal(("weather", "Oslo"), (call.Name, ((JsonElement)call.Arguments!["city"]!).GetString()));
        Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
        Assert.Equal("", response.Text);
    }

    [Fact]
    public async Task A_required_call_and_an_answer_with_a_form_leave_no_place_for_other_channels()
    {
        using LanguageModel model = Model([Analysis, "Hm.", Final, "Yes."]);
        ChannelFormat format = new();
        ChatResponse required = await model.AsChatClient(format).GetResponseAsync("?", new() { Tools = [Weather], ToolMode = ChatToolMode.RequireAny, MaxOutputTokens = 400 });
        Assert.Equal("weather", Assert.Single(required.Messages.Single().Contents.OfType<FunctionCallContent>()).Name);

        ChatResponse formed = await model.AsChatClient(format).GetResponseAsync("?", new() { ResponseFormat = ChatResponseFormat.ForJsonSchema<bool>(), MaxOutputTokens = 30 });
        Assert.True(bool.TryParse(formed.Text, out _), formed.Text);
    }

    // What comes is decided by the model, which may think first.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task With_tools_and_a_form_the_model_chooses_between_them(bool calls)
    {
        using LanguageModel model = Model([Analysis, "Hm.", Preamble, "I look.", calls ? Commentary : Final]);
        ChatResponse response = await model.AsChatClient(new ChannelFormat()).GetResponseAsync(
            "?", new() { Tools = [Weather], ResponseFormat = ChatResponseFormat.ForJsonSchema<bool>(), MaxOutputTokens = 400 });
        Assert.Equal(calls, response.Messages.Single().Contents.OfType<FunctionCallContent>().Any());
        Assert.Equal(!calls, bool.TryParse(response.Text, out _));
    }

    private LanguageModel Model(string[] answer) => ScriptedModel.Load(folder, new() { [Cue] = answer });

    private sealed class ChannelFormat : ChatFormat
    {
        public override IReadOnlyList<string> StopStrings => ["<|return|>", "<|call|>"];

        public override ToolCallSyntax ToolCalls => ChannelParser.Call;

        public override ReasoningSyntax Reasoning => ChannelParser.Reasoning;

        internal override bool HasChannels => true;

        public override bool WritesSpecialTokens => true;

        public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt) => $"{messages[^1].Text} {Cue}";
    }
}
