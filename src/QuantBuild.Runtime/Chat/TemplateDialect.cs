namespace QuantBuild.Chat;

/// <summary>Where a chat template takes the tools that the model may call.</summary>
internal enum ToolsPlace
{
    /// <summary>Nowhere.</summary>
    None,

    /// <summary>In its variable <c>tools</c>.</summary>
    Variable,

    /// <summary>As JSON in the member <c>tools</c> of the message of the system.</summary>
    SystemMessage,
}

/// <summary>What a chat template does not say, and what it takes its messages to be: all of it read off what it writes.</summary>
internal sealed record TemplateDialect
{
    /// <summary>What ends a turn.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>How reasoning is written, where the template knows it.</summary>
    public ReasoningSyntax? Reasoning { get; init; }

    /// <summary>Whether answers are in channels. Such a template has reasoning in <c>thinking</c>, and of a message with calls no other text.</summary>
    public bool HasChannels { get; init; }

    /// <summary>How tools are called; <see langword="null"/> where the template has no place for tools.</summary>
    public ToolCallSyntax? Calls { get; init; }

    /// <summary>Where tools are described.</summary>
    public ToolsPlace Tools { get; init; }

    /// <summary>Whether the template writes the calls of a message; else they are part of its text.</summary>
    public bool WritesCalls { get; init; }

    /// <summary>Whether it writes what tools gave; else the user says it.</summary>
    public bool WritesResults { get; init; }

    /// <summary>Whether arguments are JSON in a text for it; else a mapping.</summary>
    public bool ArgumentsAreText { get; init; }

    /// <summary>Whether the text of a message with calls is none for it.</summary>
    public bool CallsHaveNoText { get; init; }

    /// <summary>Whether a message has one call at most.</summary>
    public bool CallsAreSingle { get; init; }
}
