using System.Text;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>
/// Reads the calls of tools out of an answer, whatever pieces it comes in. Text is passed on as soon as it is certain not to begin a call; a call once it is complete. White space
/// around calls belongs to them. What turns out to be no call stays text.
/// </summary>
internal sealed class ToolCallParser
{
    // Members that the JSON of a call begins with: with another one it is some JSON else.
    private static readonly string[] FirstMembers = ["\"name\"", "\"arguments\"", "\"parameters\"", "\"type\"", "\"function\"", "\"id\"", "\"tool_call_id\""];

    private const int ShortCall = 4096;

    private readonly ToolCallSyntax syntax;
    private readonly IReadOnlyList<AIFunctionDeclaration> tools;
    private readonly bool isSingle;
    private readonly string[] starts;
    private readonly string[] marks;
    private readonly string[] firstMembers;

    // What is not passed on yet; and what has come of a long call since it was last looked at.
    private readonly StringBuilder pending = new();
    private string held = "";
    private ToolCallReader? call;
    private string before = "";

    // What has come: text on the line, a call, and whether its last mark, or another call in the same marks, may follow.
    private bool lineHasText;
    private bool afterCall;
    private bool inMarks;
    private bool isDone;

    /// <summary>Begins an answer.</summary>
    /// <param name="syntax">How calls are written.</param>
    /// <param name="tools">The tools that there are.</param>
    /// <param name="begun">What the prompt has of a call after its first mark; <see langword="null"/> where the answer does not begin within one.</param>
    /// <param name="isSingle">Whether the first call ends the answer.</param>
    public ToolCallParser(ToolCallSyntax syntax, IReadOnlyList<AIFunctionDeclaration> tools, string? begun = null, bool isSingle = false)
    {
        (this.syntax, this.tools, this.isSingle) = (syntax, tools, isSingle);
        starts = [.. syntax.OtherStarts.Prepend(syntax.Start).Select(start => start.Trim()).Where(start => start.Length > 0)];
        marks = [.. starts, .. new[] { syntax.Open.Trim(), syntax.Close.Trim() }.Where(mark => mark.Length > 0)];
        firstMembers = [.. FirstMembers, $"\"{syntax.NameMember}\""];
        if (begun is null) return;
        held = begun;
        call = new ToolCallReader(syntax, tools, isBare: false);
        before = syntax.Start.Trim();
    }

    /// <summary>Takes a piece; what is now certain.</summary>
    public IReadOnlyList<AIContent> Append(string piece)
    {
        List<AIContent> contents = [];
        if (isDone) return contents;
        pending.Append(piece);
        if (call is not null && !IsWorthLooking(piece)) return contents;
        held += pending;
        pending.Clear();
        while (call is not null ? TakeCall(contents) : TakeText(contents))
        {
        }

        return contents;
    }

    /// <summary>Ends the answer: what was held back, and a call whose last mark is missing.</summary>
    public IReadOnlyList<AIContent> Finish()
    {
        List<AIContent> contents = [];
        if (isDone) return contents;
        held += pending;
        pending.Clear();
        if (call?.Finish(held) == true) contents.AddRange(call.Calls);
        else if (call is not null) AddText(contents, before + held);
        else if (!inMarks || !syntax.End.Trim().StartsWith(held.Trim(), StringComparison.Ordinal)) AddText(contents, afterCall ? held.TrimEnd() : held);
        held = "";
        return contents;
    }

    /// <summary>Whether an answer that begins with a text calls a tool.</summary>
    public Progress Begins(string text)
    {
        (Progress progress, string mark) = MarkAt(text, 0, marks);
        if (progress == Progress.Complete && mark.Length > 0) return progress;
        if (!syntax.IsBare || text.Length == 0 || text[0] is not ('{' or '[')) return progress;
        // Other JSON may begin alike, up to the name of the tool.
        Progress bare = BareAt(text);
        if (bare != Progress.Complete) return bare;
        return tools.Any(tool => text.Contains($"\"{tool.Name}\"", StringComparison.Ordinal)) ? Progress.Complete : text.Length < 256 && !text.Contains('}', StringComparison.Ordinal) ? Progress.Open : Progress.None;
    }

    /// <summary>Whether a piece may complete the call. Looking costs a copy of all that is held, which a long one's many pieces must not.</summary>
    private bool IsWorthLooking(string piece) =>
        held.Length < ShortCall || pending.Length > held.Length / 2 || piece.AsSpan().IndexOfAny(syntax.Arguments is null ? "}]" : syntax.End.AsSpan().Trim()[^1..]) >= 0;

