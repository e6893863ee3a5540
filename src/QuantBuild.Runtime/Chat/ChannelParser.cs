using System.Text;
using Microsoft.Extensions.AI;
using QuantBuild.Generation;

namespace QuantBuild.Chat;

/// <summary>
/// Parts an answer in channels (OpenAI's harmony format, 2025), whatever pieces it comes in: messages, each with a header that names its channel, and the tool that it is for. What is for the channel
/// <c>analysis</c> is reasoning, what is for a tool its call, and all else the answer.
/// </summary>
/// <example><c>&lt;|channel|>analysis&lt;|message|>It asks for…&lt;|end|>&lt;|start|>assistant&lt;|channel|>commentary to=functions.weather &lt;|constrain|>json&lt;|message|>{"city": "Oslo"}</c></example>
/// <param name="tools">The tools that there are.</param>
internal sealed class ChannelParser(IReadOnlyList<AIFunctionDeclaration> tools)
{
    /// <summary>What begins an answer that is neither reasoning nor a call.</summary>
    public const string FinalHeader = Channel + Final + Message;

    /// <summary>The marks of a header and of what follows it, special tokens all.</summary>
    public static readonly string[] Marks = [StartMark, Channel, "<|constrain|>", Message, End];

    private const string StartMark = "<|start|>";
    private const string Channel = "<|channel|>";
    private const string Message = "<|message|>";
    private const string End = "<|end|>";
    private const string Final = "final";
    private const string Recipient = "to=";
    private const string Functions = "functions.";
    private const int LongestHeader = 512;

    private readonly StringBuilder call = new();
    private string held = "";
    private Part part = Part.Header;
    private string tool = "";
    private string channel = "";

    private enum Part
    {
        Header,
        Reasoning,
        Answer,
        Call,
    }

    /// <summary>Whether the answer calls a tool; <see langword="null"/> while it is not clear: after reasoning, or what is said before a call, one may come.</summary>
    public bool? Calls => part switch { Part.Call => true, Part.Answer when channel is Final or "" => false, _ => null };

    /// <summary>How reasoning is written in a format of channels.</summary>
    public static ReasoningSyntax Reasoning { get; } = new(Channel + "analysis" + Message, End);

    /// <summary>How a call is.</summary>
    public static ToolCallSyntax Call { get; } = new(Channel + "commentary " + Recipient + Functions, "<|call|>") { AfterName = " <|constrain|>json" + Message };

    /// <summary>Takes a piece; what is now certain.</summary>
    /// <param name="piece">The piece.</param>
    /// <param name="isLast">Whether nothing comes after it.</param>
    public IReadOnlyList<AIContent> Append(string piece, bool isLast)
    {
        List<AIContent> contents = [];
        held += piece;
        while (part == Part.Header ? TakeHeader(contents, isLast) : TakeBody(contents, isLast))
        {
        }

        return contents;
    }

    /// <summary>Whether there is more to see.</summary>
    private bool TakeHeader(List<AIContent> contents, bool isLast)
    {
        int at = held.IndexOf(Message, StringComparison.Ordinal);
        string header = at < 0 ? held : held[..at];
        // A model that was not taught to, or whose header never ends, writes its answer at once.
        bool isHeader = header.Length <= LongestHeader && (header.TrimStart() is { Length: > 0 } text ? IsMark(text, StartMark) || IsMark(text, Channel) || IsMark(text, Recipient) : at < 0);
        if (isHeader && at < 0)
        {
            if (!isLast) return false;
            // Of a mark that was cut off nothing is text.
            if (header.TrimStart().StartsWith("<|", StringComparison.Ordinal)) held = "";
            isHeader = false;
        }

        if (isHeader)
        {
            (tool, channel) = (ToolOf(header), ChannelOf(header));
            part = tool.Length > 0 ? Part.Call : channel == "analysis" ? Part.Reasoning : Part.Answer;
            held = held[(at + Message.Length)..];
        }
        else
        {
            (part, channel) = (Part.Answer, "");
        }

        return true;

        // One may begin the other: the mark has not come whole yet.
        static bool IsMark(string text, string mark) => text.StartsWith(mark, StringComparison.Ordinal) || mark.StartsWith(text, StringComparison.Ordinal);
    }

    private bool TakeBody(List<AIContent> contents, bool isLast)
    {
        int end = held.IndexOf(End, StringComparison.Ordinal), start = held.IndexOf(StartMark, StringComparison.Ordinal);
        bool isWhole = end >= 0 || start >= 0;
        int certain = isWhole ? (int)Math.Min((uint)end, (uint)start)
            : isLast ? held.Length : held.Length - Math.Max(StopStrings.OverlapLength(held, End), StopStrings.OverlapLength(held, StartMark));
        string text = held[..certain];
        held = held[certain..];
        if (part == Part.Call) call.Append(text);
        else if (text.Length > 0) contents.Add(part == Part.Reasoning ? new TextReasoningContent(text) : new TextContent(text));
        if (!isWhole && !isLast) return false;
        if (part == Part.Call) contents.AddRange(TakeCall());
        if (held.StartsWith(End, StringComparison.Ordinal)) held = held[End.Length..];
        part = Part.Header;
        return held.Length > 0;
    }

    /// <summary>The call, if what came for the tool is one; else that is text.</summary>
    private IReadOnlyList<AIContent> TakeCall()
    {
        string arguments = call.ToString();
        call.Clear();
        ToolCallReader reader = new(Call, tools, isBare: false);
        return reader.Read(tool + Call.AfterName + arguments) == Progress.Complete ? reader.Calls : [new TextContent(arguments)];
    }

    /// <summary>The tool that a header names: <c>to=functions.weather</c>, before the channel or after it.</summary>
    private static string ToolOf(string header)
    {
        int at = header.IndexOf(Recipient, StringComparison.Ordinal);
        if (at < 0) return "";
        string name = Word(header[(at + Recipient.Length)..]);
        return name.StartsWith(Functions, StringComparison.Ordinal) ? name[Functions.Length..] : name;
    }

    private static string ChannelOf(string header) => header.IndexOf(Channel, StringComparison.Ordinal) is >= 0 and int at ? Word(header[(at + Channel.Length)..]) : "";

    private static string Word(string text) => text.AsSpan().IndexOfAny(" <\n\t") is >= 0 and int end ? text[..end] : text;
}
