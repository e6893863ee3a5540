using System.Diagnostics;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Runtime.Tests.Chat;

/// <summary>The contract of <see cref="IChatClient"/>, on the sample model, which has no chat format of its own.</summary>
public sealed class ChatClientTests(Generation.LanguageModelTests.Quantized sample) : IClassFixture<Generation.LanguageModelTests.Quantized>
{
    private const string Prompt = "User: Who is Mr. Holmes?\nAssistant:";
    private static readonly string[] Stops = ["\nUser:", "\nAssistant:", "\nSystem:", "\nTool:"];
    private static readonly ChatMessage[] Question = [new(ChatRole.User, "Who is Mr. Holmes?")];
    private readonly IChatClient client = sample.Model.AsChatClient();

    private LanguageModel Model => sample.Model;

    public static TheoryData<string, ChatOptions, GenerationOptions> Options { get; } = new()
    {
        { "none", new() { MaxOutputTokens = 24, Seed = 3 }, new() { MaxTokens = 24, Seed = 3 } },
        { "a negative seed", new() { MaxOutputTokens = 24, Seed = -3 }, new() { MaxTokens = 24, Seed = ulong.MaxValue - 2 } },
        { "temperature", new() { MaxOutputTokens = 24, Temperature = 0 }, new() { MaxTokens = 24, Temperature = 0 } },
        { "top-p", new() { MaxOutputTokens = 24, Seed = 3, TopP = 0.5f }, new() { MaxTokens = 24, Seed = 3, TopP = 0.5 } },
        { "top-k", new() { MaxOutputTokens = 24, Seed = 3, TopK = 2 }, new() { MaxTokens = 24, Seed = 3, TopK = 2 } },
        { "frequency", new() { MaxOutputTokens = 24, Temperature = 0, FrequencyPenalty = 2 }, new() { MaxTokens = 24, Temperature = 0, FrequencyPenalty = 2 } },
        { "presence", new() { MaxOutputTokens = 24, Temperature = 0, PresencePenalty = 8 }, new() { MaxTokens = 24, Temperature = 0, PresencePenalty = 8 } },
        { "stop", new() { MaxOutputTokens = 24, Temperature = 0, StopSequences = ["e"] }, new() { MaxTokens = 24, Temperature = 0, StopStrings = ["e"] } },
        {
            "more", new() { MaxOutputTokens = 24, Seed = 3, AdditionalProperties = new() { ["min_p"] = 0.2, ["typical_p"] = 0.9f, ["repetition_penalty"] = JsonDocument.Parse("1.5").RootElement, ["repetition_window"] = 9 } },
            new() { MaxTokens = 24, Seed = 3, MinP = 0.2, TypicalP = 0.9f, RepetitionPenalty = 1.5, RepetitionWindow = 9 }
        },
        {
            "raw", new() { MaxOutputTokens = 24, RawRepresentationFactory = _ => new GenerationOptions { MaxTokens = 5, Seed = 4, MinP = 0.1, StopStrings = ["."] } },
            new() { MaxTokens = 24, Seed = 4, MinP = 0.1, StopStrings = ["."] }
        },
    };

    [Theory]
    [MemberData(nameof(Options))]
    public async Task An_option_is_what_it_is_for_the_model(string what, ChatOptions options, GenerationOptions expected)
    {
        GenerationResult result = await Model.CompleteAsync(Prompt, expected with { StopStrings = [.. expected.StopStrings, .. Stops] });
        ChatResponse response = await client.GetResponseAsync(Question, options);
        Assert.True(result.Text.TrimStart() == response.Text, what);
        Assert.Equal(result.Usage.GeneratedTokens, response.Usage!.OutputTokenCount);
    }

    [Fact]
    public async Task Instructions_and_what_the_system_says_first_are_one_message_before_all_others()
    {
        ChatMessage[] messages = [new(ChatRole.System, "Be kind."), .. Question, new(ChatRole.Assistant, [new TextReasoningContent("hm"), new TextContent("A man.")]), new(ChatRole.User, [new TextContent("No"), new TextContent("?")])];
        string prompt = "Be brief.\n\nBe kind.\n\nUser: Who is Mr. Holmes?\nAssistant: A man.\nUser: No?\nAssistant:";
        ChatResponse response = await client.GetResponseAsync(messages, new() { Instructions = "Be brief.", MaxOutputTokens = 12, Temperature = 0 });
        Assert.Equal(Model.Generate(prompt, new() { MaxTokens = 12, Temperature = 0, StopStrings = Stops }).TrimStart(), response.Text);
        Assert.Equal(Model.Tokenizer.Encode(prompt).Count, response.Usage!.InputTokenCount);
    }

