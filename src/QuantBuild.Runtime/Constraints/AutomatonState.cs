namespace QuantBuild.Constraints;

/// <summary>
/// What a <see cref="ByteAutomaton"/> can be in after some bytes. Immutable but for what it remembers of where bytes lead; unique within its table.
/// </summary>
internal sealed class AutomatonState
{
    private readonly StateTable table;
    private readonly AutomatonState?[] next;
    private TokenMask? mask;

    /// <summary>Makes a state.</summary>
    public AutomatonState(StateTable table, Configuration[] configurations, bool mayEnd, int bytesToEnd, int classes)
    {
        this.table = table;
        Configurations = configurations;
        MayEnd = mayEnd;
        BytesToEnd = bytesToEnd;
        next = configurations.Length == 0 ? [] : new AutomatonState?[classes];
    }

    /// <summary>The table that the state is in.</summary>
    public StateTable Table => table;

    /// <summary>Every way to read the bytes so far that a further byte can continue.</summary>
    public Configuration[] Configurations { get; }

    /// <summary>Whether the bytes so far match.</summary>
    public bool MayEnd { get; }

    /// <summary>The fewest bytes to a match. None for a match; <see cref="int.MaxValue"/> if there is no way.</summary>
    public int BytesToEnd { get; }

    /// <summary>Whether no further byte can follow.</summary>
    public bool IsLast => Configurations.Length == 0;

    /// <summary>Whether the bytes so far neither match nor begin a match.</summary>
    public bool IsDead => IsLast && !MayEnd;

    /// <summary>The state after a byte of a class.</summary>
    public AutomatonState Next(int byteClass)
    {
        if (IsLast) return table.Dead;
        return Volatile.Read(ref next[byteClass]) ?? Find(byteClass);
    }

    /// <summary>The mask of tokens, made the first time.</summary>
    public TokenMask Mask(Func<AutomatonState, TokenMask> make)
    {
        if (Volatile.Read(ref mask) is { } known) return known;
        TokenMask made = make(this);
        if (Interlocked.CompareExchange(ref mask, made, null) is { } earlier) return earlier;
        table.CountMask(made);
        return made;
    }

    private AutomatonState Find(int byteClass)
    {
        AutomatonState found = table.Step(this, byteClass);
        Volatile.Write(ref next[byteClass], found);
        return found;
    }
}
