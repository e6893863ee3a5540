namespace QuantBuild.Constraints;

/// <summary>
/// A grammar for the tokens of one tokenizer: says which may come next. Made once, used by any number of texts at once; what it learns from one of them it
/// remembers for all.
/// </summary>
internal sealed class TokenConstraint
{
    private readonly ByteAutomaton automaton;
    private readonly TokenTrie trie;
    private readonly int[] endTokens;
    private readonly int words;
    private readonly Func<AutomatonState, TokenMask> makeMask;
    private StateTable table;

    /// <summary>Compiles a grammar.</summary>
    /// <param name="grammar">What the output must look like.</param>
    /// <param name="trie">The tokens of the tokenizer.</param>
    /// <param name="endTokens">Ids of the tokens that end a text; they may come wherever the grammar may end, and nowhere else.</param>
    /// <exception cref="QuantBuildException">QB4007 or QB4008: the grammar is left-recursive, matches no text, or is too large.</exception>
    public TokenConstraint(Grammar grammar, TokenTrie trie, IReadOnlyCollection<int> endTokens)
    {
        this.trie = trie;
        this.endTokens = [.. endTokens];
        // A byte that is no token by itself could lead to where no token goes on: it is left out of the grammar, and there is always a next token.
        automaton = new ByteAutomaton(grammar, [.. Enumerable.Range(0, 256).Select(value => trie.HasByte[value] && !IsEndOnly((byte)value))]);
        words = (Math.Max(trie.VocabularySize, this.endTokens.Select(id => id + 1).DefaultIfEmpty(0).Max()) + 63) / 64;
        makeMask = state => MakeMask(state, int.MaxValue);
        table = new StateTable(automaton);
    }

    /// <summary>Nothing has been written yet.</summary>
    public ConstraintState Start => new(this, Table.Start);

    private StateTable Table
    {
        get
        {
            StateTable current = Volatile.Read(ref table);
            return current.IsFull ? Replace(current) : current;
        }
    }

    /// <summary>The tokens that may follow a state.</summary>
    public TokenMask Mask(AutomatonState state) => state.Mask(makeMask);

    /// <summary>The tokens that may follow a state, of which each leaves room for the shortest end.</summary>
    /// <param name="state">The state.</param>
    /// <param name="tokens">How many tokens may come, from this on.</param>
    public TokenMask Mask(AutomatonState state, int tokens)
    {
        // A token for each byte is enough.
        int room = Math.Max(tokens - 1, 0);
        TokenMask all = Mask(state);
        return all.MostBytesToEnd <= room ? all : MakeMask(state, room);
    }

    /// <summary>Whether a token is one that ends a text.</summary>
    public bool IsEnd(int token) => Array.IndexOf(endTokens, token) >= 0;

    /// <summary>Whether these are the tokens that end a text.</summary>
    public bool EndsWith(IReadOnlyCollection<int> tokens) => tokens.Count == endTokens.Length && tokens.All(IsEnd);

    /// <summary>The state after a token; dead if it may not come.</summary>
    public AutomatonState Advance(AutomatonState state, ReadOnlySpan<byte> bytes)
    {
        ReadOnlySpan<byte> classes = automaton.ClassOfByte;
        foreach (byte value in bytes)
        {
            state = state.Next(classes[value]);
            if (state.IsDead) return state;
        }

        return state.Table.IsFull ? Table.Adopt(state) : state;
    }

    /// <summary>The bytes of a token that text is made of; none of any other.</summary>
    public ReadOnlySpan<byte> TokenBytes(int token) => IsEnd(token) ? [] : trie.BytesOf(token);

    private bool IsEndOnly(byte value)
    {
        byte[] single = [value];
        return endTokens.Any(token => trie.BytesOf(token).SequenceEqual(single));
    }

    private StateTable Replace(StateTable full)
    {
        StateTable empty = new(automaton);
        StateTable before = Interlocked.CompareExchange(ref table, empty, full);
        return before == full ? empty : before;
    }

    private TokenMask MakeMask(AutomatonState start, int room)
    {
        ulong[] bits = new ulong[words];
        int least = Walk(start, room, bits, out int most);
        // No token leaves the room that there should be: then those that leave most.
        if (most < 0 && !start.MayEnd && least != int.MaxValue) Walk(start, least, bits, out most);
        foreach (int token in endTokens)
        {
            if (start.MayEnd) bits[token >> 6] |= 1UL << (token & 63);
            else bits[token >> 6] &= ~(1UL << (token & 63));
        }

        return new TokenMask(bits, Math.Max(most, 0));
    }

    /// <summary>Marks the tokens after which the shortest end is not longer than the room.</summary>
    /// <param name="start">The state before the token.</param>
    /// <param name="room">Bytes.</param>
    /// <param name="bits">Gets a bit for each such token.</param>
    /// <param name="most">The longest of the shortest ends after these tokens; negative if there are none.</param>
    /// <returns>The shortest end after any token, marked or not.</returns>
    private int Walk(AutomatonState start, int room, ulong[] bits, out int most)
    {
        int least = int.MaxValue;
        most = -1;
        // By depth: the state after the bytes that lead to the node.
        AutomatonState[] states = new AutomatonState[trie.LongestToken + 1];
        states[0] = start;
        ReadOnlySpan<byte> classes = automaton.ClassOfByte;
        ReadOnlySpan<byte> labels = trie.Labels;
        ReadOnlySpan<ushort> depths = trie.Depths;
        for (int node = 0; node < labels.Length;)
        {
            int depth = depths[node];
            AutomatonState state = states[depth].Next(classes[labels[node]]);
            if (state.IsDead)
            {
                node = trie.Ends[node];
                continue;
            }

            states[depth + 1] = state;
            ReadOnlySpan<int> tokens = trie.TokensAt(node++);
            if (tokens.Length == 0) continue;
            int bytesToEnd = state.BytesToEnd;
            least = Math.Min(least, bytesToEnd);
            if (bytesToEnd > room) continue;
            most = Math.Max(most, bytesToEnd);
            foreach (int token in tokens) bits[token >> 6] |= 1UL << (token & 63);
        }

        return least;
    }
}
