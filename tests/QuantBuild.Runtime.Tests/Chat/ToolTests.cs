using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Runtime.Tests.Chat;

/// <summary>Calls of tools by a model that says what the test wants.</summary>
public sealed class ToolTests : IDisposable
{
    private const string Call = """{"name":"weather","arguments":{"city":"Oslo"}}""";

    private static readonly string[] CallInPieces = ["Let me ", "look.\n<tool", "_call>\n{\"name\":\"weather\",", "\"arguments\":{\"city\":\"Os", "lo\"}}\n</tool_call>"];

    private readonly TemporaryFolder folder = new();
    private readonly List<string> asked = [];
    private readonly AIFunction weather;

    public ToolTests() => weather = AIFunctionFactory.Create(
        (string city) =>
        {
            asked.Add(city);
            return $"7 degrees in {city}";
        },
        "weather");

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Text_before_a_call_is_streamed_and_the_call_comes_whole()
    {
        using LanguageModel model = Model(CallInPieces);
        List<ChatResponseUpdate> updates = await model.AsChatClient().GetStreamingResponseAsync("?", new() { Tools = [weather] }).ToListAsync();
        Assert.Equal(["Let me", " look."], updates.SelectMany(update => update.Contents).OfType<TextContent>().Select(text => text.Text));
        FunctionCallContent call = Assert.Single(updates.SelectMany(update => update.Contents).OfType<FunctionCallContent>());
        Assert.Equal("weather", call.Name);
        Assert.Equal("Oslo", Assert.IsType<JsonElement>(call.Arguments!["city"]).GetString());
        Assert.Equal(ChatFinishReason.ToolCalls, updates[^1].FinishReason);
        Assert.Single(updates.Select(update => update.MessageId).Distinct());
        Assert.Equal(CallInPieces.Length + 1, Assert.Single(updates[^1].Contents.OfType<UsageContent>()).Details.OutputTokenCount);
    }

