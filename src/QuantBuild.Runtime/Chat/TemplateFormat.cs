using System.Collections.Generic;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>
/// Conversations as the model's own chat template writes them. What ends a turn and how tools are called, a template does not say: both are read off what it writes.
/// </summary>
internal sealed class TemplateFormat : ChatFormat
{
    // Texts that no template has of itself.
    private const string Mark = "quantbuildmark";
    private const string OtherMark = "quantbuildother";
    private const int LongestToken = 64;

    private static readonly ChatMessage Question = new(ChatRole.User, "?");

    private readonly ChatTemplate template;
    private readonly ChatTemplate? toolTemplate;
    private readonly TextTokenizer tokenizer;
    private readonly TimeProvider clock;

    // How the template has calls written; null where it does not, or not as JSON between two marks.
    private readonly ToolCallSyntax? ownCalls;

    /// <summary>A format of templates.</summary>
    /// <param name="template">The model's template.</param>
    /// <param name="toolTemplate">The one for requests with tools, where that is another.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="clock">The time, for templates that write it.</param>
    public TemplateFormat(ChatTemplate template, ChatTemplate? toolTemplate, TextTokenizer tokenizer, TimeProvider? clock = null)
    {
        (this.template, this.toolTemplate, this.tokenizer, this.clock) = (template, toolTemplate, tokenizer, clock ?? TimeProvider.System);
        StopStrings = FindStop() is { Length: > 0 } stop ? [stop] : [];
        ownCalls = FindCalls();
    }

    public override IReadOnlyList<string> StopStrings { get; }

    public override ToolCallSyntax ToolCalls => ownCalls ?? HermesTools.Syntax;

    public override bool WritesSpecialTokens => true;

