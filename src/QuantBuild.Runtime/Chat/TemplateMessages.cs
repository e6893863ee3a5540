using System.Collections.Generic;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>Messages and tools as chat templates take them, in the form that the API of OpenAI gave them.</summary>
internal static class TemplateMessages
{
    /// <summary>The messages of a conversation.</summary>
    public static IEnumerable<TemplateValue> Of(IReadOnlyList<ChatMessage> messages, TemplateDialect dialect)
    {
        Dictionary<string, string> names = new(StringComparer.Ordinal);
        foreach (ChatMessage message in dialect.CallsAreSingle ? SingleCalls(messages) : messages)
        {
            if (message.Role == ChatRole.Tool)
            {
                foreach (AIContent content in message.Contents)
                {
                    yield return content is FunctionResultContent result
                        ? Mapping(("role", "tool"), ("tool_call_id", IdOf(result.CallId)), ("name", names.GetValueOrDefault(result.CallId, "")), ("content", ResultOf(result.Result)))
                        : Mapping(("role", "tool"), ("content", content.ToString()!));
                }

                continue;
            }

            List<FunctionCallContent> calls = [.. message.Contents.OfType<FunctionCallContent>()];
            foreach (FunctionCallContent call in calls) names[call.CallId] = call.Name;
            List<(string Key, TemplateValue Value)> members = [("role", message.Role.Value)];
            string reasoning = string.Concat(message.Contents.OfType<TextReasoningContent>().Select(content => content.Text));
            string text = message.Text;
            if (dialect.HasChannels && calls.Count > 0) (reasoning, text) = (string.Join("\n\n", new[] { reasoning, text }.Where(part => part.Length > 0)), "");
            if (reasoning.Length > 0 && dialect.Reasoning is not null) members.Add((dialect.HasChannels ? "thinking" : "reasoning_content", reasoning));
            if (calls.Count > 0 && dialect.CallsHaveNoText)
            {
                // What is said before the calls is a message of its own.
                if (text.Length > 0) yield return Mapping([.. members, ("content", text)]);
                members = [members[0], ("content", TemplateValue.None)];
            }
            else
            {
                members.Add(("content", text));
            }

            if (calls.Count > 0) members.Add(("tool_calls", List(calls.Select(call => CallOf(call, dialect.ArgumentsAreText)))));
            yield return Mapping([.. members]);
        }
    }

    /// <summary>A tool, as a function with its schema.</summary>
    public static TemplateValue Describe(AIFunctionDeclaration tool) => Mapping(("type", "function"), ("function", Function(tool)));

    /// <summary>A tool without that it is a function.</summary>
    public static TemplateValue Function(AIFunctionDeclaration tool) =>
        Mapping(("name", tool.Name), ("description", tool.Description), ("parameters", TemplateValue.Of(tool.JsonSchema)));

    public static TemplateValue List(IEnumerable<TemplateValue> items) => new(new TemplateSequence([.. items]));

    public static TemplateValue Mapping(params (string Key, TemplateValue Value)[] members)
    {
        OrderedDictionary<TemplateValue, TemplateValue> mapping = [];
        foreach ((string key, TemplateValue value) in members) mapping[key] = value;
        return new TemplateValue(mapping);
    }

    /// <summary>A value of the program.</summary>
    /// <exception cref="NotSupportedException">It is of a type that System.Text.Json knows nothing of.</exception>
    public static TemplateValue ValueOf(object? value) => TemplateValue.Of(JsonSerializer.SerializeToElement(value, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(object))));

    /// <summary>A value as JSON, as Python writes it.</summary>
    public static string Json(TemplateValue value) => TemplateJson.Write(value, false, default, default, false);

    /// <summary>Each call in a message of its own, with its result after it.</summary>
    private static IEnumerable<ChatMessage> SingleCalls(IReadOnlyList<ChatMessage> messages)
    {
        Dictionary<string, FunctionResultContent> results = new(StringComparer.Ordinal);
        foreach (FunctionResultContent result in messages.SelectMany(message => message.Contents).OfType<FunctionResultContent>()) results[result.CallId] = result;
        HashSet<string> given = new(StringComparer.Ordinal);
        foreach (ChatMessage message in messages)
        {
            List<FunctionCallContent> calls = [.. message.Contents.OfType<FunctionCallContent>()];
            if (calls.Count > 1)
            {
                for (int i = 0; i < calls.Count; i++)
                {
                    yield return new ChatMessage(message.Role, [.. message.Contents.Where(content => content is not FunctionCallContent && i == 0), calls[i]]);
                    // The last one's come as they are.
                    if (i + 1 < calls.Count && results.TryGetValue(calls[i].CallId, out FunctionResultContent? result) && given.Add(calls[i].CallId)) yield return new ChatMessage(ChatRole.Tool, [result]);
                }

                continue;
            }

            List<AIContent> contents = [.. message.Contents.Where(content => content is not FunctionResultContent result || !given.Contains(result.CallId))];
            if (contents.Count > 0 || message.Role != ChatRole.Tool) yield return new ChatMessage(message.Role, contents);
        }
    }

    private static TemplateValue CallOf(FunctionCallContent call, bool argumentsAreText)
    {
        TemplateValue arguments = Mapping([.. (call.Arguments ?? new Dictionary<string, object?>()).Select(argument => (argument.Key, ValueOf(argument.Value)))]);
        return Mapping(("type", "function"), ("id", IdOf(call.CallId)), ("function", Mapping(("name", call.Name), ("arguments", argumentsAreText ? Json(arguments) : arguments))));
    }

    // Templates of Mistral's take ids of nine letters and digits alone.
    private static string IdOf(string id) => id.Length == 9 && id.All(char.IsAsciiLetterOrDigit) ? id : Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(id)))[..9];

    private static string ResultOf(object? result) => result as string ?? (ValueOf(result) is { Content: string text } ? text : Json(ValueOf(result)));
}
