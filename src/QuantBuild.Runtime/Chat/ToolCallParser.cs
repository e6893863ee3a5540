using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>
/// Reads the calls of tools out of an answer, whatever pieces it comes in. Text is passed on as soon as it is certain not to begin a call; a call once it is complete. White space
/// around calls belongs to them. What turns out to be no call stays text.
/// </summary>
/// <param name="syntax">How calls are written.</param>
/// <param name="inCall">Whether the answer begins within a call, its first mark being in the prompt.</param>
internal sealed class ToolCallParser(ToolCallSyntax syntax, bool inCall = false)
{
    private readonly StringBuilder held = new();
    private bool inCall = inCall;
    private bool afterCall;

    // Within a call: the white space before it, and where its end may be found.
    private string space = "";
    private int searched;

    /// <summary>Takes a piece; what is now certain.</summary>
    public IReadOnlyList<AIContent> Append(string piece)
    {
        List<AIContent> contents = [];
        held.Append(piece);
        while (inCall ? TakeCall(contents) : TakeText(contents))
        {
        }

        return contents;
    }

    /// <summary>Ends the answer: what was held back, and a call whose last mark is missing.</summary>
    public IReadOnlyList<AIContent> Finish()
    {
        List<AIContent> contents = [];
        string rest = held.ToString();
        held.Clear();
        if (inCall && Read(rest) is { } call) contents.Add(call);
        else AddText(contents, inCall ? space + syntax.Start + rest : afterCall ? rest.TrimEnd() : rest);
        return contents;
    }

    /// <summary>Passes text on; whether a call begins after it.</summary>
    private bool TakeText(List<AIContent> contents)
    {
        string text = held.ToString();
        int start = text.IndexOf(syntax.Start, StringComparison.Ordinal);
        int certain = start >= 0 ? start : text.Length - OverlapLength(text, syntax.Start);
        while (certain > 0 && char.IsWhiteSpace(text[certain - 1])) certain--;
        AddText(contents, text[..certain]);
        inCall = start >= 0;
        if (inCall) space = text[certain..start];
        held.Remove(0, inCall ? start + syntax.Start.Length : certain);
        searched = 0;
        return inCall;
    }

    /// <summary>Takes a call that is complete; whether there was one, or what was no call.</summary>
    private bool TakeCall(List<AIContent> contents)
    {
        string text = held.ToString();
        for (int end; (end = text.IndexOf(syntax.End, searched, StringComparison.Ordinal)) >= 0; searched = end + 1)
        {
            int after = end + syntax.End.Length;
            if (Read(text[..end]) is { } call)
            {
                contents.Add(call);
                afterCall = true;
            }
            else if (BeginsJson(text[..after]))
            {
                // The mark stands within a string of the arguments.
                continue;
            }
            else
            {
                AddText(contents, space + syntax.Start + text[..after]);
            }

            held.Remove(0, after);
            inCall = false;
            return true;
        }

        searched = Math.Max(searched, text.Length - syntax.End.Length + 1);
        return false;
    }

    private void AddText(List<AIContent> contents, string text)
    {
        if (afterCall) text = text.TrimStart();
        if (text.Length == 0) return;
        afterCall = false;
        contents.Add(new TextContent(text));
    }

    /// <summary>The call that a text between the marks is; <see langword="null"/> if it is none.</summary>
    private static FunctionCallContent? Read(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("name", out JsonElement name) || name.ValueKind != JsonValueKind.String) return null;
            FunctionCallContent call = new("call_" + Guid.NewGuid().ToString("N"), name.GetString()!);
            if (!root.TryGetProperty("arguments", out JsonElement arguments) || arguments.ValueKind == JsonValueKind.Null) call.Arguments = new Dictionary<string, object?>();
            else if (arguments.ValueKind == JsonValueKind.Object) call.Arguments = Members(arguments);
            else call.Exception = new JsonException($"The arguments of {call.Name} are not a JSON object but {arguments.GetRawText()}.");
            return call;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Whether a text is JSON as far as it goes.</summary>
    private static bool BeginsJson(string text)
    {
        Utf8JsonReader reader = new(Encoding.UTF8.GetBytes(text), isFinalBlock: false, default);
        try
        {
            while (reader.Read())
            {
            }

            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static Dictionary<string, object?> Members(JsonElement value)
    {
        Dictionary<string, object?> members = [];
        foreach (JsonProperty member in value.EnumerateObject()) members[member.Name] = member.Value.ValueKind == JsonValueKind.Null ? null : member.Value.Clone();
        return members;
    }

    /// <summary>Length of the longest end of a text that begins a mark.</summary>
    private static int OverlapLength(string text, string mark)
    {
        int length = Math.Min(text.Length, mark.Length - 1);
        while (length > 0 && !text.EndsWith(mark[..length], StringComparison.Ordinal)) length--;
        return length;
    }
}
