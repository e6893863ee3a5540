using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>What <see cref="ChatOptions"/> come to: each is honoured, or an error.</summary>
internal static class ChatSettings
{
    /// <summary>Names of <see cref="ChatOptions.AdditionalProperties"/> that are honoured.</summary>
    private static readonly string[] AdditionalNames = ["min_p", "typical_p", "repetition_penalty", "repetition_window"];

    // Names that templates give to whether a model thinks before it answers.
    private static readonly string[] ThinkingSwitches = ["enable_thinking", "thinking"];

    /// <summary>How text is generated, without what format, stop strings and tools ask for.</summary>
    /// <param name="client">The client that is asked, for <see cref="ChatOptions.RawRepresentationFactory"/>.</param>
    /// <param name="modelName">The name of the client's model.</param>
    /// <param name="format">How conversations are written.</param>
    /// <param name="options">The request's options.</param>
    /// <exception cref="QuantBuildException">QB4012: an option that cannot be honoured.</exception>
    public static GenerationOptions Generation(IChatClient client, string modelName, ChatFormat format, ChatOptions? options)
    {
        if (options is null) return new GenerationOptions();
        if (options.ConversationId is { } conversation)
        {
            throw Unsupported($"ChatOptions.ConversationId is {conversation}, and the client keeps no conversations. Leave it out, and pass all messages each time.");
        }

        if (options.ContinuationToken is not null) throw Unsupported("ChatOptions.ContinuationToken is set, and the client has no background responses to go on with. Leave it out.");
        CheckModel(nameof(ChatOptions), options.ModelId, modelName);

        GenerationOptions raw = options.RawRepresentationFactory?.Invoke(client) switch
        {
            null => new GenerationOptions(),
            GenerationOptions given => given,
            { } other => throw Unsupported($"ChatOptions.RawRepresentationFactory gives a {other.GetType()}, expected {typeof(GenerationOptions)}. Make it give that."),
        };
        foreach (string name in options.AdditionalProperties?.Keys ?? Enumerable.Empty<string>())
        {
            if (AdditionalNames.Contains(name) || format.Variables.Contains(name)) continue;
            string variables = format.Variables.Count == 0 ? "" : $", and of the model's chat template {string.Join(", ", format.Variables.Order(StringComparer.Ordinal))}";
            throw Unsupported(
                $"ChatOptions.AdditionalProperties has {name}, expected none but {string.Join(", ", AdditionalNames)}{variables}. " +
                "Leave it out; ChatOptions.RawRepresentationFactory can give all other GenerationOptions.");
        }

        return raw with
        {
            MaxTokens = options.MaxOutputTokens ?? raw.MaxTokens,
            Temperature = options.Temperature ?? raw.Temperature,
            TopP = options.TopP ?? raw.TopP,
            TopK = options.TopK ?? raw.TopK,
            MinP = Number(options, "min_p") ?? raw.MinP,
            TypicalP = Number(options, "typical_p") ?? raw.TypicalP,
            RepetitionPenalty = Number(options, "repetition_penalty") ?? raw.RepetitionPenalty,
            RepetitionWindow = (int?)Number(options, "repetition_window") ?? raw.RepetitionWindow,
            FrequencyPenalty = options.FrequencyPenalty ?? raw.FrequencyPenalty,
            PresencePenalty = options.PresencePenalty ?? raw.PresencePenalty,
            Seed = options.Seed is { } seed ? unchecked((ulong)seed) : raw.Seed,
            StopStrings = [.. raw.StopStrings, .. options.StopSequences ?? []],
        };
    }

