namespace QuantBuild.Constraints;

/// <summary>
/// Runs a <see cref="ByteAutomaton"/>: the states that were met so far, each once, so that equal states are one object and remember where bytes lead. What is
/// computed again and again in an ambiguous grammar is shared: the work for a byte grows with the square of the text at most, as in Earley's parser.
/// Safe to use from several threads at once.
/// </summary>
/// <remarks>
/// A table never forgets. When it is full, whoever uses it makes another and takes along the state that it is in (<see cref="Adopt"/>); the old one is
/// collected with the last state that is in it.
/// </remarks>
internal sealed class StateTable
{
    // Estimates of memory, in bytes.
    private const int Capacity = 64 << 20;
    private const int ObjectSize = 64;

    private readonly ByteAutomaton automaton;
    private readonly Lock sync = new();
    private readonly Dictionary<FrameKey, StackFrame> frames = [];
    private readonly Dictionary<StateKey, AutomatonState> states = [];
    private long size;

    // Of one step, and empty between two.
    private readonly HashSet<Configuration> reached = [];
    private readonly List<Configuration> pending = [];
    private readonly SortedDictionary<int, HashSet<Caller>>?[] callers;

    /// <summary>Makes a table with the state before the first byte.</summary>
    public StateTable(ByteAutomaton automaton)
    {
        this.automaton = automaton;
        callers = new SortedDictionary<int, HashSet<Caller>>?[automaton.Entries.Count];
        Dead = new AutomatonState(this, [], mayEnd: false, int.MaxValue, 0);
        // No frame below: the end of the output.
        callers[0] = new() { [automaton.Nests[0] ? 1 : 0] = [new Caller(ByteAutomaton.End, null)] };
        Start = Finish(automaton.MatchesEmpty);
    }

    /// <summary>The state before the first byte.</summary>
    public AutomatonState Start { get; }

    /// <summary>The state after bytes that neither match nor begin a match.</summary>
    public AutomatonState Dead { get; }

    /// <summary>Whether the table holds as much as it should.</summary>
    public bool IsFull => Volatile.Read(ref size) > Capacity;

    /// <summary>The state after a byte.</summary>
    public AutomatonState Step(AutomatonState state, int byteClass)
    {
        lock (sync)
        {
            foreach ((int node, StackFrame frame) in state.Configurations)
            {
                foreach (ByteEdge edge in automaton.Nodes[node].Bytes)
                {
                    if (byteClass >= edge.First && byteClass <= edge.Last) Reach(edge.To, frame);
                }
            }

            bool mayEnd = false;
            for (int i = 0; i < pending.Count; i++)
            {
                (int node, StackFrame frame) = pending[i];
                if (!automaton.Nodes[node].Ends) continue;
                foreach ((int back, StackFrame? below) in frame.Callers)
                {
                    if (below is null) mayEnd = true;
                    else Reach(back, below);
                }
            }

            foreach ((int node, StackFrame frame) in pending) Call(node, frame);
            return Finish(mayEnd);
        }
    }

    /// <summary>The state of this table that is the same as one of another table of the same automaton.</summary>
    public AutomatonState Adopt(AutomatonState state)
    {
        if (state.Table == this) return state;
        if (state.IsDead) return Dead;
        // Whoever is below was made before. Depths are unbounded, so nothing here may recurse.
        HashSet<StackFrame> foreign = [];
        Stack<StackFrame> unseen = new(state.Configurations.Select(configuration => configuration.Frame));
        while (unseen.TryPop(out StackFrame? frame))
        {
            if (!foreign.Add(frame)) continue;
            foreach (Caller caller in frame.Callers)
            {
                if (caller.Frame is { } below) unseen.Push(below);
            }
        }

        lock (sync)
        {
            Dictionary<StackFrame, StackFrame> own = [];
            foreach (StackFrame frame in foreign.OrderBy(frame => frame.Order))
            {
                own[frame] = Frame(frame.Depth, frame.Callers.Select(caller => new Caller(caller.Node, caller.Frame is { } below ? own[below] : null)));
            }

            return State([.. state.Configurations.Select(c => new Configuration(c.Node, own[c.Frame]))], state.MayEnd);
        }
    }

    /// <summary>Counts a mask that a state of this table keeps.</summary>
    public void CountMask(TokenMask mask) => Interlocked.Add(ref size, mask.SizeInBytes + ObjectSize);

    private void Reach(int node, StackFrame frame)
    {
        if (frame.Depth + automaton.Nodes[node].Depth > automaton.MaxDepth) return;
        Configuration configuration = new(node, frame);
        if (reached.Add(configuration)) pending.Add(configuration);
    }

