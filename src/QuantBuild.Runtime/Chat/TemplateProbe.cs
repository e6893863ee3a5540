using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>Reads off what a chat template writes what it does not say: it is given messages of marked words, and where those stand tells what is around them.</summary>
/// <param name="render">Writes messages with tools and variables: the text, or <see langword="null"/> where the template refuses them.</param>
/// <param name="tokenizer">The model's tokenizer.</param>
internal sealed class TemplateProbe(Func<IReadOnlyList<ChatMessage>, IReadOnlyList<AIFunctionDeclaration>, TemplateDialect, bool, IReadOnlyDictionary<string, object?>, string?> render, TextTokenizer tokenizer)
{
    // Texts that no template has of itself.
    private const string Mark = "quantbuildmark";
    private const string OtherMark = "quantbuildother";
    private const int LongestToken = 64;

    // The arguments of a call: names and values.
    private static readonly string[] Words = ["quantbuildfirst", "quantbuildone", "quantbuildsecond", "quantbuildtwo"];

    private static readonly ChatMessage Question = new(ChatRole.User, "?");
    private static readonly ReasoningSyntax Think = new("<think>\n", "\n</think>\n\n");
    private static readonly Dictionary<string, object?> NoVariables = [];

    /// <summary>Reads everything.</summary>
    public TemplateDialect Read()
    {
        if (Render(Question, new(ChatRole.Assistant, Mark))?.Contains(ChannelParser.FinalHeader + Mark, StringComparison.Ordinal) == true) return Channels();
        string? stop = FindStop();
        TemplateDialect dialect = new() { StopStrings = stop is { Length: > 0 } ? [stop] : [], Reasoning = FindReasoning() };
        return FindTools(dialect);
    }

    /// <summary>A format of channels is known whole. A message of the assistant ends as it does in a conversation, and an answer otherwise.</summary>
    private TemplateDialect Channels()
    {
        TemplateDialect dialect = new()
        {
            HasChannels = true, Reasoning = ChannelParser.Reasoning, StopStrings = ["<|return|>", ChannelParser.Call.End], Tools = ToolsPlace.Variable, Calls = ChannelParser.Call, WritesCalls = true, WritesResults = true, CallsAreSingle = true,
        };
        // For the names of its variables.
        Render([Question, Calls(Mark)], [], dialect, prompt: true);
        return dialect;
    }