    /// <summary>What the request sets of the format's variables.</summary>
    /// <exception cref="QuantBuildException">QB4012: a value that is no JSON, or reasoning that the format has no variable for.</exception>
    public static IReadOnlyDictionary<string, object?> Variables(ChatOptions? options, ChatFormat format)
    {
        Dictionary<string, object?> variables = new(StringComparer.Ordinal);
        if (options?.Reasoning?.Effort is { } effort)
        {
            // Models that think have one of two: how much, or whether at all.
            string? switched = Array.Find(ThinkingSwitches, format.Variables.Contains);
            bool hasEffort = format.Variables.Contains("reasoning_effort");
            if (switched is not null && (effort == ReasoningEffort.None || !hasEffort)) variables[switched] = effort != ReasoningEffort.None;
            if (hasEffort && effort != ReasoningEffort.None) variables["reasoning_effort"] = effort == ReasoningEffort.ExtraHigh ? "high" : effort.ToString().ToLowerInvariant();
            if (variables.Count == 0)
            {
                throw Unsupported($"ChatOptions.Reasoning.Effort is {effort}, and the model's chat format has no variable for it. Leave it out, and ask for it in the instructions.");
            }
        }

        foreach ((string name, object? value) in options?.AdditionalProperties ?? [])
        {
            if (AdditionalNames.Contains(name) || !format.Variables.Contains(name)) continue;
            try
            {
                variables[name] = JsonSerializer.SerializeToElement(value, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(object)));
            }
            catch (Exception e) when (e is NotSupportedException or JsonException)
            {
                throw new QuantBuildException(
                    DiagnosticIds.ChatOptionUnsupported,
                    $"ChatOptions.AdditionalProperties[\"{name}\"] is a {value?.GetType()}, which cannot be written as JSON: {e.Message} Set a text, a number, a boolean, a list or dictionary of them, or a JsonElement.", e);
            }
        }

        return variables;
    }

    /// <summary>The tools that the model may call.</summary>
    /// <exception cref="QuantBuildException">QB4012: a tool that is no function, or a tool is required and missing.</exception>
    public static IReadOnlyList<AIFunctionDeclaration> Tools(ChatOptions? options, ChatFormat format)
    {
        if (options?.ToolMode is NoneChatToolMode) return [];
        List<AIFunctionDeclaration> tools = [];
        foreach (AITool tool in options?.Tools ?? [])
        {
            if (tool is AIFunctionDeclaration function) tools.Add(function);
            else throw Unsupported($"ChatOptions.Tools has the {tool.GetType().Name} {tool.Name}, and the model can call functions alone. Leave it out, or offer it as an AIFunction.");
        }

        if (tools.Count > 0 && format.ToolCalls is null)
        {
            throw Unsupported($"ChatOptions.Tools has {tools[0].Name}, and the model's chat format has no place for tools. Leave them out, or give the client a ChatFormat that has.");
        }

        if (options?.ToolMode is not RequiredChatToolMode required) return tools;
        if (tools.Count == 0) throw Unsupported("ChatOptions.ToolMode requires a call, and ChatOptions.Tools has no function. Add one, or leave the mode out.");
        if (required.RequiredFunctionName is { } wanted && tools.All(tool => tool.Name != wanted))
        {
            throw Unsupported($"ChatOptions.ToolMode requires a call of {wanted}, and ChatOptions.Tools has {string.Join(", ", tools.Select(tool => tool.Name))} alone. Add it.");
        }

        return tools;
    }

    /// <summary>Checks that a request is for the client's model.</summary>
    /// <exception cref="QuantBuildException">QB4012: it is for another.</exception>
    public static void CheckModel(string options, string? asked, string modelName)
    {
        if (asked is null || asked == modelName) return;
        throw Unsupported($"{options}.ModelId is {asked}, and the client has {modelName}. Leave it out, or ask the client of that model.");
    }

    /// <summary>An option that cannot be honoured.</summary>
    public static QuantBuildException Unsupported(string message) => new(DiagnosticIds.ChatOptionUnsupported, message);

    private static double? Number(ChatOptions options, string name)
    {
        if (options.AdditionalProperties is not { } properties || !properties.TryGetValue(name, out object? value)) return null;
        return value switch
        {
            double or float or int or long or decimal => Convert.ToDouble(value, CultureInfo.InvariantCulture),
            JsonElement { ValueKind: JsonValueKind.Number } number => number.GetDouble(),
            _ => throw Unsupported($"ChatOptions.AdditionalProperties[\"{name}\"] is {value ?? "null"}, expected a number. Set one, or leave it out."),
        };
    }
}
