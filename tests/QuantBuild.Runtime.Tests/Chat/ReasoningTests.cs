using Microsoft.Extensions.AI;
using QuantBuild.Chat;

namespace QuantBuild.Runtime.Tests.Chat;

/// <summary>What models write before they answer, and the variables of chat formats.</summary>
public sealed class ReasoningTests : IDisposable
{
    private static readonly ReasoningSyntax Think = new("<think>\n", "\n</think>\n\n");

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    public static TheoryData<string, bool, string, string> Answers { get; } = new()
    {
        { "<think>\nWell, 2 < 3.\n</think>\n\nYes.", false, "Well, 2 < 3.", "Yes." },
        { "Well.\n</think>\n\nYes, <think> is a word.", true, "Well.", "Yes, <think> is a word." },
        { "\n<think>Well</think>Yes", false, "Well", "Yes" },
        { "Yes. <think>no</think>", false, "", "Yes. <think>no</think>" },
        { " <thin air", false, "", " <thin air" },
        { "\n</think>\nYes", true, "", "Yes" },
        { "It goes on </thin", true, "It goes on </thin", "" },
        { "", true, "", "" },
        { "<think>\n\n</think>\n\n  Indented", false, "", "Indented" },
    };

    [Theory]
    [MemberData(nameof(Answers))]
    public void Reasoning_and_answer_are_told_apart_whatever_pieces_they_come_in(string text, bool isWithin, string reasoning, string answer)
    {
        for (int length = 1; length <= text.Length + 1; length++)
        {
            ReasoningParser parser = new(Think, isWithin);
            (string Reasoning, string Answer)[] parts = [.. text.Chunk(length).Select(piece => parser.Append(new string(piece), isLast: false)), parser.Append("", isLast: true)];
            Assert.Equal((reasoning, answer), (string.Concat(parts.Select(part => part.Reasoning)), string.Concat(parts.Select(part => part.Answer))));
        }
    }

    [Fact]
    public async Task Reasoning_is_content_of_its_own_kind_and_none_of_the_text()
    {
        using LanguageModel model = Model(["<think>\n", "I wonder", ".\n</think>", "\n\nYes."]);
        List<ChatResponseUpdate> updates = await Client(model).GetStreamingResponseAsync("?").ToListAsync();
        Assert.Equal(["I wonder", "."], updates.SelectMany(update => update.Contents).OfType<TextReasoningContent>().Select(content => content.Text));
        ChatResponse response = updates.ToChatResponse();
        Assert.Equal("Yes.", response.Text);
        Assert.Equal(["I wonder.", "Yes."], response.Messages.Single().Contents.Where(content => content is not UsageContent).Select(content => content.ToString()));

        ChatResponse silent = await Client(model).GetResponseAsync("?", new() { Reasoning = new() { Output = ReasoningOutput.None } });
        Assert.Equal("Yes.", Assert.IsType<TextContent>(Assert.Single(silent.Messages.Single().Contents)).Text);
    }

    [Fact]
    public async Task A_prompt_that_begins_reasoning_ends_it_where_the_answer_has_a_form()
    {
        using LanguageModel model = Model(["So", "</think>", "Yes"], "<think>");
        ThinkingFormat format = new() { EndsInThought = true };
        IChatClient client = model.AsChatClient(format);
        ChatResponse free = await client.GetResponseAsync("?");
        Assert.Equal("So", Assert.IsType<TextReasoningContent>(free.Messages.Single().Contents[0]).Text);
        Assert.Equal("Yes", free.Text);

        ChatResponse formed = await client.GetResponseAsync("?", new() { ResponseFormat = ChatResponseFormat.ForJsonSchema<bool>(), MaxOutputTokens = 30 });
        Assert.DoesNotContain(formed.Messages.Single().Contents, content => content is TextReasoningContent);
        Assert.True(bool.TryParse(formed.Text, out _), formed.Text);
    }

