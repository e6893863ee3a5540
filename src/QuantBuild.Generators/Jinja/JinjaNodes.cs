namespace QuantBuild.Generators.Jinja;

/// <summary>A part of a template.</summary>
/// <param name="Position">Where it is.</param>
internal abstract record Node(int Position);

/// <summary>What has a value.</summary>
internal abstract record Expression(int Position) : Node(Position);

// Value: A string, long, double, bool or, for none, null.
internal sealed record Constant(int Position, object? Value) : Expression(Position);

internal sealed record Name(int Position, string Text) : Expression(Position);

internal sealed record TupleOf(int Position, IReadOnlyList<Expression> Items) : Expression(Position);

internal sealed record ListOf(int Position, IReadOnlyList<Expression> Items) : Expression(Position);

// Entries: Key, value, key, value…
internal sealed record MappingOf(int Position, IReadOnlyList<Expression> Entries) : Expression(Position);

internal sealed record AttributeOf(int Position, Expression Target, string Name) : Expression(Position);

internal sealed record ItemOf(int Position, Expression Target, Expression Index) : Expression(Position);

internal sealed record SliceOf(int Position, Expression Target, Expression? Start, Expression? Stop, Expression? Step) : Expression(Position);

// Names: Names of the last arguments.
// Rest: A sequence of further arguments without a name, as in f(a, *rest).
internal sealed record Arguments(IReadOnlyList<Expression> Values, IReadOnlyList<string> Names, Expression? Rest = null)
{
    public static Arguments None { get; } = new([], []);

    /// <summary>Number of arguments without a name.</summary>
    public int Positional => Values.Count - Names.Count;
}

internal sealed record CallOf(int Position, Expression Function, Arguments Arguments) : Expression(Position);

// Target: null is the text of a block.
internal sealed record FilterOf(int Position, Expression? Target, string Name, Arguments Arguments) : Expression(Position);

internal sealed record TestOf(int Position, Expression Target, string Name, Arguments Arguments) : Expression(Position);

// Operator: not, - or +.
internal sealed record Unary(int Position, string Operator, Expression Operand) : Expression(Position);

// Operator: and, or, +, -, *, /, //, % or **.
internal sealed record Binary(int Position, string Operator, Expression Left, Expression Right) : Expression(Position);

internal sealed record ConcatOf(int Position, IReadOnlyList<Expression> Items) : Expression(Position);

// Operators: ==, !=, <, <=, >, >=, in or not in, each before the operand of its place.
internal sealed record Comparison(int Position, Expression First, IReadOnlyList<string> Operators, IReadOnlyList<Expression> Operands) : Expression(Position);

internal sealed record Conditional(int Position, Expression Condition, Expression Then, Expression? Otherwise) : Expression(Position);

/// <summary>What is done.</summary>
internal abstract record Statement(int Position) : Node(Position);

internal sealed record Data(int Position, string Text) : Statement(Position);

internal sealed record Output(int Position, Expression Value) : Statement(Position);

// Branches: Conditions and what is done where they are the first to be true.
internal sealed record If(int Position, IReadOnlyList<KeyValuePair<Expression, IReadOnlyList<Statement>>> Branches, IReadOnlyList<Statement> Otherwise) : Statement(Position);

internal sealed record For(int Position, Expression Target, Expression Items, Expression? Condition, IReadOnlyList<Statement> Body, IReadOnlyList<Statement> Otherwise) : Statement(Position);

// Target: A name, an attribute of a name, or a tuple of them.
internal sealed record Set(int Position, Expression Target, Expression Value) : Statement(Position);

// Filter: What is done with the text of the body, its target being that.
internal sealed record SetBlock(int Position, Expression Target, Expression? Filter, IReadOnlyList<Statement> Body) : Statement(Position);

internal sealed record FilterBlock(int Position, Expression Filter, IReadOnlyList<Statement> Body) : Statement(Position);

// Defaults: Of the last parameters.
internal sealed record MacroOf(int Position, string Name, IReadOnlyList<string> Parameters, IReadOnlyList<Expression> Defaults, IReadOnlyList<Statement> Body) : Statement(Position);

// Caller: The body, as a macro.
internal sealed record CallBlock(int Position, CallOf Call, MacroOf Caller) : Statement(Position);

/// <summary>A body with names of its own, some of them given values before.</summary>
internal sealed record With(int Position, IReadOnlyList<KeyValuePair<string, Expression>> Values, IReadOnlyList<Statement> Body) : Statement(Position);

// IsBreak: Whether it ends the loop, or only this turn.
internal sealed record LeaveLoop(int Position, bool IsBreak) : Statement(Position);