    [Fact]
    public async Task UseFunctionInvocation_calls_the_function_and_the_model_answers_with_what_it_gave()
    {
        using LanguageModel model = ScriptedModel.Load(folder, new() { ["FIRST"] = CallInPieces, ["THEN"] = ["7 degrees", " in Oslo."] });
        CueFormat format = new();
        using IChatClient client = model.AsChatClient(format).AsBuilder().UseFunctionInvocation().Build();
        ChatResponse response = await client.GetResponseAsync("How warm is Oslo?", new() { Tools = [weather] });
        Assert.Equal(["Oslo"], asked);
        Assert.EndsWith("7 degrees in Oslo.", response.Text, StringComparison.Ordinal);
        Assert.Equal([ChatRole.Assistant, ChatRole.Tool, ChatRole.Assistant], response.Messages.Select(message => message.Role));
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
        Assert.Contains("{\"name\":\"weather\",\"content\":\"7 degrees in Oslo\"}", format.Last, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Several_calls_are_several_unless_one_alone_is_allowed()
    {
        using LanguageModel model = Model($"<tool_call>{Call}</tool_call>", "\n", $"<tool_call>\n{Call}", "</tool_call>\n");
        IChatClient client = model.AsChatClient();
        ChatResponse both = await client.GetResponseAsync("?", new() { Tools = [weather] });
        Assert.Equal(["weather", "weather"], both.Messages.Single().Contents.Cast<FunctionCallContent>().Select(call => call.Name));
        ChatResponse one = await client.GetResponseAsync("?", new() { Tools = [weather], AllowMultipleToolCalls = false });
        Assert.Equal("weather", Assert.IsType<FunctionCallContent>(Assert.Single(one.Messages.Single().Contents)).Name);
        Assert.Equal(ChatFinishReason.ToolCalls, one.FinishReason);
    }

    [Fact]
    public async Task Without_tools_or_with_the_mode_none_a_call_is_text_and_tools_are_not_described()
    {
        using LanguageModel model = ScriptedModel.Load(folder, new() { ["FIRST"] = CallInPieces });
        CueFormat format = new();
        IChatClient client = model.AsChatClient(format);
        foreach (ChatOptions options in (ChatOptions[])[new(), new() { Tools = [weather], ToolMode = ChatToolMode.None }])
        {
            ChatResponse response = await client.GetResponseAsync("?", options);
            Assert.Equal(string.Concat(CallInPieces), response.Text);
            Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
            Assert.DoesNotContain("# Tools", format.Last, StringComparison.Ordinal);
        }

        await client.GetResponseAsync("?", new() { Tools = [weather], ToolMode = ChatToolMode.Auto });
        Assert.Contains("# Tools", format.Last, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_call_that_is_cut_is_text()
    {
        using LanguageModel model = Model(CallInPieces);
        ChatResponse response = await model.AsChatClient().GetResponseAsync("?", new() { Tools = [weather], MaxOutputTokens = 4 });
        Assert.Equal(string.Concat(CallInPieces[..4]), response.Text);
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
    }

    [Fact]
    public async Task With_a_format_for_the_answer_the_model_still_chooses_whether_to_call()
    {
        ChatOptions options = new() { Tools = [weather], MaxOutputTokens = 40, ResponseFormat = ChatResponseFormat.ForJsonSchema<int[]>() };
        using LanguageModel calls = Model("\n<tool", "_call>", "anything");
        ChatResponse call = await calls.AsChatClient().GetResponseAsync("?", options);
        Assert.Equal("weather", Assert.IsType<FunctionCallContent>(Assert.Single(call.Messages.Single().Contents)).Name);
        Assert.Equal(2 + ((GenerationResult)call.RawRepresentation!).Usage.GeneratedTokens, call.Usage!.OutputTokenCount);

        using LanguageModel answers = Model("<tool", "box>");
        ChatResponse answer = await answers.AsChatClient().GetResponseAsync("?", options);
        Assert.NotNull(JsonSerializer.Deserialize<int[]>(answer.Text));
        Assert.Equal(ChatFinishReason.Stop, answer.FinishReason);
    }

    [Fact]
    public async Task A_tool_that_is_required_is_called_with_arguments_of_its_schema()
    {
        // Random weights: what is written is nonsense, and yet a call.
        string config = TestArtifact.Config(context: 4096);
        using LanguageModel model = LanguageModel.Load(TestArtifact.Write(folder.File("random"), config, TestArtifact.RandomWeights(config, 1)));
        IChatClient client = model.AsChatClient();
        AIFunction plant = AIFunctionFactory.Create((string city, long days, Tree? tree = null) => $"{city} {days} {tree}", "plant");
        AIFunction clock = AIFunctionFactory.Create(() => "12:00", "clock");
        ChatOptions options = new() { Tools = [clock, plant], MaxOutputTokens = 300, Temperature = 1 };
        HashSet<string> called = [];
        for (int seed = 0; seed < 8; seed++)
        {
            options.Seed = seed;
            options.ToolMode = ChatToolMode.RequireSpecific("plant");
            ChatResponse response = await client.GetResponseAsync("Hello", options);
            FunctionCallContent call = Assert.IsType<FunctionCallContent>(Assert.Single(response.Messages.Single().Contents));
            Assert.Equal("plant", call.Name);
            Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
            // A reference within the parameters' schema still leads to what it led to.
            object? result = await plant.InvokeAsync(new AIFunctionArguments(call.Arguments));
            Assert.StartsWith($"{call.Arguments!["city"]} {call.Arguments["days"]} ", result!.ToString(), StringComparison.Ordinal);

            options.ToolMode = ChatToolMode.RequireAny;
            call = Assert.IsType<FunctionCallContent>(Assert.Single((await client.GetResponseAsync("Hello", options)).Messages.Single().Contents));
            if (call.Name == "clock") Assert.Empty(call.Arguments!);
            called.Add(call.Name);
        }

        Assert.Equal(["clock", "plant"], called.Order());
    }

    [Fact]
    public async Task Marks_of_a_call_that_are_special_tokens_are_found_and_no_text()
    {
        using LanguageModel model = ScriptedModel.Load(
            folder, new() { ["FIRST"] = ["I look.", "[TOOL_CALLS]", "weather", "[ARGS]", """{"city":""", "\"Oslo\"}"] }, "[TOOL_CALLS]", "[ARGS]", "<|end|>");
        CueFormat format = new() { Syntax = new("[TOOL_CALLS]", "") { AfterName = "[ARGS]" } };
        ChatResponse response = await model.AsChatClient(format).GetResponseAsync("?", new() { Tools = [weather] });
        Assert.Equal("I look.", response.Text);
        FunctionCallContent call = Assert.Single(response.Messages.Single().Contents.OfType<FunctionCallContent>());
        Assert.Equal(("weather", "Oslo"), (call.Name, call.Arguments!["city"]!.ToString()));
        // Without tools nothing looks for them, and special tokens are no text.
        Assert.Equal("I look.weather{\"city\":\"Oslo\"}", (await model.AsChatClient(format).GetResponseAsync("?")).Text);
    }

    [Theory]
    [InlineData("list")]
    [InlineData("bare")]
    [InlineData("named")]
    public async Task A_tool_that_is_required_is_called_in_the_syntax_of_the_model(string form)
    {
        string config = TestArtifact.Config(context: 4096);
        using LanguageModel model = LanguageModel.Load(TestArtifact.Write(folder.File("random"), config, TestArtifact.RandomWeights(config, 1)));
        ToolCallSyntax syntax = form switch
        {
            "list" => new("[TOOL_CALLS]", "") { IsList = true, NameMember = "tool_name", ArgumentsMember = "parameters" },
            "bare" => new("", "") { ArgumentsMember = "parameters" },
            _ => new("<call>", "</call>") { AfterName = "[ARGS]" },
        };
        IChatClient client = model.AsChatClient(new CueFormat { Syntax = syntax });
        AIFunction plant = AIFunctionFactory.Create((string city, long days, Tree? tree = null) => $"{city} {days} {tree}", "plant");
        AIFunction clock = AIFunctionFactory.Create(() => "12:00", "clock");
        HashSet<string> called = [];
        for (int seed = 0; seed < 8; seed++)
        {
            ChatOptions options = new() { Tools = [clock, plant], MaxOutputTokens = 300, Temperature = 1, Seed = seed, ToolMode = ChatToolMode.RequireAny };
            ChatResponse response = await client.GetResponseAsync("Hello", options);
            FunctionCallContent call = Assert.IsType<FunctionCallContent>(Assert.Single(response.Messages.Single().Contents));
            called.Add(call.Name);
            if (call.Name == "plant") Assert.StartsWith($"{call.Arguments!["city"]} ", (await plant.InvokeAsync(new AIFunctionArguments(call.Arguments)))!.ToString(), StringComparison.Ordinal);
            else Assert.Empty(call.Arguments!);
        }

        Assert.Equal(["clock", "plant"], called.Order());
    }

    [Fact]
    public async Task A_required_call_whose_arguments_are_no_JSON_is_begun_with_the_name_and_ends_with_its_mark()
    {
        using LanguageModel model = ScriptedModel.Load(folder, new() { ["<call>weather>"] = ["<city>", "Os", "lo</city>", "</call>", "more"] });
        CueFormat format = new() { Syntax = new("<call>", "</call>") { AfterName = ">", Arguments = new("<", ">", "</city>") } };
        ChatResponse response = await model.AsChatClient(format).GetResponseAsync("?", new() { Tools = [weather], ToolMode = ChatToolMode.RequireAny });
        FunctionCallContent call = Assert.IsType<FunctionCallContent>(Assert.Single(response.Messages.Single().Contents));
        Assert.Equal(("weather", "Oslo"), (call.Name, call.Arguments!["city"]));
    }

    [Fact]
    public async Task With_a_format_for_the_answer_JSON_without_a_mark_is_a_call_if_it_names_a_tool()
    {
        CueFormat format = new() { Syntax = new("", "") };
        ChatOptions options = new() { Tools = [weather], MaxOutputTokens = 60, ResponseFormat = ChatResponseFormat.ForJsonSchema<Tree>() };
        using LanguageModel calls = ScriptedModel.Load(folder, new() { ["FIRST"] = ["{\"na", "me\":", " \"weather\"", "}"] });
        Assert.IsType<FunctionCallContent>(Assert.Single((await calls.AsChatClient(format).GetResponseAsync("?", options)).Messages.Single().Contents));
        using LanguageModel answers = ScriptedModel.Load(folder, new() { ["FIRST"] = ["{\"Value\":", " 1}"] });
        Assert.NotNull(JsonDocument.Parse((await answers.AsChatClient(format).GetResponseAsync("?", options)).Text));
    }

    [Fact]
    public async Task A_special_token_ends_a_turn_of_ChatML()
    {
        // generation_config.json does not say that it ends a text, as with many a base model.
        using LanguageModel model = ScriptedModel.Load(folder, new() { ["assistant\n"] = ["  Indented", " text."] }, "<|im_start|>", "<|im_end|>");
        ChatResponse response = await model.AsChatClient().GetResponseAsync("?", new() { MaxOutputTokens = 50 });
        Assert.Equal("  Indented text.", response.Text);
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
        Assert.Equal(3, response.Usage!.OutputTokenCount);
    }

    private LanguageModel Model(params string[] answer) => ScriptedModel.Load(folder, new() { ["Assistant:"] = answer });

    private sealed record Tree(string Value, Tree[] Children);

    /// <summary>A transcript that ends with a cue: whether there are results of tools.</summary>
    private sealed class CueFormat : ChatFormat
    {
        private readonly ChatFormat transcript = DefaultFor(TextTokenizer.Load(Sample.TokenizerJson, "tokenizer.json"));

        public string Last { get; private set; } = "";

        public override IReadOnlyList<string> StopStrings => [.. transcript.StopStrings, "<|end|>"];

        public ToolCallSyntax? Syntax { get; init; }

        public override ToolCallSyntax? ToolCalls => Syntax ?? transcript.ToolCalls;

        public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt) =>
            Last = transcript.Render(messages, tools, addGenerationPrompt) + (messages.Any(message => message.Role == ChatRole.Tool) ? "THEN" : "FIRST");
    }
}