    private string? Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, TemplateDialect dialect, bool prompt = false) => render(messages, tools, dialect, prompt, NoVariables);

    private string? Render(params ChatMessage[] messages) => Render(messages, [], new TemplateDialect());

    /// <summary>What the template writes after a message of the assistant: a special token, or else what begins the next message.</summary>
    private string? FindStop()
    {
        if (After(Render(Question, new(ChatRole.Assistant, Mark))) is { Length: > 0 } end && SpecialToken(end) is { } token) return token;
        string? between = After(Render(Question, new(ChatRole.Assistant, Mark), new(ChatRole.User, OtherMark)));
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
            if (IsSpecial(text[..length])) return text[..length];
        }

        return null;
    }

    private bool IsSpecial(string text)
    {
        IReadOnlyList<int> ids = tokenizer.Encode(text, addSpecialTokens: false);
        return ids.Count == 1 && tokenizer.TokenBytes(ids[0]).IsEmpty;
    }

    /// <summary>The marks of reasoning: around that of a message, or else those of most models where the template writes them or takes them out of a text.</summary>
    private ReasoningSyntax? FindReasoning()
    {
        ChatMessage reasoned = new(ChatRole.Assistant, [new TextReasoningContent(Mark), new TextContent(OtherMark)]);
        if (Render([Question, reasoned], [], new TemplateDialect { Reasoning = Think }) is { } text && text.IndexOf(Mark, StringComparison.Ordinal) is > 0 and int at && text.IndexOf(OtherMark, at, StringComparison.Ordinal) is > 0 and int answer)
        {
            (string before, string after) = (text[..at].TrimEnd(), text[(at + Mark.Length)..answer]);
            int start = before.AsSpan().LastIndexOfAny('<', '[');
            int end = after.AsSpan().TrimEnd().LastIndexOfAny('>', ']');
            if (start >= 0 && before[^1] is '>' or ']' && end > 0) return new ReasoningSyntax(text[start..at], after);
        }

        ChatMessage written = new(ChatRole.Assistant, $"<think>{Mark}</think>{OtherMark}");
        bool isTakenOut = new[] { Render(Question, written), Render(Question, written, Question) }
            .Any(answer => answer?.Contains(OtherMark, StringComparison.Ordinal) == true && !answer.Contains(Mark, StringComparison.Ordinal));
        bool isWritten = new bool?[] { null, false, true }
            .Select(thinks => render([Question], [], new TemplateDialect(), true, thinks is null ? NoVariables : new Dictionary<string, object?> { ["enable_thinking"] = thinks, ["thinking"] = thinks }))
            .Any(prompt => prompt?.Contains("<think>", StringComparison.Ordinal) == true);
        return isTakenOut || isWritten ? Think : null;
    }

    /// <summary>Where the template takes tools, and how it has calls written.</summary>
    private TemplateDialect FindTools(TemplateDialect dialect)
    {
        using JsonDocument parameters = JsonDocument.Parse($$"""{"type":"object","properties":{"{{Words[0]}}":{"type":"string","description":"?"}, "{{Words[2]}}":{"type":"string","description":"?"} } }""");
        AIFunctionDeclaration[] tools = [AIFunctionFactory.CreateDeclaration(OtherMark, "?", parameters.RootElement)];
        ToolsPlace place = Array.Find([ToolsPlace.Variable, ToolsPlace.SystemMessage], place => Prompt(place)?.Contains(OtherMark, StringComparison.Ordinal) == true);
        if (place == ToolsPlace.None) return dialect;
        dialect = dialect with { Tools = place, WritesResults = WritesResults(dialect with { Tools = place }, tools) };
        string prompt = Prompt(place)!;
        foreach (bool hasNoText in (bool[])[false, true])
        {
            foreach (bool areText in (bool[])[false, true])
            {
                TemplateDialect tried = dialect with { ArgumentsAreText = areText, CallsHaveNoText = hasNoText, WritesCalls = true };
                if (Render([Question, Calls(Mark)], tools, tried) is not { } once) continue;
                string? twice = Render([Question, Calls(Mark, Mark)], tools, tried);
                if (new CallMarks(once, twice, prompt, tried.Reasoning, tried.StopStrings, IsSpecial).Read() is not { } read) continue;
                return tried with
                {
                    Calls = read.Syntax,
                    CallsAreSingle = twice is null || Count(twice) < 2,
                    StopStrings = read.Stop is { } stop && !tried.StopStrings.Contains(stop) ? [.. tried.StopStrings, stop] : tried.StopStrings,
                };
            }
        }

        // The calls of a message are not written, or nothing that can be read: what the template tells the model of them, says how.
        return DescribedSyntax(prompt) is { } described ? dialect with { Calls = described } : dialect with { Tools = ToolsPlace.None };

        string? Prompt(ToolsPlace place) =>
            Render(place == ToolsPlace.SystemMessage ? [new(ChatRole.System, "?"), Question] : [Question], tools, dialect with { Tools = place, WritesCalls = true, Calls = HermesTools.Syntax }, prompt: true);

        static int Count(string text) => text.Split(Mark).Length - 1;
    }

    private bool WritesResults(TemplateDialect dialect, IReadOnlyList<AIFunctionDeclaration> tools)
    {
        ChatMessage[] messages = [Question, new(ChatRole.Assistant, "!"), new(ChatRole.Tool, [new FunctionResultContent("000000000", Mark)])];
        return Render(messages, tools, dialect with { WritesCalls = true })?.Contains(Mark, StringComparison.Ordinal) == true;
    }

    private static ChatMessage Calls(params string[] names) => new(
        ChatRole.Assistant, [.. names.Select((name, i) => new FunctionCallContent($"{i:D9}", name, new Dictionary<string, object?> { [Words[0]] = Words[1], [Words[2]] = Words[3] }))]);

    private ToolCallSyntax? DescribedSyntax(string prompt)
    {
        if (Has("<tool_call>") && Has("</tool_call>") && Has("\"arguments\"")) return HermesTools.Syntax;
        if (prompt.Contains("functools", StringComparison.Ordinal)) return new ToolCallSyntax("functools", "") { IsList = true };
        if (Has("<|tool_call|>")) return new ToolCallSyntax("<|tool_call|>", IsSpecial("<|/tool_call|>") ? "<|/tool_call|>" : "") { IsList = true, OtherStarts = ["functools", ""] };
        return IsSpecial("[TOOL_CALLS]") ? new ToolCallSyntax("[TOOL_CALLS]", "") { IsList = true } : null;

        // In the text, or a token of its own.
        bool Has(string mark) => prompt.Contains(mark, StringComparison.Ordinal) || IsSpecial(mark);
    }

    /// <summary>Finds what is around the parts of a call that a template wrote.</summary>
    /// <param name="once">A conversation that ends with one call.</param>
    /// <param name="twice">The same with two calls, where the template takes them.</param>
    /// <param name="prompt">The same without calls, up to where the model goes on.</param>
    /// <param name="reasoning">The marks of reasoning, which may come first.</param>
    /// <param name="stops">What ends a turn.</param>
    /// <param name="isSpecial">Whether a text is a special token.</param>
    private sealed class CallMarks(string once, string? twice, string prompt, ReasoningSyntax? reasoning, IReadOnlyList<string> stops, Func<string, bool> isSpecial)
    {
        private string? callStop;

        /// <summary>How the call is written, and what ends a turn with calls; <see langword="null"/> if that cannot be made out.</summary>
        public (ToolCallSyntax Syntax, string? Stop)? Read()
        {
            int begin = prompt.AsSpan().CommonPrefixLength(once);
            if (begin < prompt.Length) begin = WholeMarks(once[..begin]);
            int name = once.IndexOf(Mark, begin, StringComparison.Ordinal);
            if (name < 0) return null;
            if (reasoning is not null && once.AsSpan(begin, name - begin).LastIndexOf(reasoning.End.Trim(), StringComparison.Ordinal) is >= 0 and int thought)
            {
                begin += thought + reasoning.End.Trim().Length;
                while (char.IsWhiteSpace(once[begin])) begin++;
            }

            ToolCallSyntax? syntax = ReadJson(begin, name) ?? ReadNamed(begin, name) ?? ReadElements(begin, name);
            return syntax is null ? null : (syntax, callStop);
        }

        /// <summary>The name is a member of JSON.</summary>
        private ToolCallSyntax? ReadJson(int begin, int name)
        {
            for (int at = begin; (at = once.AsSpan(at, name - at).IndexOfAny('{', '[') is >= 0 and int next ? at + next : -1) >= 0; at++)
            {
                if (ReadValue(once[at..]) is not { } read || at + read.Length < name) continue;
                using JsonDocument document = read.Value;
                JsonElement root = document.RootElement;
                bool isList = root.ValueKind == JsonValueKind.Array;
                JsonElement call = isList ? root[0] : root;
                if (call.ValueKind == JsonValueKind.Object && call.TryGetProperty("function", out JsonElement function) && function.ValueKind == JsonValueKind.Object) call = function;
                if (call.ValueKind != JsonValueKind.Object) return null;
                string? nameMember = null, argumentsMember = null;
                foreach (JsonProperty member in call.EnumerateObject())
                {
                    if (member.Value.ValueKind == JsonValueKind.String && member.Value.GetString() == Mark) nameMember = member.Name;
                    else if (member.Value.ValueKind is JsonValueKind.Object or JsonValueKind.String && member.Value.GetRawText().Contains(Words[0], StringComparison.Ordinal)) argumentsMember = member.Name;
                }

                if (nameMember is null || argumentsMember is null) return null;
                ToolCallSyntax syntax = new(once[begin..at], AtEnd(once[(at + read.Length)..])) { IsList = isList, NameMember = nameMember, ArgumentsMember = argumentsMember };
                return isList ? syntax : Split(syntax, syntax.Start, isJson: true);
            }

            return null;
        }

        /// <summary>The arguments are JSON, and the name stands before them.</summary>
        private ToolCallSyntax? ReadNamed(int begin, int name)
        {
            int nameEnd = name + Mark.Length;
            for (int at = nameEnd; (at = once.IndexOf('{', at)) >= 0; at++)
            {
                if (ReadValue(once[at..]) is not { } read) continue;
                using JsonDocument document = read.Value;
                if (!document.RootElement.TryGetProperty(Words[0], out _)) continue;
                ToolCallSyntax syntax = new(once[begin..name], AtEnd(once[(at + read.Length)..])) { AfterName = once[nameEnd..at] };
                return syntax.Start.AsSpan().IsWhiteSpace() || syntax.AfterName.Length == 0 ? null : Split(syntax, syntax.Start, isJson: false);
            }

            return null;
        }

        /// <summary>Each argument stands by itself.</summary>
        private ToolCallSyntax? ReadElements(int begin, int name)
        {
            int[] at = new int[5];
            at[0] = name;
            for (int i = 1; i < at.Length; i++)
            {
                at[i] = once.IndexOf(Words[i - 1], at[i - 1], StringComparison.Ordinal);
                if (at[i] < 0) return null;
            }

            string toFirst = once[(name + Mark.Length)..at[1]], toValue = once[(at[1] + Words[0].Length)..at[2]], toSecond = once[(at[2] + Words[1].Length)..at[3]];
            string beforeName = FromFirstMark(CommonSuffix(toFirst, toSecond));
            string after = AtEnd(once[(at[4] + Words[3].Length)..]);
            string afterValue = WholeMarks(after, CommonPrefix(toSecond[..^beforeName.Length], after));
            string start = once[begin..name], end = after[afterValue.Length..];
            ToolCallSyntax syntax = new(start, end) { AfterName = toFirst[..^beforeName.Length], Arguments = new ToolArgumentSyntax(beforeName, toValue, afterValue) };
            return new[] { start, end, beforeName, toValue, afterValue }.Any(mark => mark.AsSpan().IsWhiteSpace()) ? null : Split(syntax, start, isJson: false);
        }

        /// <summary>Tells the marks of all calls from those of each, by what stands between two calls. Where that cannot be told, a mark of several lines is one of all calls and one of each.</summary>
        private ToolCallSyntax Split(ToolCallSyntax syntax, string before, bool isJson)
        {
            int second = twice is null ? -1 : twice.LastIndexOf(Mark, StringComparison.Ordinal);
            int first = twice is null ? -1 : twice.IndexOf(Mark, StringComparison.Ordinal);
            if (second > first)
            {
                // Up to the second call the text is that with one call, up to the end of that.
                string between = twice![first..second];
                if (isJson) between = between[..Math.Max(0, between.LastIndexOf('{'))];
                int value = between.LastIndexOf(Words[3], StringComparison.Ordinal) + Words[3].Length;
                between = between[Math.Min(value, between.Length)..];
                string start = FromFirstMark(CommonSuffix(before, between));
                if (start.AsSpan().IsWhiteSpace()) start = before;
                string common = between.Contains(syntax.End, StringComparison.Ordinal) ? syntax.End : LongestPrefixWithin(syntax.End, between);
                syntax = syntax with { Open = before[..^start.Length], Start = start, End = common, Close = syntax.End[common.Length..] };
            }

            // A model may leave out what is around a call's own marks.
            if (isJson || syntax.Start.TrimEnd().LastIndexOf('\n') is var line && line < 0) return syntax;
            syntax = syntax with { Open = syntax.Open + syntax.Start[..(line + 1)], Start = syntax.Start[(line + 1)..] };
            int endLine = syntax.End.IndexOf('\n', syntax.End.Length - syntax.End.TrimStart().Length);
            return endLine < 0 ? syntax : syntax with { End = syntax.End[..endLine], Close = syntax.End[endLine..] + syntax.Close };
        }

        /// <summary>What follows a call, without what ends the turn.</summary>
        private string AtEnd(string text)
        {
            int stop = stops.Select(stop => text.IndexOf(stop, StringComparison.Ordinal)).Where(at => at >= 0).DefaultIfEmpty(-1).Min();
            if (stop >= 0) return text[..stop];
            // A turn with calls may end with a token of its own.
            int last = text.AsSpan().LastIndexOfAny('<', '[');
            if (last < 0 || !isSpecial(text[last..].Trim())) return text;
            callStop = text[last..].Trim();
            return text[..last];
        }

        private static (JsonDocument Value, int Length)? ReadValue(string text)
        {
            JsonExtent extent = new(0);
            if (extent.Scan(text) != Progress.Complete) return null;
            try
            {
                return (JsonDocument.Parse(text[..extent.End]), extent.End);
            }
            catch (JsonException)
            {
                return null;
            }
        }

        private static string CommonPrefix(string a, string b) => a[..a.AsSpan().CommonPrefixLength(b)];

        private static string CommonSuffix(string a, string b)
        {
            int length = 0;
            while (length < Math.Min(a.Length, b.Length) && a[^(length + 1)] == b[^(length + 1)]) length++;
            return a[^length..];
        }

        /// <summary>The longest beginning of a text that another one has, cut where a mark ends.</summary>
        private static string LongestPrefixWithin(string text, string other)
        {
            int length = text.Length;
            while (length > 0 && !other.Contains(text[..length], StringComparison.Ordinal)) length--;
            return WholeMarks(text, text[..length]);
        }

        /// <summary>A text from its first mark on: the end of another mark may be alike.</summary>
        private static string FromFirstMark(string text) => text.AsSpan().IndexOfAny('<', '[') is > 0 and int at ? text[at..] : text;

        /// <summary>How long a text is without the mark that it breaks off in.</summary>
        private static int WholeMarks(string text)
        {
            int open = text.AsSpan().LastIndexOfAny('<', '[');
            return open >= 0 && text.AsSpan(open).IndexOfAny('>', ']') < 0 ? open : text.Length;
        }

        private static string WholeMarks(string whole, string prefix) => prefix.Length == whole.Length ? prefix : prefix[..WholeMarks(prefix)];
    }
}
