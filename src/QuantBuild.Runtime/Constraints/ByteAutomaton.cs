namespace QuantBuild.Constraints;

/// <summary>
/// A grammar as a pushdown automaton over bytes, without edges that take nothing: what <see cref="StateTable"/> runs. Every state can reach the end of its rule.
/// </summary>
internal sealed class ByteAutomaton
{
    /// <summary>The state with nothing left to match in its rule.</summary>
    public const int End = 0;

    private readonly AutomatonGraph graph;
    private readonly Grammar grammar;
    private readonly Dictionary<int, int> stateIds = [];
    private readonly List<int> graphStates = [-1];
    private readonly List<AutomatonNode> nodes = [new([], [], Ends: true, Distance: 0, Depth: 0)];
    private readonly List<GraphRule> rules = [];
    private readonly Dictionary<int, int> ruleIds = [];

    /// <summary>Makes the automaton of a grammar.</summary>
    /// <param name="grammar">The grammar.</param>
    /// <param name="usableBytes">Per byte, whether it may be written at all; texts with other bytes do not match.</param>
    /// <exception cref="QuantBuildException">The grammar is left-recursive, matches no text, or is too large.</exception>
    public ByteAutomaton(Grammar grammar, bool[] usableBytes)
    {
        this.grammar = grammar;
        graph = new AutomatonGraph(grammar, usableBytes);
        if (graph.Distance[graph.Rules[0].Entry] == int.MaxValue || graph.Depth[graph.Rules[0].Entry] + (graph.Rules[0].Nests ? 1 : 0) > grammar.MaxDepth)
        {
            throw grammar.Error(
                "No finite text is what the output must be: a rule or a required property needs itself without an end, two demands contradict each other, " +
                "or the tokenizer has no token for a byte that is needed. Give the recursion an alternative that ends it, or make the property optional.");
        }

        RuleId(0);
        for (int id = 1; id < graphStates.Count; id++) nodes.Add(Close(graphStates[id]));
        Entries = [.. rules.Select(rule => StateId(rule.Entry))];
        Nests = [.. rules.Select(rule => rule.Nests)];
        CalledFirst = OrderRules();
        ClassOfByte = MakeClasses(out int classes);
        ClassCount = classes;
        nodes = [.. nodes.Select(node => node with { Bytes = [.. node.Bytes.Select(InClasses).OrderBy(edge => edge.First)] })];
    }

    /// <summary>The states.</summary>
    public IReadOnlyList<AutomatonNode> Nodes => nodes;

    /// <summary>Entries of the rules: their states. The root's is the first.</summary>
    public IReadOnlyList<int> Entries { get; }

    /// <summary>Whether a rule counts for <see cref="MaxDepth"/>.</summary>
    public IReadOnlyList<bool> Nests { get; }

    /// <summary>Whether the empty text matches.</summary>
    public bool MatchesEmpty => graph.Rules[0].IsNullable;

    /// <summary>How many nesting rules may be open at once.</summary>
    public int MaxDepth => grammar.MaxDepth;

    /// <summary>Rules in an order in which each comes before those that it may begin with.</summary>
    public IReadOnlyList<int> CalledFirst { get; }

    /// <summary>Bytes that no edge tells apart have the same class.</summary>
    public byte[] ClassOfByte { get; }

    /// <summary>The number of classes.</summary>
    public int ClassCount { get; }

    private int RuleId(int graphRule)
    {
        if (!ruleIds.TryGetValue(graphRule, out int id))
        {
            ruleIds[graphRule] = id = rules.Count;
            rules.Add(graph.Rules[graphRule]);
            StateId(graph.Rules[graphRule].Entry);
        }

        return id;
    }

    /// <summary>The state for a state of the graph. Those that lead by nothing to one other state only, are that state.</summary>
    private int StateId(int state)
    {
        HashSet<int> passed = [];
        while (graph.States[state] is { Bytes.Count: 0, Calls.Count: 0, Epsilon: [int only] } && passed.Add(state)) state = only;
        if (stateIds.TryGetValue(state, out int id)) return id;
        bool ends = graph.States[state] is { Bytes.Count: 0, Calls.Count: 0, Epsilon.Count: 0 };
        stateIds[state] = id = ends ? End : graphStates.Count;
        if (!ends) graphStates.Add(state);
        return id;
    }

