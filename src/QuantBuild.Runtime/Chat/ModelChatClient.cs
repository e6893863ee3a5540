using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>
/// Answers conversations with a model. It keeps nothing of them: what later requests have in common with earlier ones, the model's prompt cache remembers.
/// </summary>
internal sealed class ModelChatClient : IChatClient
{
    // Schemas whose grammars are kept, at most: a program has a few, and makes them anew only if it makes up new ones all the time.
    private const int KeptFormats = 64;

    private readonly LanguageModel model;
    private readonly ChatFormat format;
    private readonly ChatClientMetadata metadata;
    private readonly ConcurrentDictionary<string, OutputFormat> formats = new(StringComparer.Ordinal);
    private readonly int[] stopTokens;

    public ModelChatClient(LanguageModel model, ChatFormat format)
    {
        (this.model, this.format) = (model, format);
        metadata = new ChatClientMetadata("quantbuild", defaultModelId: ModelName);
        // A special token is no text, and no stop string can be found in it.
        stopTokens =
        [
            .. format.StopStrings.Select(stop => model.Tokenizer.Encode(stop, addSpecialTokens: false))
                .Where(ids => ids.Count == 1 && model.Tokenizer.TokenBytes(ids[0]).IsEmpty).Select(ids => ids[0]),
        ];
    }

    private string ModelName => model.Manifest.ModelName;