    [Fact]
    public async Task Updates_have_one_id_each_of_response_and_message_and_the_last_has_reason_and_usage()
    {
        ChatOptions options = new() { MaxOutputTokens = 30, Seed = 1 };
        List<ChatResponseUpdate> updates = await client.GetStreamingResponseAsync(Question, options).ToListAsync();
        Assert.True(updates.Count > 10);
        Assert.Single(updates.Select(update => (update.ResponseId, update.MessageId, update.ModelId, update.Role, update.CreatedAt)).Distinct());
        Assert.All(updates, update => Assert.False(string.IsNullOrEmpty(update.ResponseId) || string.IsNullOrEmpty(update.MessageId)));
        Assert.Equal(ChatRole.Assistant, updates[0].Role);
        Assert.Equal("test", updates[0].ModelId);
        Assert.All(updates.SkipLast(1), update => Assert.True(update.FinishReason is null && update.Contents is [TextContent { Text.Length: > 0 }]));
        Assert.Equal(ChatFinishReason.Length, updates[^1].FinishReason);
        UsageDetails usage = Assert.Single(updates[^1].Contents.OfType<UsageContent>()).Details;
        Assert.Equal(30, usage.OutputTokenCount);
        Assert.Equal(usage.InputTokenCount + 30, usage.TotalTokenCount);

        ChatResponse response = await client.GetResponseAsync(Question, options);
        Assert.Equal(string.Concat(updates.Select(update => update.Text)), response.Text);
        Assert.NotEqual(updates[0].ResponseId, response.ResponseId);
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
        Assert.Equal("test", response.ModelId);
        Assert.Single(response.Messages);
        // Asked again, the model remembers the prompt.
        Assert.InRange(response.Usage!.CachedInputTokenCount ?? 0, 1, usage.InputTokenCount!.Value);
    }

    [Fact]
    public async Task Log_probabilities_come_with_the_models_own_result()
    {
        ChatResponse response = await client.GetResponseAsync(
            Question, new() { MaxOutputTokens = 5, RawRepresentationFactory = _ => new GenerationOptions { LogProbabilities = 2 } });
        GenerationResult result = Assert.IsType<GenerationResult>(response.RawRepresentation);
        Assert.Equal(5, result.LogProbabilities!.Count);
    }

    [Fact]
    public async Task A_stop_string_ends_with_the_reason_stop()
    {
        ChatResponse response = await client.GetResponseAsync(Question, new() { MaxOutputTokens = 200, Temperature = 0, StopSequences = [" "] });
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
    }

    [Fact]
    public async Task A_schema_holds_the_answer_and_makes_values()
    {
        ChatResponse<Person> response = await client.GetResponseAsync<Person>(Question, new ChatOptions { MaxOutputTokens = 60, Seed = 1 });
        Assert.NotNull(response.Result.Name);
        Assert.InRange(response.Result.Age, int.MinValue, int.MaxValue);

        ChatResponse any = await client.GetResponseAsync(Question, new() { MaxOutputTokens = 40, Seed = 1, ResponseFormat = ChatResponseFormat.Json });
        Assert.Equal(JsonValueKind.Object, JsonDocument.Parse(any.Text).RootElement.ValueKind);
        Assert.Equal(ChatFinishReason.Stop, any.FinishReason);

        ChatResponse text = await client.GetResponseAsync(Question, new() { MaxOutputTokens = 20, Temperature = 0, ResponseFormat = ChatResponseFormat.Text });
        Assert.Equal(Model.Generate(Prompt, new() { MaxTokens = 20, Temperature = 0, StopStrings = Stops }).TrimStart(), text.Text);
    }

    [Fact]
    public async Task A_grammar_of_the_raw_options_holds_the_answer()
    {
        ChatOptions options = new() { RawRepresentationFactory = _ => new GenerationOptions { Format = OutputFormat.Grammar("""root ::= "yes" | "no" """) } };
        Assert.Contains((await client.GetResponseAsync(Question, options)).Text, (string[])["yes", "no"]);
    }