    /// <summary>Lets a configuration wait for each rule that it may match next.</summary>
    private void Call(int node, StackFrame frame)
    {
        foreach ((int rule, int back) in automaton.Nodes[node].Calls)
        {
            int depth = frame.Depth + (automaton.Nests[rule] ? 1 : 0);
            if (depth + automaton.Nodes[automaton.Entries[rule]].Depth > automaton.MaxDepth) continue;
            if (frame.Depth + automaton.Nodes[back].Depth > automaton.MaxDepth) continue;
            SortedDictionary<int, HashSet<Caller>> byDepth = callers[rule] ??= [];
            if (!byDepth.TryGetValue(depth, out HashSet<Caller>? waiting)) byDepth[depth] = waiting = [];
            // A call at a rule's end need not come back to it: a list that ends with itself takes no stack.
            if (back == ByteAutomaton.End) waiting.UnionWith(frame.Callers);
            else waiting.Add(new Caller(back, frame));
        }
    }

    /// <summary>Enters the rules that are waited for, and makes the state of all that was reached.</summary>
    private AutomatonState Finish(bool mayEnd)
    {
        foreach (int rule in automaton.CalledFirst)
        {
            if (callers[rule] is not { } byDepth) continue;
            callers[rule] = null;
            int entry = automaton.Entries[rule];
            foreach ((int depth, HashSet<Caller> waiting) in byDepth)
            {
                StackFrame frame = Frame(depth, waiting);
                reached.Add(new Configuration(entry, frame));
                Call(entry, frame);
            }
        }

        Configuration[] configurations = [.. reached.Where(c => automaton.Nodes[c.Node].Bytes.Length > 0)];
        reached.Clear();
        pending.Clear();
        return State(configurations, mayEnd);
    }

    private StackFrame Frame(int depth, IEnumerable<Caller> waiting)
    {
        Caller[] sorted = [.. waiting];
        Array.Sort(sorted, static (a, b) => a.Node != b.Node ? a.Node.CompareTo(b.Node) : (a.Frame?.Order ?? -1).CompareTo(b.Frame?.Order ?? -1));
        FrameKey key = new(depth, sorted);
        if (frames.TryGetValue(key, out StackFrame? frame)) return frame;
        int bytesToEnd = sorted.Min(caller => AutomatonGraph.Sum(automaton.Nodes[caller.Node].Distance, caller.Frame?.BytesToEnd ?? 0));
        frames[key] = frame = new StackFrame(frames.Count, depth, sorted, bytesToEnd);
        Interlocked.Add(ref size, (3 * ObjectSize) + (16 * sorted.Length));
        return frame;
    }

    private AutomatonState State(Configuration[] configurations, bool mayEnd)
    {
        if (configurations.Length == 0 && !mayEnd) return Dead;
        Array.Sort(configurations, static (a, b) => a.Node != b.Node ? a.Node.CompareTo(b.Node) : a.Frame.Order.CompareTo(b.Frame.Order));
        StateKey key = new(configurations, mayEnd);
        if (states.TryGetValue(key, out AutomatonState? state)) return state;
        int bytesToEnd = mayEnd ? 0 : configurations.Min(c => AutomatonGraph.Sum(automaton.Nodes[c.Node].Distance, c.Frame.BytesToEnd));
        states[key] = state = new AutomatonState(this, configurations, mayEnd, bytesToEnd, automaton.ClassCount);
        Interlocked.Add(ref size, (4 * ObjectSize) + (16 * configurations.Length) + (8 * automaton.ClassCount));
        return state;
    }

    /// <summary>What makes a frame: frames below count by identity.</summary>
    private readonly struct FrameKey(int depth, Caller[] callers) : IEquatable<FrameKey>
    {
        private readonly int depth = depth;
        private readonly Caller[] callers = callers;

        public bool Equals(FrameKey other) => depth == other.depth && callers.AsSpan().SequenceEqual(other.callers);

        public override bool Equals(object? obj) => obj is FrameKey other && Equals(other);

        public override int GetHashCode()
        {
            HashCode hash = default;
            hash.Add(depth);
            foreach (Caller caller in callers) hash.Add(caller);
            return hash.ToHashCode();
        }
    }

    /// <summary>What makes a state.</summary>
    private readonly struct StateKey(Configuration[] configurations, bool mayEnd) : IEquatable<StateKey>
    {
        private readonly Configuration[] configurations = configurations;
        private readonly bool mayEnd = mayEnd;

        public bool Equals(StateKey other) => mayEnd == other.mayEnd && configurations.AsSpan().SequenceEqual(other.configurations);

        public override bool Equals(object? obj) => obj is StateKey other && Equals(other);

        public override int GetHashCode()
        {
            HashCode hash = default;
            hash.Add(mayEnd);
            foreach (Configuration configuration in configurations) hash.Add(configuration);
            return hash.ToHashCode();
        }
    }
}