    /// <summary>Passes text on; whether there is more to see.</summary>
    private bool TakeText(List<AIContent> contents)
    {
        if (inMarks) return AfterCall();
        bool lineHasText = this.lineHasText;
        for (int at = 0; at < held.Length; at++)
        {
            char c = held[at];
            if (syntax.IsBare && !lineHasText && c is '{' or '[' && BareAt(held[at..]) is var bare and not Progress.None)
            {
                PassOn(contents, at, 0);
                if (bare == Progress.Complete) call = new ToolCallReader(syntax, tools, isBare: true);
                return bare == Progress.Complete;
            }

            (Progress progress, string mark) = MarkAt(held, at, marks);
            if (progress == Progress.Open)
            {
                PassOn(contents, at, 0);
                return false;
            }

            if (progress == Progress.Complete)
            {
                PassOn(contents, at, mark.Length);
                if (starts.Contains(mark)) (call, before) = (new ToolCallReader(syntax, tools, isBare: false), before + mark);
                else afterCall = true;
                return true;
            }

            lineHasText = c != '\n' && (lineHasText || !char.IsWhiteSpace(c));
        }

        PassOn(contents, held.Length, 0);
        return false;
    }

    /// <summary>After a call: takes its last mark, or goes on with the next call within the same marks. Whether that is clear.</summary>
    private bool AfterCall()
    {
        string rest = held.TrimStart(), end = syntax.End.Trim();
        if (rest.Length == 0 || (rest.Length < end.Length && end.StartsWith(rest, StringComparison.Ordinal))) return false;
        string next = rest[0] is ',' or ';' ? rest[1..].TrimStart() : rest;
        if (next.Length == 0) return false;
        inMarks = false;
        if (end.Length > 0 && rest.StartsWith(end, StringComparison.Ordinal)) held = rest[end.Length..];
        else if (syntax.IsJson && next[0] == '{') (held, call, before) = (next, new ToolCallReader(syntax, tools, isBare: true), rest[..^next.Length]);
        return true;
    }

    /// <summary>Takes a call that is complete; whether there was one, or what was no call.</summary>
    private bool TakeCall(List<AIContent> contents)
    {
        ToolCallReader reader = call!;
        switch (reader.Read(held))
        {
            case Progress.Open:
                return false;
            case Progress.Complete:
                contents.AddRange(isSingle ? reader.Calls.Take(1) : reader.Calls);
                held = held[reader.End..];
                (call, before, afterCall, isDone) = (null, "", true, isSingle);
                inMarks = syntax.Arguments is null;
                return !isDone;
            default:
                // At least a character goes, so that the same is not tried again.
                int length = before.Length == 0 ? 1 : 0;
                string text = before + held[..length];
                held = held[length..];
                (call, before) = (null, "");
                AddText(contents, text);
                return true;
        }
    }

    /// <summary>Passes on the text up to a place, without the white space that ends it, and takes it and a mark after it away.</summary>
    private void PassOn(List<AIContent> contents, int at, int mark)
    {
        int certain = at;
        while (certain > 0 && char.IsWhiteSpace(held[certain - 1])) certain--;
        AddText(contents, held[..certain]);
        before = mark > 0 ? held[certain..at] : "";
        held = mark > 0 ? held[(at + mark)..] : held[certain..];
    }

    private void AddText(List<AIContent> contents, string text)
    {
        int line = text.LastIndexOf('\n') + 1;
        lineHasText = (line == 0 && lineHasText) || !text.AsSpan(line).IsWhiteSpace();
        if (afterCall) text = text.TrimStart();
        if (text.Length == 0) return;
        afterCall = false;
        contents.Add(new TextContent(text));
    }

    /// <summary>Whether a mark stands at a place, or may be going to.</summary>
    private static (Progress Progress, string Mark) MarkAt(string text, int at, string[] marks)
    {
        ReadOnlySpan<char> rest = text.AsSpan(at);
        string found = "";
        bool isOpen = false;
        foreach (string mark in marks)
        {
            if (rest.StartsWith(mark, StringComparison.Ordinal)) found = mark.Length > found.Length ? mark : found;
            else isOpen |= mark.AsSpan().StartsWith(rest, StringComparison.Ordinal);
        }

        return (found.Length > 0 ? Progress.Complete : isOpen ? Progress.Open : Progress.None, found);
    }

    /// <summary>Whether a text begins as the JSON of a call does.</summary>
    private Progress BareAt(string text)
    {
        ReadOnlySpan<char> rest = text.AsSpan();
        if (rest[0] == '[') rest = rest[1..].TrimStart();
        if (rest.Length == 0) return Progress.Open;
        if (rest[0] != '{') return Progress.None;
        return MarkAt(rest[1..].TrimStart().ToString(), 0, firstMembers).Progress;
    }
}
