namespace QuantBuild;

/// <summary>
/// How a model writes that it calls a tool. Without <see cref="AfterName"/> and <see cref="Arguments"/>: as a JSON object with members for name and arguments, or a list of such objects. White space at the
/// ends of a mark is written where a call is begun for the model, and need not be there where the model writes one.
/// </summary>
/// <param name="Start">What begins a call, such as <c>&lt;tool_call&gt;</c>. Empty: a call is JSON that begins a line, with the name of a tool that there is.</param>
/// <param name="End">What ends it, such as <c>&lt;/tool_call&gt;</c>. May be empty where arguments are JSON, which ends itself.</param>
public sealed record ToolCallSyntax(string Start, string End)
{
    /// <summary>What stands between name and arguments, where the name is no member of JSON, as in <c>[TOOL_CALLS]weather[ARGS]{"city": "Oslo"}</c>; else <see langword="null"/>.</summary>
    public string? AfterName { get; init; }

    /// <summary>How each argument is written, where arguments are not JSON; else <see langword="null"/>.</summary>
    public ToolArgumentSyntax? Arguments { get; init; }

    /// <summary>What stands before all calls of an answer. It is no text of the answer.</summary>
    public string Open { get; init; } = "";

    /// <summary>What stands after all calls of an answer. It is no text of the answer.</summary>
    public string Close { get; init; } = "";

    /// <summary>Other texts that may begin a call. The empty one is as with <see cref="Start"/>.</summary>
    public IReadOnlyList<string> OtherStarts { get; init; } = [];

    /// <summary>Whether the objects of JSON are in a list.</summary>
    public bool IsList { get; init; }

    /// <summary>The member of JSON that is the name.</summary>
    public string NameMember { get; init; } = "name";

    /// <summary>The member of JSON that is the arguments.</summary>
    public string ArgumentsMember { get; init; } = "arguments";

    /// <summary>Whether calls are JSON objects, name included.</summary>
    internal bool IsJson => AfterName is null && Arguments is null;

    /// <summary>Whether a call may begin without a mark.</summary>
    internal bool IsBare => IsJson && (Start.AsSpan().IsWhiteSpace() || OtherStarts.Any(string.IsNullOrWhiteSpace));

    /// <summary>All marks that are not empty.</summary>
    internal IEnumerable<string> Marks =>
        ((string?[])[Open, Start, .. OtherStarts, AfterName, Arguments?.BeforeName, Arguments?.AfterName, Arguments?.AfterValue, End, Close])
        .Select(mark => mark?.Trim() ?? "").Where(mark => mark.Length > 0);
}

/// <summary>How a model writes an argument of a call that is not JSON, as in <c>&lt;parameter=city&gt;Oslo&lt;/parameter&gt;</c>.</summary>
/// <param name="BeforeName">What stands before the argument's name.</param>
/// <param name="AfterName">What stands between its name and its value. A line break at its end is none of the value.</param>
/// <param name="AfterValue">What stands after its value. A line break at its beginning is none of the value.</param>
public sealed record ToolArgumentSyntax(string BeforeName, string AfterName, string AfterValue);
