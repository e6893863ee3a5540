namespace QuantBuild.Text.Patterns;

/// <summary>A part of a pattern.</summary>
internal abstract record PatternNode
{
    /// <summary>One code point of a set.</summary>
    public sealed record Character(CharacterSet Set) : PatternNode;

    /// <summary>One part after the other; none matches the empty text.</summary>
    public sealed record Sequence(IReadOnlyList<PatternNode> Parts) : PatternNode;

    /// <summary>One of several, the earlier preferred.</summary>
    public sealed record Choice(IReadOnlyList<PatternNode> Options) : PatternNode;

    /// <summary>A part several times.</summary>
    /// <param name="Part">What.</param>
    /// <param name="Least">At least so often.</param>
    /// <param name="Most">At most so often; <see langword="null"/> without limit.</param>
    /// <param name="Greedy">Whether more is preferred to less.</param>
    public sealed record Repeat(PatternNode Part, int Least, int? Most, bool Greedy) : PatternNode;

    /// <summary>A condition on the code point beside a position.</summary>
    /// <param name="Set">Where it has to be.</param>
    /// <param name="Ahead">Whether it is the one after the position, else the one before.</param>
    /// <param name="Negative">Whether it must not be there; holds at the end of the text, and a positive one does not.</param>
    public sealed record Assertion(CharacterSet Set, bool Ahead, bool Negative) : PatternNode;
}
