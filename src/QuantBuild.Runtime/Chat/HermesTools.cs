using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>
/// How models of the Hermes and Qwen kind are told of tools, call them and read what they gave: JSON in <c>&lt;tools&gt;</c>, <c>&lt;tool_call&gt;</c> and
/// <c>&lt;tool_response&gt;</c> elements.
/// </summary>
internal static class HermesTools
{
    // Text for a model, not for a web page: letters stay as they are.
    private static readonly JsonWriterOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The marks of a call.</summary>
    public static ToolCallSyntax Syntax { get; } = new("<tool_call>\n", "\n</tool_call>");

    /// <summary>The turns of a conversation, tools, calls and results written out in their text. Results that follow one another are one turn.</summary>
    public static IEnumerable<(ChatRole Role, string Text)> Turns(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools) =>
        Turns(messages, tools, Syntax, keepsResults: false).Select(turn => (turn.Role, turn.Text));

    /// <summary>The same, calls as another syntax of JSON has them.</summary>
    /// <param name="messages">The messages.</param>
    /// <param name="tools">The tools that are to be described.</param>
    /// <param name="syntax">How calls are written; <see langword="null"/> is <see cref="Syntax"/>.</param>
    /// <param name="keepsResults">Whether results stay as they are: those of a message are in it.</param>
    /// <returns>Role and text of each turn, and the message that it was, where it was one.</returns>
    public static IEnumerable<(ChatMessage? Message, ChatRole Role, string Text)> Turns(
        IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, ToolCallSyntax? syntax, bool keepsResults)
    {
        syntax ??= Syntax;
        Dictionary<string, string> calls = [];
        bool described = tools.Count == 0;
        if (!described && !(messages is [{ } first, ..] && first.Role == ChatRole.System))
        {
            described = true;
            yield return (null, ChatRole.System, Describe(tools));
        }

        for (int i = 0; i < messages.Count; i++)
        {
            ChatMessage message = messages[i];
            if (message.Role == ChatRole.Tool && keepsResults)
            {
                yield return (message, message.Role, "");
                continue;
            }

            StringBuilder text = new(message.Role == ChatRole.Tool ? "" : message.Text);
            if (!described)
            {
                described = true;
                text.Append("\n\n").Append(Describe(tools));
            }

            FunctionCallContent[] called = [.. message.Contents.OfType<FunctionCallContent>()];
            foreach (FunctionCallContent call in called) calls[call.CallId] = call.Name;
            if (syntax.IsList && called.Length > 0) AppendLine(text, $"{syntax.Start}[{string.Join(", ", called.Select(call => Call(call, syntax)))}]{syntax.End}");
            foreach (FunctionCallContent call in syntax.IsList ? [] : called) AppendLine(text, syntax.Start + Call(call, syntax) + syntax.End);

            if (message.Role == ChatRole.Tool)
            {
                AppendResults(text, message, calls);
                while (i + 1 < messages.Count && messages[i + 1].Role == ChatRole.Tool) AppendResults(text, messages[++i], calls);
            }

            yield return (message.Role == ChatRole.Tool ? null : message, message.Role, text.ToString());
        }
    }

    private static string Describe(IReadOnlyList<AIFunctionDeclaration> tools)
    {
        StringBuilder text = new("# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>\n");
        foreach (AIFunctionDeclaration tool in tools) text.Append(Signature(tool)).Append('\n');
        return text.Append(
            "</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n" +
            $"{Syntax.Start}{{\"name\": <function-name>, \"arguments\": <args-json-object>}}{Syntax.End}").ToString();
    }

    private static string Signature(AIFunctionDeclaration tool) => Json(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("type", "function");
        writer.WriteStartObject("function");
        writer.WriteString("name", tool.Name);
        if (tool.Description.Length > 0) writer.WriteString("description", tool.Description);
        writer.WritePropertyName("parameters");
        tool.JsonSchema.WriteTo(writer);
        writer.WriteEndObject();
        writer.WriteEndObject();
    });

    private static string Call(FunctionCallContent call, ToolCallSyntax syntax) => Json(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString(syntax.NameMember, call.Name);
        writer.WriteStartObject(syntax.ArgumentsMember);
        foreach ((string name, object? value) in call.Arguments ?? new Dictionary<string, object?>())
        {
            writer.WritePropertyName(name);
            Write(writer, value);
        }

        writer.WriteEndObject();
        writer.WriteEndObject();
    });

    private static void AppendResults(StringBuilder text, ChatMessage message, Dictionary<string, string> calls)
    {
        foreach (AIContent content in message.Contents)
        {
            string result = content is FunctionResultContent { } of ? Json(writer =>
            {
                writer.WriteStartObject();
                if (calls.TryGetValue(of.CallId, out string? name)) writer.WriteString("name", name);
                writer.WritePropertyName("content");
                Write(writer, of.Result);
                writer.WriteEndObject();
            })
            : ((TextContent)content).Text;
            AppendLine(text, $"<tool_response>\n{result}\n</tool_response>");
        }
    }

    private static void Write(Utf8JsonWriter writer, object? value) => JsonSerializer.Serialize(writer, value, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(object)));

    private static string Json(Action<Utf8JsonWriter> write)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, Plain)) write(writer);
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    private static void AppendLine(StringBuilder text, string line)
    {
        if (text.Length > 0) text.Append('\n');
        text.Append(line);
    }
}