    /// <summary>What a state does, with what it reaches by nothing.</summary>
    private AutomatonNode Close(int start)
    {
        HashSet<int> reached = [start];
        Stack<int> pending = new([start]);
        HashSet<ByteEdge> bytes = [];
        HashSet<CallEdge> calls = [];
        bool ends = false;
        void Reach(int state)
        {
            if (graph.Distance[state] != int.MaxValue && reached.Add(state)) pending.Push(state);
        }

        while (pending.TryPop(out int state))
        {
            GraphState edges = graph.States[state];
            // Only the end of a rule has no edge and can yet be left.
            ends |= edges is { Bytes.Count: 0, Calls.Count: 0, Epsilon.Count: 0 };
            foreach (int to in edges.Epsilon) Reach(to);
            foreach ((byte first, byte last, int to) in edges.Bytes)
            {
                if (graph.Distance[to] != int.MaxValue) bytes.Add(new ByteEdge(first, last, StateId(to)));
            }

            foreach ((int rule, int to) in edges.Calls)
            {
                GraphRule callee = graph.Rules[rule];
                if (graph.Distance[callee.Entry] == int.MaxValue || graph.Distance[to] == int.MaxValue) continue;
                calls.Add(new CallEdge(RuleId(rule), StateId(to)));
                // A call that takes nothing is done here, so that no rule ever ends where it began.
                if (callee.IsNullable) Reach(to);
            }
        }

        return new AutomatonNode([.. bytes], [.. calls], ends, graph.Distance[start], graph.Depth[start]);
    }

    private int[] OrderRules()
    {
        List<int> finished = [];
        byte[] mark = new byte[rules.Count]; // 1: being visited, 2: finished
        for (int root = 0; root < rules.Count; root++)
        {
            if (mark[root] != 0) continue;
            List<(int Rule, int Next)> path = [(root, 0)];
            mark[root] = 1;
            while (path.Count > 0)
            {
                (int rule, int next) = path[^1];
                CallEdge[] calls = nodes[Entries[rule]].Calls;
                if (next == calls.Length)
                {
                    mark[rule] = 2;
                    finished.Add(rule);
                    path.RemoveAt(path.Count - 1);
                    continue;
                }

                path[^1] = (rule, next + 1);
                int callee = calls[next].Rule;
                if (mark[callee] == 1) throw LeftRecursion([.. path.Select(step => step.Rule).SkipWhile(step => step != callee), callee]);
                if (mark[callee] != 0) continue;
                mark[callee] = 1;
                path.Add((callee, 0));
            }
        }

        finished.Reverse();
        return [.. finished];
    }

    private QuantBuildException LeftRecursion(IEnumerable<int> cycle) => grammar.Error(
        $"A rule may begin with itself ({string.Join(" → ", cycle.Select(rule => rules[rule].Name))}), and such left recursion is not supported. " +
        "Write what repeats with * or +, or let the rule end with itself: list ::= item (\",\" item)* instead of list ::= list \",\" item | item. " +
        "In a JSON schema: a $ref leads back to itself with no object or array between.");

    private byte[] MakeClasses(out int count)
    {
        bool[] begins = new bool[257];
        foreach (ByteEdge edge in nodes.SelectMany(node => node.Bytes)) begins[edge.First] = begins[edge.Last + 1] = true;
        byte[] classes = new byte[256];
        for (int value = 1; value < 256; value++) classes[value] = (byte)(classes[value - 1] + (begins[value] ? 1 : 0));
        count = classes[255] + 1;
        return classes;
    }

    private ByteEdge InClasses(ByteEdge edge) => new(ClassOfByte[edge.First], ClassOfByte[edge.Last], edge.To);
}

/// <summary>A state of a <see cref="ByteAutomaton"/>.</summary>
/// <param name="Bytes">What it does with a byte.</param>
/// <param name="Calls">The rules of which it may match one next.</param>
/// <param name="Ends">Whether its rule may end here.</param>
/// <param name="Distance">The fewest bytes to the end of its rule.</param>
/// <param name="Depth">How many nesting rules must be open at once on the way to the end of its rule.</param>
internal sealed record AutomatonNode(ByteEdge[] Bytes, CallEdge[] Calls, bool Ends, int Distance, int Depth);

/// <summary>A byte of a range of classes, both ends included, leads to a state.</summary>
internal readonly record struct ByteEdge(byte First, byte Last, int To);

/// <summary>What a rule matches leads to a state.</summary>
internal readonly record struct CallEdge(int Rule, int To);
