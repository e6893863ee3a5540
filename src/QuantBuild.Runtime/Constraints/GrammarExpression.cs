namespace QuantBuild.Constraints;

/// <summary>What a rule of a grammar matches.</summary>
internal abstract record GrammarExpression
{
    /// <summary>The empty text.</summary>
    public static GrammarExpression Empty { get; } = new Sequence([]);

    /// <summary>No text at all.</summary>
    public static GrammarExpression Never { get; } = new Choice([]);

    /// <summary>One expression after the other.</summary>
    public static GrammarExpression Join(params IEnumerable<GrammarExpression> parts) => new Sequence([.. parts]);

    /// <summary>Any of the expressions.</summary>
    public static GrammarExpression Any(params IEnumerable<GrammarExpression> options) => new Choice([.. options]);

    /// <summary>This expression or the empty text.</summary>
    public GrammarExpression Optional() => Times(0, 1);

    /// <summary>This expression, so many times.</summary>
    /// <param name="min">How often at least.</param>
    /// <param name="max">How often at most; without bound if <see langword="null"/>.</param>
    public GrammarExpression Times(int min, int? max) => new Repeat(this, min, max);

    /// <summary>A text.</summary>
    public sealed record Literal(string Text) : GrammarExpression;

    /// <summary>One character of a set.</summary>
    public sealed record Characters(CodePointSet Set) : GrammarExpression;

    /// <summary>All parts, in order.</summary>
    public sealed record Sequence(IReadOnlyList<GrammarExpression> Parts) : GrammarExpression;

    /// <summary>One of the options; with none, no text.</summary>
    public sealed record Choice(IReadOnlyList<GrammarExpression> Options) : GrammarExpression;

    /// <summary>A body from <paramref name="Min"/> to <paramref name="Max"/> times; without bound if that is <see langword="null"/>.</summary>
    public sealed record Repeat(GrammarExpression Body, int Min, int? Max) : GrammarExpression;

    /// <summary>What a rule matches.</summary>
    public sealed record Reference(string Rule) : GrammarExpression;
}