    public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt)
    {
        if (ownCalls is not null) return Render(Messages(messages), tools, addGenerationPrompt);
        // Tools that the template has no place for are described by the system, and answered by the user.
        IEnumerable<TemplateValue> turns = HermesTools.Turns(messages, tools)
            .Select(turn => Mapping(("role", (turn.Role == ChatRole.Tool ? ChatRole.User : turn.Role).Value), ("content", turn.Text)));
        return Render(turns, [], addGenerationPrompt);
    }

    private string Render(IEnumerable<TemplateValue> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt)
    {
        Dictionary<string, TemplateValue> variables = new(StringComparer.Ordinal)
        {
            ["messages"] = List(messages),
            ["tools"] = tools.Count > 0 ? List(tools.Select(Describe)) : TemplateValue.None,
            ["documents"] = TemplateValue.None,
            ["add_generation_prompt"] = addGenerationPrompt,
        };
        return (tools.Count > 0 ? toolTemplate ?? template : template).Render(variables, clock);
    }

    private static IEnumerable<TemplateValue> Messages(IReadOnlyList<ChatMessage> messages)
    {
        Dictionary<string, string> names = new(StringComparer.Ordinal);
        foreach (ChatMessage message in messages)
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
            yield return calls.Count == 0
                ? Mapping(("role", message.Role.Value), ("content", message.Text))
                : Mapping(("role", message.Role.Value), ("content", message.Text), ("tool_calls", List(calls.Select(CallOf))));
        }
    }

    private static TemplateValue CallOf(FunctionCallContent call) => Mapping(
        ("type", "function"),
        ("id", IdOf(call.CallId)),
        ("function", Mapping(
            ("name", call.Name),
            ("arguments", Mapping([.. (call.Arguments ?? new Dictionary<string, object?>()).Select(argument => (argument.Key, TemplateValue.Of(Json(argument.Value))))])))));

    private static TemplateValue Describe(AIFunctionDeclaration tool) => Mapping(
        ("type", "function"),
        ("function", Mapping(("name", tool.Name), ("description", tool.Description), ("parameters", TemplateValue.Of(tool.JsonSchema)))));

    // Templates of Mistral's take ids of nine letters and digits alone.
    private static string IdOf(string id) =>
        id.Length == 9 && id.All(char.IsAsciiLetterOrDigit) ? id : Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes(id)))[..9];

    private static string ResultOf(object? result) => result as string ?? (Json(result) is { ValueKind: JsonValueKind.String } text ? text.GetString()! : TemplateJson.Write(TemplateValue.Of(Json(result)), false, default, default, false));

    private static JsonElement Json(object? value) => JsonSerializer.SerializeToElement(value, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(object)));

    private static TemplateValue List(IEnumerable<TemplateValue> items) => new(new TemplateSequence([.. items]));

    private static TemplateValue Mapping(params (string Key, TemplateValue Value)[] members)
    {
        OrderedDictionary<TemplateValue, TemplateValue> mapping = [];
        foreach ((string key, TemplateValue value) in members) mapping[key] = value;
        return new TemplateValue(mapping);
    }

    /// <summary>What the template writes after a message of the assistant: a special token, or else what begins the next message.</summary>
    private string? FindStop()
    {
        if (After(TryRender([Question, new(ChatRole.Assistant, Mark)], [])) is { Length: > 0 } end && SpecialToken(end) is { } token) return token;
        string? between = After(TryRender([Question, new(ChatRole.Assistant, Mark), new(ChatRole.User, OtherMark)], []));
        int next = between?.IndexOf(OtherMark, StringComparison.Ordinal) ?? -1;
        if (next < 0) return null;
        between = between![..next];
        return SpecialToken(between) ?? between.Trim();

        static string? After(string? text) => text?.IndexOf(Mark, StringComparison.Ordinal) is >= 0 and int at ? text[(at + Mark.Length)..] : null;
    }

    /// <summary>The special token that a text begins with, white space aside.</summary>
    private string? SpecialToken(string text)
    {
        text = text.TrimStart();
        for (int length = Math.Min(text.Length, LongestToken); length > 0; length--)
        {
            IReadOnlyList<int> ids = tokenizer.Encode(text[..length], addSpecialTokens: false);
            if (ids.Count == 1 && tokenizer.TokenBytes(ids[0]).IsEmpty) return text[..length];
        }

        return null;
    }

    /// <summary>The marks that the template writes around a call, if it describes tools and writes calls as JSON with <c>name</c> and <c>arguments</c>.</summary>
    private ToolCallSyntax? FindCalls()
    {
        using JsonDocument parameters = JsonDocument.Parse("""{"type":"object","properties":{"a":{"type":"string","description":"?"}}}""");
        AIFunctionDeclaration tool = AIFunctionFactory.CreateDeclaration(OtherMark, "?", parameters.RootElement);
        ChatMessage call = new(ChatRole.Assistant, [new FunctionCallContent("000000000", Mark, new Dictionary<string, object?> { ["a"] = "?" })]);
        string? before = TryRender([Question], [tool], prompt: true);
        if (before?.Contains(OtherMark, StringComparison.Ordinal) != true || TryRender([Question, call], [tool]) is not { } text) return null;
        int name = text.IndexOf(Mark, StringComparison.Ordinal);
        int begin = name < 0 ? -1 : text.LastIndexOf('{', name);
        if (begin < 0 || LengthOfCall(text[begin..]) is not { } length) return null;
        // The line of the call, without what begins the turn.
        string start = text.StartsWith(before, StringComparison.Ordinal) && before.Length <= begin ? text[before.Length..begin].Trim() : text[..begin].TrimEnd().Split('\n')[^1].Trim();
        string end = text[(begin + length)..].Trim();
        int stop = StopStrings.Count > 0 ? end.IndexOf(StopStrings[0], StringComparison.Ordinal) : -1;
        if (stop >= 0) end = end[..stop].Trim();
        // A special token is no text of an answer, and marks that are one would not be found.
        return start.Length > 0 && end.Length > 0 && SpecialToken(start) is null && SpecialToken(end) is null ? new ToolCallSyntax(start, end) : null;
    }

    private static int? LengthOfCall(string text)
    {
        Utf8JsonReader reader = new(Encoding.UTF8.GetBytes(text), new JsonReaderOptions { AllowMultipleValues = true });
        try
        {
            using JsonDocument call = JsonDocument.ParseValue(ref reader);
            bool isCall = call.RootElement.TryGetProperty("name", out _) && call.RootElement.TryGetProperty("arguments", out JsonElement arguments) && arguments.ValueKind == JsonValueKind.Object;
            return isCall ? Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text).AsSpan(0, (int)reader.BytesConsumed)).Length : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private string? TryRender(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool prompt = false)
    {
        try
        {
            return Render(Messages(messages), tools, prompt);
        }
        catch (QuantBuildException)
        {
            return null;
        }
    }
}
