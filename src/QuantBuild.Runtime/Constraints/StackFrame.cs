namespace QuantBuild.Constraints;

/// <summary>
/// Where to go on when a rule ends: a frame of the stacks of a pushdown automaton. A frame has every caller that waits for the same rule, so that stacks share
/// what they have in common (the graph-structured stack of Tomita, 1985). Immutable, and unique within its <see cref="StateTable"/>.
/// </summary>
internal sealed class StackFrame
{
    /// <summary>Makes a frame.</summary>
    /// <param name="order">Greater than that of the frames below.</param>
    /// <param name="depth">How many nesting rules are open.</param>
    /// <param name="callers">Who waits, in an order that is the same for the same callers.</param>
    /// <param name="bytesToEnd">The fewest bytes to the end of the output after the rule has ended.</param>
    public StackFrame(int order, int depth, Caller[] callers, int bytesToEnd)
    {
        Order = order;
        Depth = depth;
        Callers = callers;
        BytesToEnd = bytesToEnd;
    }

    /// <summary>When it was made.</summary>
    public int Order { get; }

    /// <summary>How many nesting rules are open.</summary>
    public int Depth { get; }

    /// <summary>Who waits for the rule to end.</summary>
    public Caller[] Callers { get; }

    /// <summary>The fewest bytes to the end of the output after the rule has ended.</summary>
    public int BytesToEnd { get; }
}

/// <summary>A state in which to go on, and the frame of its rule; no frame is the end of the output.</summary>
internal readonly record struct Caller(int Node, StackFrame? Frame);

/// <summary>A state of a rule, and where to go on after the rule.</summary>
internal readonly record struct Configuration(int Node, StackFrame Frame);
