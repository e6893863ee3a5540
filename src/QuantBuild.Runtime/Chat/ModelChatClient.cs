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
        GenerationOptions generation = ChatSettings.Generation(this, ModelName, format, options);
        IReadOnlyList<AIFunctionDeclaration> tools = ChatSettings.Tools(options, format);
        OutputFormat? answerFormat = AnswerFormat(options?.ResponseFormat, generation.Format);
        IReadOnlyDictionary<string, object?> variables = ChatSettings.Variables(options, format);
        string prompt = format.Render(ChatPrompt.Messages(messages, options?.Instructions), tools, addGenerationPrompt: true, variables);
        ToolCallSyntax? syntax = tools.Count > 0 ? format.ToolCalls : null;
        ReasoningSyntax? reasoning = format.Reasoning;
        generation = generation with
        {
            StopStrings = [.. generation.StopStrings, .. format.StopStrings],
            StopTokens = [.. generation.StopTokens, .. stopTokens],
            IsPromptWhole = format.WritesSpecialTokens,
            VisibleTokens = [.. (syntax?.Marks ?? []).Concat(reasoning is null ? [] : [reasoning.Start, reasoning.End]).Concat(format.HasChannels ? ChannelParser.Marks : []).SelectMany(SpecialTokens).Except(stopTokens)],
        };

        bool mustCall = options?.ToolMode is RequiredChatToolMode;
        bool thinks = reasoning is not null && prompt.AsSpan().TrimEnd().EndsWith(reasoning.Start.Trim(), StringComparison.Ordinal);
        if (thinks && (mustCall || answerFormat is not null))
        {
            // What has a form leaves no place for reasoning, and so that ends before it begins.
            prompt += reasoning!.End;
            thinks = false;
        }

        // A form for the answer leaves no place for a call, and so what comes is decided first.
        int tokensBefore = 0;
        if (!mustCall && syntax is not null && answerFormat is not null)
        {
            (mustCall, tokensBefore) = await ChoosesCallAsync(prompt, syntax, tools, generation, cancellationToken).ConfigureAwait(false);
        }

        if (format.HasChannels && !mustCall && answerFormat is not null) prompt += ChannelParser.FinalHeader;

        bool trims = !mustCall && !EndsInSpace(prompt);
        bool isSingle = options?.AllowMultipleToolCalls == false;
        string? begun = null;
        if (mustCall)
        {
            string? name = (options?.ToolMode as RequiredChatToolMode)?.RequiredFunctionName;
            prompt += (format.WritesSpecialTokens || EndsInSpace(prompt) ? "" : " ") + syntax!.Open + syntax.Start;
            (begun, OutputFormat? callFormat, int tokens) = await BeginCallAsync(prompt, syntax, name is null ? tools : [.. tools.Where(tool => tool.Name == name)], generation, cancellationToken).ConfigureAwait(false);
            prompt += begun;
            tokensBefore += tokens;
            generation = generation with { Format = callFormat };
        }
        else
        {
            generation = generation with { Format = answerFormat };
        }

        // The end of the first call is that of the answer, where there shall be no second, or arguments have no form that ends them.
        if (syntax is not null && syntax.End.Trim() is { Length: > 0 } end && (isSingle || (mustCall && generation.Format is null))) generation = generation with { StopStrings = [.. generation.StopStrings, end] };
        ChannelParser? channels = format.HasChannels && generation.Format is null && !mustCall ? new ChannelParser(tools) : null;
        ToolCallParser? calls = channels is null && syntax is not null && (mustCall || answerFormat is null) ? new ToolCallParser(syntax, tools, begun, isSingle) : null;
        ReasoningParser? thoughts = channels is not null || reasoning is null || generation.Format is not null || mustCall ? null : new ReasoningParser(reasoning, thinks);
        bool showsThoughts = options?.Reasoning?.Output != ReasoningOutput.None;

        string responseId = Guid.NewGuid().ToString("N"), messageId = Guid.NewGuid().ToString("N");
        DateTimeOffset created = DateTimeOffset.UtcNow;
        bool called = false;
        await foreach (GenerationUpdate update in model.StreamUpdatesAsync(prompt, generation, cancellationToken).ConfigureAwait(false))
        {
            // White space between a prompt that ends in a word, such as "Assistant:", and the answer is part of neither.
            string text = trims ? update.Text.TrimStart() : update.Text;
            trims &= text.Length == 0;
            List<AIContent> contents = [];
            if (thoughts is not null)
            {
                (string thought, text) = thoughts.Append(text, isLast: update.Result is not null);
                if (thought.Length > 0 && showsThoughts) contents.Add(new TextReasoningContent(thought));
            }

            if (channels is not null) contents.AddRange(channels.Append(text, isLast: update.Result is not null).Where(content => showsThoughts || content is not TextReasoningContent));
            else if (calls is not null) contents.AddRange(calls.Append(text));
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
                FinishReason = update.Result is { } last ? Reason(last.FinishReason, called) : null,
                RawRepresentation = update,
            };
        }
    }

    /// <summary>Lets the model write as it likes until it is clear whether that begins with a call.</summary>
    private async Task<(bool Calls, int Tokens)> ChoosesCallAsync(
        string prompt, ToolCallSyntax syntax, IReadOnlyList<AIFunctionDeclaration> tools, GenerationOptions options, CancellationToken cancellationToken)
    {
        ToolCallParser parser = new(syntax, tools);
        ChannelParser? channels = format.HasChannels ? new ChannelParser(tools) : null;
        string text = "";
        int tokens = 0;
        await foreach (GenerationUpdate update in model.StreamUpdatesAsync(prompt, options with { Format = null }, cancellationToken).ConfigureAwait(false))
        {
            tokens++;
            if (channels is not null)
            {
                channels.Append(update.Text, isLast: false);
                if (channels.Calls is { } calls) return (calls, tokens);
                continue;
            }

            text = (text + update.Text).TrimStart();
            Progress progress = parser.Begins(text);
            if (progress == Progress.Complete) return (true, tokens);
            if (progress == Progress.None) break;
        }

        return (false, tokens);
    }

    /// <summary>What a call begins with after its first mark, and the form of the rest; where arguments are not JSON, it has none.</summary>
    private async Task<(string Begun, OutputFormat? Format, int Tokens)> BeginCallAsync(
        string prompt, ToolCallSyntax syntax, IReadOnlyList<AIFunctionDeclaration> tools, GenerationOptions options, CancellationToken cancellationToken)
    {
        if (syntax.IsJson) return ("", FormatOf(ToolSchemas.CallOf(tools, syntax)), 0);
        AIFunctionDeclaration called = tools[0];
        int tokens = 0;
        if (tools.Count > 1)
        {
            // The name comes first, and the form of the arguments depends on it.
            GenerationResult named = await model.CompleteAsync(prompt, options with { Format = OutputFormat.Grammar(ToolSchemas.NameOf(tools)) }, cancellationToken).ConfigureAwait(false);
            called = tools.FirstOrDefault(tool => tool.Name == named.Text) ?? called;
            tokens = named.Usage.GeneratedTokens;
        }

        return (called.Name + syntax.AfterName, syntax.Arguments is null ? FormatOf(ToolSchemas.ArgumentsOf(called)) : null, tokens);
    }

    private IEnumerable<int> SpecialTokens(string text) => model.Tokenizer.Encode(text.Trim(), addSpecialTokens: false).Where(id => model.Tokenizer.TokenBytes(id).IsEmpty);

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
