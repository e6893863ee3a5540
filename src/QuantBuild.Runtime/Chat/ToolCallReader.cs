using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>Reads one call, or one list of calls, from a text that grows.</summary>
/// <param name="syntax">How calls are written.</param>
/// <param name="tools">The tools that there are; their schemas say what arguments are that are not JSON.</param>
/// <param name="isBare">Whether no mark began it: then it is a call only of a tool that there is.</param>
internal sealed class ToolCallReader(ToolCallSyntax syntax, IReadOnlyList<AIFunctionDeclaration> tools, bool isBare)
{
    private const int LongestName = 256;

    private readonly string end = syntax.End.Trim();
    private string name = "";
    private JsonExtent? json;
    private int searched;

    /// <summary>Where the call ends in the text, once it is complete.</summary>
    public int End { get; private set; }

    /// <summary>The calls, once they are complete.</summary>
    public IReadOnlyList<FunctionCallContent> Calls { get; private set; } = [];

    /// <summary>Looks at what has come.</summary>
    /// <param name="text">The text after the mark, from its beginning.</param>
    public Progress Read(string text)
    {
        if (syntax.Arguments is not null) return ReadElements(text);
        if (json is null)
        {
            Progress named = syntax.AfterName is { } after ? ReadName(text, after.Trim()) : Progress.Complete;
            if (named != Progress.Complete) return named;
            json ??= new JsonExtent(0);
        }

        int begin = syntax.AfterName is null ? 0 : searched;
        Progress progress = json.Scan(text);
        if (progress != Progress.Complete) return progress;
        End = json.End;
        Calls = Parse(text[begin..End]);
        return Calls.Count > 0 ? Progress.Complete : Progress.None;
    }

    /// <summary>Takes a call whose last mark is missing, the answer being at its end.</summary>
    public bool Finish(string text)
    {
        if (syntax.Arguments is null || Elements(text) is not { } call) return false;
        Calls = [call];
        return true;
    }

    private Progress ReadName(string text, string after)
    {
        int at = after.Length > 0 ? text.IndexOf(after, StringComparison.Ordinal) : text.IndexOf('{', StringComparison.Ordinal);
        string before = (at < 0 ? text : text[..at]).Trim();
        if (at < 0) return before.Length > LongestName ? Progress.None : Progress.Open;
        if (!IsName(before)) return Progress.None;
        (name, searched) = (before, at + after.Length);
        json = new JsonExtent(searched);
        return Progress.Complete;
    }

    private static bool IsName(string text) => text.Length is > 0 and <= LongestName && !text.Any(c => char.IsWhiteSpace(c) || char.IsControl(c) || c is '<' or '>' or '[' or ']' or '{' or '}' or '"');

    private Progress ReadElements(string text)
    {
        for (int at; (at = text.IndexOf(end, searched, StringComparison.Ordinal)) >= 0; searched = at + 1)
        {
            // The mark may also stand within a value.
            if (Elements(text.AsSpan(0, at)) is not { } call) continue;
            (End, Calls) = (at + end.Length, [call]);
            return Progress.Complete;
        }

        searched = Math.Max(searched, text.Length - end.Length + 1);
        string begin = text.TrimStart();
        int stop = begin.AsSpan().IndexOfAny("<>[\n ");
        return stop == 0 || (stop < 0 && begin.Length > LongestName) ? Progress.None : Progress.Open;
    }

    /// <summary>The call whose name and arguments a text is; <see langword="null"/> if it is none.</summary>
    private FunctionCallContent? Elements(ReadOnlySpan<char> text)
    {
        (string beforeName, string afterName, string afterValue) = (syntax.Arguments!.BeforeName.Trim(), syntax.Arguments.AfterName.Trim(), syntax.Arguments.AfterValue.Trim());
        string afterCallee = syntax.AfterName?.Trim() ?? "";
        int at = text.IndexOf(afterCallee.Length > 0 ? afterCallee : beforeName, StringComparison.Ordinal);
        if (at < 0 && afterCallee.Length > 0) return null;
        if (at >= 0 && text.IndexOf(beforeName, StringComparison.Ordinal) >= 0 && !text.TrimEnd().EndsWith(afterValue, StringComparison.Ordinal)) return null;
        string callee = (at < 0 ? text : text[..at]).Trim().ToString();
        if (!IsName(callee)) return null;
        Dictionary<string, object?> arguments = [];
        ReadOnlySpan<char> rest = at < 0 ? "" : text[(at + afterCallee.Length)..].Trim();
        while (rest.Length > 0)
        {
            int nameEnd = rest.IndexOf(afterName, StringComparison.Ordinal);
            if (!rest.StartsWith(beforeName, StringComparison.Ordinal) || nameEnd < beforeName.Length) return null;
            string argument = rest[beforeName.Length..nameEnd].Trim().ToString();
            rest = rest[(nameEnd + afterName.Length)..];
            int valueEnd = ValueEnd(rest, afterValue, beforeName);
            if (argument.Length == 0 || valueEnd < 0) return null;
            arguments[argument] = ValueOf(callee, argument, Stripped(rest[..valueEnd]));
            rest = rest[(valueEnd + afterValue.Length)..].TrimStart();
        }

        return NewCall(callee, arguments);
    }