    [Fact]
    public void Services_are_the_metadata_the_model_the_format_and_the_client_itself()
    {
        ChatClientMetadata metadata = client.GetRequiredService<ChatClientMetadata>();
        Assert.Equal(("quantbuild", "test", null), (metadata.ProviderName, metadata.DefaultModelId, metadata.ProviderUri));
        Assert.Same(Model, client.GetService<LanguageModel>());
        Assert.NotNull(client.GetService<ChatFormat>());
        Assert.Same(client, client.GetService<IChatClient>());
        Assert.Null(client.GetService(typeof(IChatClient), "key"));
        Assert.Null(client.GetService<string>());
        Assert.Throws<ArgumentNullException>(() => client.GetService(null!));
    }

    public static TheoryData<string, ChatOptions> Refused { get; } = new()
    {
        { "ConversationId", new() { ConversationId = "1" } },
        { "Reasoning", new() { Reasoning = new() { Effort = ReasoningEffort.High } } },
        { "ContinuationToken", new() { ContinuationToken = ResponseContinuationToken.FromBytes(new byte[] { 1 }) } },
        { "ModelId is gpt-4, and the client has test", new() { ModelId = "gpt-4" } },
        { "RawRepresentationFactory gives a System.String", new() { RawRepresentationFactory = _ => "" } },
        { "mirostat", new() { AdditionalProperties = new() { ["mirostat"] = 2 } } },
        { "min_p", new() { AdditionalProperties = new() { ["min_p"] = "0.1" } } },
        { "HostedWebSearchTool", new() { Tools = [new HostedWebSearchTool()] } },
        { "requires a call, and ChatOptions.Tools has no function", new() { ToolMode = ChatToolMode.RequireAny } },
        { "requires a call of other", new() { ToolMode = ChatToolMode.RequireSpecific("other"), Tools = [AIFunctionFactory.Create(() => 1, "one")] } },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public async Task An_option_that_cannot_be_honoured_is_QB4012_and_named(string named, ChatOptions options)
    {
        QuantBuildException error = await Assert.ThrowsAsync<QuantBuildException>(() => client.GetResponseAsync(Question, options));
        Assert.Equal("QB4012", error.Id);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.Equal(error.Message, (await Assert.ThrowsAsync<QuantBuildException>(async () => await client.GetStreamingResponseAsync(Question, options).ToListAsync())).Message);
    }

    public static TheoryData<string, ChatMessage> Unreadable { get; } = new()
    {
        { "image/png", new(ChatRole.User, [new TextContent("What is this?"), new DataContent(new byte[] { 1 }, "image/png")]) },
        { "audio/wav", new(ChatRole.User, [new UriContent("https://example.com/a.wav", "audio/wav")]) },
        { "the role developer", new(new ChatRole("developer"), "Be brief.") },
        { "FunctionCallContent", new(ChatRole.User, [new FunctionCallContent("1", "f")]) },
        { "FunctionResultContent", new(ChatRole.Assistant, [new FunctionResultContent("1", "f")]) },
        { "ErrorContent", new(ChatRole.Assistant, [new ErrorContent("f")]) },
    };

    [Theory]
    [MemberData(nameof(Unreadable))]
    public async Task A_message_that_the_model_cannot_read_is_QB4013(string named, ChatMessage message)
    {
        QuantBuildException error = await Assert.ThrowsAsync<QuantBuildException>(() => client.GetResponseAsync([message]));
        Assert.Equal("QB4013", error.Id);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Examples_of_the_pages_are_the_messages_that_the_code_gives()
    {
        ChatMessage image = new(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")]);
        foreach (QuantBuildException error in (QuantBuildException[])
        [
            await Assert.ThrowsAsync<QuantBuildException>(() => client.GetResponseAsync(Question, new() { ConversationId = "42" })),
            await Assert.ThrowsAsync<QuantBuildException>(() => client.GetResponseAsync(image)),
        ])
        {
            Assert.Contains($"QuantBuildException: {error.Message}\n", await File.ReadAllTextAsync(Sample.DiagnosticPage(error.Id)), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Values_out_of_range_are_the_models_own_error()
    {
        Assert.Equal("QB4006", (await Assert.ThrowsAsync<QuantBuildException>(() => client.GetResponseAsync(Question, new() { TopP = 2 }))).Id);
        Assert.Equal("QB4005", (await Assert.ThrowsAsync<QuantBuildException>(() => client.GetResponseAsync(new string('x', 5000)))).Id);
        await Assert.ThrowsAsync<ArgumentNullException>(() => client.GetResponseAsync((IEnumerable<ChatMessage>)null!));
        Assert.Throws<ArgumentNullException>(() => client.GetStreamingResponseAsync((IEnumerable<ChatMessage>)null!));
    }

    [Fact]
    public async Task The_format_of_the_caller_is_used_and_tools_that_it_has_no_place_for_are_refused()
    {
        IChatClient plain = Model.AsChatClient(new PlainFormat());
        ChatResponse response = await plain.GetResponseAsync("It was a dark", new() { MaxOutputTokens = 9, Temperature = 0 });
        Assert.Equal(Model.Generate("It was a dark", new() { MaxTokens = 9, Temperature = 0 }).TrimStart(), response.Text);
        ChatOptions options = new() { Tools = [AIFunctionFactory.Create(() => 1, "one")] };
        Assert.Equal("QB4012", (await Assert.ThrowsAsync<QuantBuildException>(() => plain.GetResponseAsync("x", options))).Id);
    }

    [Fact]
    public async Task Cancellation_ends_the_answer()
    {
        using CancellationTokenSource source = new();
        int updates = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in client.GetStreamingResponseAsync(Question, new() { MaxOutputTokens = 400, Seed = 1, StopSequences = [] }, source.Token))
            {
                if (++updates == 3) await source.CancelAsync();
            }
        });
        Assert.Equal(3, updates);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.GetResponseAsync(Question, null, source.Token));
    }

    [Fact]
    public async Task Answers_at_once_are_those_of_one_after_another_and_options_stay_as_they_were()
    {
        ChatOptions shared = new() { MaxOutputTokens = 16, Temperature = 0, StopSequences = ["zzz"], Instructions = "Be brief." };
        string before = JsonSerializer.Serialize(shared, AIJsonUtilities.DefaultOptions);
        string[] questions = ["Who is he?", "Where is she?", "What was the matter?", "When did they come?"];
        List<string> alone = [];
        foreach (string question in questions) alone.Add((await client.GetResponseAsync(question, shared)).Text);
        Assert.Equal(alone, await Task.WhenAll(questions.Select(async question => (await client.GetResponseAsync(question, shared)).Text)));
        Assert.Equal(before, JsonSerializer.Serialize(shared, AIJsonUtilities.DefaultOptions));
    }

    [Fact]
    public async Task A_client_that_is_disposed_leaves_the_model_to_its_owner()
    {
        Model.AsChatClient().Dispose();
        Model.AsEmbeddingGenerator().Dispose();
        Assert.NotEmpty((await client.GetResponseAsync(Question, new() { MaxOutputTokens = 3 })).Messages);
    }

    [Fact]
    public async Task Telemetry_is_that_of_UseOpenTelemetry()
    {
        List<Activity> activities = [];
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name == "chat-tests",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = activities.Add,
        };
        ActivitySource.AddActivityListener(listener);
        using IChatClient traced = client.AsBuilder().UseOpenTelemetry(sourceName: "chat-tests").Build();
        ChatResponse response = await traced.GetResponseAsync(Question, new() { MaxOutputTokens = 4 });
        Activity activity = Assert.Single(activities);
        Assert.Equal("quantbuild", activity.GetTagItem("gen_ai.provider.name"));
        Assert.Equal("test", activity.GetTagItem("gen_ai.response.model"));
        Assert.Equal(response.ResponseId, activity.GetTagItem("gen_ai.response.id"));
        Assert.Equal(4L, Convert.ToInt64(activity.GetTagItem("gen_ai.usage.output_tokens"), System.Globalization.CultureInfo.InvariantCulture));
    }

    private sealed record Person(string Name, int Age);

    private sealed class PlainFormat : ChatFormat
    {
        public override IReadOnlyList<string> StopStrings => [];

        public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt) =>
            string.Concat(messages.Select(message => message.Text));
    }
}