    public async Task<ChatResponse> GetResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in GetStreamingResponseAsync(messages, options, cancellationToken).ConfigureAwait(false)) updates.Add(update);
        ChatResponse response = updates.ToChatResponse();
        response.RawRepresentation = (updates[^1].RawRepresentation as GenerationUpdate)?.Result;
        return response;
    }

    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return AnswerAsync(messages, options, cancellationToken);
    }

    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        object?[] services = [this, metadata, model, format];
        return serviceKey is null ? services.FirstOrDefault(serviceType.IsInstanceOfType) : null;
    }

    /// <summary>Nothing to release: the model belongs to whoever loaded it.</summary>
    public void Dispose()
    {
    }

    private async IAsyncEnumerable<ChatResponseUpdate> AnswerAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        GenerationOptions generation = ChatSettings.Generation(this, ModelName, options);
        IReadOnlyList<AIFunctionDeclaration> tools = ChatSettings.Tools(options, format);
        OutputFormat? answerFormat = AnswerFormat(options?.ResponseFormat, generation.Format);
        string prompt = format.Render(ChatPrompt.Messages(messages, options?.Instructions), tools, addGenerationPrompt: true);
        generation = generation with { StopStrings = [.. generation.StopStrings, .. format.StopStrings], StopTokens = [.. generation.StopTokens, .. stopTokens], IsPromptWhole = format.WritesSpecialTokens };

        // A form for the answer leaves no place for a call, and so what comes is decided first.
        int tokensBefore = 0;
        bool mustCall = options?.ToolMode is RequiredChatToolMode;
        if (!mustCall && tools.Count > 0 && answerFormat is not null)
        {
            (mustCall, tokensBefore) = await ChoosesCallAsync(prompt, generation, cancellationToken).ConfigureAwait(false);
        }

        ToolCallParser? calls = tools.Count > 0 && (mustCall || answerFormat is null) ? new ToolCallParser(format.ToolCalls!, mustCall) : null;
        bool trims = !mustCall && !EndsInSpace(prompt);
        if (mustCall)
        {
            string? name = (options?.ToolMode as RequiredChatToolMode)?.RequiredFunctionName;
            prompt += CallStart(prompt);
            generation = generation with { Format = FormatOf(ToolSchemas.CallOf(name is null ? tools : [.. tools.Where(tool => tool.Name == name)])) };
        }
        else
        {
            generation = generation with { Format = answerFormat };
            // The end of the first call is that of the answer, where there shall be no second.
            if (calls is not null && options?.AllowMultipleToolCalls == false) generation = generation with { StopStrings = [.. generation.StopStrings, format.ToolCalls!.End] };
        }

        string responseId = Guid.NewGuid().ToString("N"), messageId = Guid.NewGuid().ToString("N");
        DateTimeOffset created = DateTimeOffset.UtcNow;
        bool called = false;
        await foreach (GenerationUpdate update in model.StreamUpdatesAsync(prompt, generation, cancellationToken).ConfigureAwait(false))
        {
            // White space between a prompt that ends in a word, such as "Assistant:", and the answer is part of neither.
            string text = trims ? update.Text.TrimStart() : update.Text;
            trims &= text.Length == 0;
            List<AIContent> contents = [];
            if (calls is not null) contents.AddRange(calls.Append(text));
            else if (text.Length > 0) contents.Add(new TextContent(text));
            if (update.Result is not null && calls is not null) contents.AddRange(calls.Finish());
            called |= contents.Exists(content => content is FunctionCallContent);
            if (update.Result is { } result) contents.Add(new UsageContent(Usage(result.Usage, tokensBefore)));
            if (contents.Count == 0) continue;
            yield return new ChatResponseUpdate(ChatRole.Assistant, contents)
            {
                ResponseId = responseId,
                MessageId = messageId,
                ModelId = ModelName,
                CreatedAt = created,
                FinishReason = update.Result is { } end ? Reason(end.FinishReason, called) : null,
                RawRepresentation = update,
            };
        }
    }

    /// <summary>Lets the model write as it likes until it is clear whether that begins with a call.</summary>
    private async Task<(bool Calls, int Tokens)> ChoosesCallAsync(string prompt, GenerationOptions options, CancellationToken cancellationToken)
    {
        string start = format.ToolCalls!.Start, text = "";
        int tokens = 0;
        await foreach (GenerationUpdate update in model.StreamUpdatesAsync(prompt, options with { Format = null }, cancellationToken).ConfigureAwait(false))
        {
            tokens++;
            text = (text + update.Text).TrimStart();
            if (text.StartsWith(start, StringComparison.Ordinal)) return (true, tokens);
            if (!start.StartsWith(text, StringComparison.Ordinal)) break;
        }

        return (false, tokens);
    }

    private string CallStart(string prompt) => (EndsInSpace(prompt) ? "" : " ") + format.ToolCalls!.Start + "\n";

    private OutputFormat? AnswerFormat(ChatResponseFormat? asked, OutputFormat? otherwise) => asked switch
    {
        null => otherwise,
        ChatResponseFormatText => null,
        ChatResponseFormatJson { Schema: { } schema } => FormatOf(schema.GetRawText()),
        ChatResponseFormatJson => OutputFormat.Json,
        _ => throw ChatSettings.Unsupported($"ChatOptions.ResponseFormat is a {asked.GetType().Name}, expected text or JSON. Choose one of them."),
    };

    private OutputFormat FormatOf(string schema)
    {
        if (formats.Count >= KeptFormats) formats.Clear();
        return formats.GetOrAdd(schema, OutputFormat.JsonSchema);
    }

    private static bool EndsInSpace(string prompt) => prompt.Length > 0 && char.IsWhiteSpace(prompt[^1]);

    private static ChatFinishReason Reason(FinishReason reason, bool called) => reason switch
    {
        FinishReason.MaxTokens or FinishReason.ContextFull => ChatFinishReason.Length,
        _ => called ? ChatFinishReason.ToolCalls : ChatFinishReason.Stop,
    };

    private static UsageDetails Usage(GenerationUsage usage, int tokensBefore)
    {
        int generated = tokensBefore + usage.GeneratedTokens;
        return new UsageDetails
        {
            InputTokenCount = usage.PromptTokens,
            CachedInputTokenCount = usage.CachedPromptTokens,
            OutputTokenCount = generated,
            TotalTokenCount = usage.PromptTokens + generated,
        };
    }
}