    /// <summary>Where a value ends: at the first mark after which the next argument, or nothing, follows.</summary>
    private static int ValueEnd(ReadOnlySpan<char> text, string afterValue, string beforeName)
    {
        for (int from = 0; from <= text.Length;)
        {
            int at = text[from..].IndexOf(afterValue, StringComparison.Ordinal);
            if (at < 0) return -1;
            ReadOnlySpan<char> after = text[(from + at + afterValue.Length)..].TrimStart();
            if (after.Length == 0 || after.StartsWith(beforeName, StringComparison.Ordinal)) return from + at;
            from += at + 1;
        }

        return -1;
    }

    private string Stripped(ReadOnlySpan<char> value)
    {
        if (syntax.Arguments!.AfterName.EndsWith('\n') && value.StartsWith("\n", StringComparison.Ordinal)) value = value[1..];
        if (syntax.Arguments.AfterValue.StartsWith('\n') && value.EndsWith("\n", StringComparison.Ordinal)) value = value[..^1];
        return value.ToString();
    }

    /// <summary>What a text stands for as an argument: itself where the tool takes a text, else what it is as JSON.</summary>
    private object? ValueOf(string callee, string argument, string text)
    {
        JsonElement? schema = tools.FirstOrDefault(tool => tool.Name == callee)?.JsonSchema;
        bool isText = schema is { ValueKind: JsonValueKind.Object } of && of.TryGetProperty("properties", out JsonElement properties) && properties.ValueKind == JsonValueKind.Object
            && properties.TryGetProperty(argument, out JsonElement property) && property.ValueKind == JsonValueKind.Object
            && property.TryGetProperty("type", out JsonElement type) && type.ValueKind == JsonValueKind.String && type.ValueEquals("string");
        if (isText) return text;
        // Templates write these as Python does, and so do models.
        string trimmed = text.Trim() switch
        {
            "True" => "true",
            "False" => "false",
            "None" => "null",
            { } other => other,
        };
        try
        {
            using JsonDocument document = JsonDocument.Parse(trimmed);
            return document.RootElement.ValueKind == JsonValueKind.Null ? null : document.RootElement.Clone();
        }
        catch (JsonException)
        {
            return text;
        }
    }

    /// <summary>The calls that a complete JSON value is: none, if it is no call.</summary>
    private List<FunctionCallContent> Parse(string text)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text);
            JsonElement root = document.RootElement;
            if (syntax.AfterName is not null) return root.ValueKind == JsonValueKind.Object ? [NewCall(name, Members(root))] : [];
            FunctionCallContent?[] calls = root.ValueKind == JsonValueKind.Array ? [.. root.EnumerateArray().Select(CallOf)] : [CallOf(root)];
            return calls.Contains(null) ? [] : [.. calls.OfType<FunctionCallContent>()];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The second is of half a surrogate pair, which System.Text.Json parses and does not give out.
            return [];
        }
    }

    private FunctionCallContent? CallOf(JsonElement call)
    {
        if (call.ValueKind != JsonValueKind.Object) return null;
        // As the API of OpenAI has it.
        if (call.TryGetProperty("function", out JsonElement function) && function.ValueKind == JsonValueKind.Object) call = function;
        if (!(call.TryGetProperty(syntax.NameMember, out JsonElement callee) || call.TryGetProperty("name", out callee)) || callee.ValueKind != JsonValueKind.String) return null;
        if (isBare && tools.All(tool => tool.Name != callee.GetString())) return null;
        // Models of either habit write the other's name.
        if (!call.TryGetProperty(syntax.ArgumentsMember, out JsonElement arguments) && !call.TryGetProperty("arguments", out arguments)) call.TryGetProperty("parameters", out arguments);
        FunctionCallContent content = NewCall(callee.GetString()!, null);
        if (arguments.ValueKind == JsonValueKind.String)
        {
            using JsonDocument? written = ParseObject(arguments.GetString()!);
            if (written is not null) arguments = written.RootElement.Clone();
        }

        if (arguments.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null) content.Arguments = new Dictionary<string, object?>();
        else if (arguments.ValueKind == JsonValueKind.Object) content.Arguments = Members(arguments);
        else content.Exception = new JsonException($"The arguments of {content.Name} are not a JSON object but {arguments.GetRawText()}.");
        return content;
    }

    private static JsonDocument? ParseObject(string text)
    {
        try
        {
            return JsonDocument.Parse(text);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static FunctionCallContent NewCall(string name, Dictionary<string, object?>? arguments) => new("call_" + Guid.NewGuid().ToString("N"), name, arguments);

    private static Dictionary<string, object?> Members(JsonElement value)
    {
        Dictionary<string, object?> members = [];
        foreach (JsonProperty member in value.EnumerateObject()) members[member.Name] = member.Value.ValueKind == JsonValueKind.Null ? null : member.Value.Clone();
        return members;
    }
}