    [Fact]
    public async Task Reasoning_of_earlier_answers_reaches_the_format()
    {
        using LanguageModel model = Model(["Yes"]);
        ThinkingFormat format = new();
        ChatMessage[] messages = [new(ChatRole.User, "?"), new(ChatRole.Assistant, [new TextReasoningContent("Hm"), new TextContent("No")]), new(ChatRole.User, "!")];
        await model.AsChatClient(format).GetResponseAsync(messages);
        Assert.Equal(["Hm"], format.Messages.SelectMany(message => message.Contents).OfType<TextReasoningContent>().Select(content => content.Text));
    }

    [Fact]
    public async Task Variables_are_the_values_of_the_request()
    {
        using LanguageModel model = Model(["Yes"]);
        ThinkingFormat format = new() { Known = ["enable_thinking", "documents"] };
        IChatClient client = model.AsChatClient(format);
        await client.GetResponseAsync("?", new() { AdditionalProperties = new() { ["enable_thinking"] = false, ["documents"] = "a", ["min_p"] = 0.1 } });
        Assert.Equal("""documents: a, enable_thinking: False""", format.Given);

        await client.GetResponseAsync("?", new() { Reasoning = new() { Effort = ReasoningEffort.None } });
        Assert.Equal("enable_thinking: False", format.Given);
        await client.GetResponseAsync("?", new() { Reasoning = new() { Effort = ReasoningEffort.High } });
        Assert.Equal("enable_thinking: True", format.Given);

        format.Known = ["reasoning_effort", "thinking"];
        await client.GetResponseAsync("?", new() { Reasoning = new() { Effort = ReasoningEffort.Medium } });
        Assert.Equal("reasoning_effort: medium", format.Given);
        await client.GetResponseAsync("?", new() { Reasoning = new() { Effort = ReasoningEffort.None } });
        Assert.Equal("thinking: False", format.Given);
    }

    [Fact]
    public async Task A_variable_that_the_format_does_not_have_is_an_error_that_names_those_that_it_has()
    {
        using LanguageModel model = Model(["Yes"]);
        IChatClient client = model.AsChatClient(new ThinkingFormat { Known = ["enable_thinking"] });
        QuantBuildException error = await Assert.ThrowsAsync<QuantBuildException>(() => client.GetResponseAsync("?", new() { AdditionalProperties = new() { ["enable_thinkin"] = false } }));
        Assert.Equal("QB4012", error.Id);
        Assert.Contains("enable_thinkin, expected", error.Message, StringComparison.Ordinal);
        Assert.Contains("template enable_thinking.", error.Message, StringComparison.Ordinal);

        error = await Assert.ThrowsAsync<QuantBuildException>(() => client.GetResponseAsync("?", new() { AdditionalProperties = new() { ["enable_thinking"] = new Action(Dispose) } }));
        Assert.Equal("QB4012", error.Id);
        error = await Assert.ThrowsAsync<QuantBuildException>(() => model.AsChatClient(new ThinkingFormat()).GetResponseAsync("?", new() { Reasoning = new() { Effort = ReasoningEffort.Low } }));
        Assert.Equal("QB4012", error.Id);
    }

    private LanguageModel Model(string[] answer, string cue = "Assistant:") => ScriptedModel.Load(folder, new() { [cue] = answer });

    private static IChatClient Client(LanguageModel model) => model.AsChatClient(new ThinkingFormat());

    private sealed class ThinkingFormat : ChatFormat
    {
        public bool EndsInThought { get; init; }

        public IReadOnlyList<ChatMessage> Messages { get; private set; } = [];

        public string Given { get; private set; } = "";

        public override IReadOnlyList<string> StopStrings => [];

        public override ReasoningSyntax Reasoning => Think;

        public IReadOnlyCollection<string> Known { get; set; } = [];

        public override IReadOnlyCollection<string> Variables => Known;

        public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt)
        {
            Messages = messages;
            return $"{messages[^1].Text} Assistant:" + (EndsInThought ? "<think>" : "");
        }

        public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt, IReadOnlyDictionary<string, object?> variables)
        {
            Given = string.Join(", ", variables.OrderBy(variable => variable.Key, StringComparer.Ordinal).Select(variable => $"{variable.Key}: {variable.Value}"));
            return Render(messages, tools, addGenerationPrompt);
        }
    }
}
