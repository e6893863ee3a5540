using System.Text;

namespace QuantBuild.Constraints;

/// <summary>
/// The rules of a grammar as graphs over bytes (Thompson's construction): each has an entry and an end, and edges that take a byte, take nothing, or take
/// what another rule matches. What can never be finished is known here, and left out by <see cref="ByteAutomaton"/>.
/// </summary>
internal sealed class AutomatonGraph
{
    // A bound on time and memory: a grammar of this size takes about a second.
    private const int MaxStates = 1_000_000;

    private readonly Grammar grammar;
    private readonly bool[] usableBytes;
    private readonly Dictionary<string, int> ruleIds = [];
    private readonly List<GraphRule> rules = [];
    private readonly List<GraphState> states = [];

    /// <summary>Builds the graphs of the rules that the root needs.</summary>
    /// <param name="grammar">The grammar.</param>
    /// <param name="usableBytes">Per byte, whether it may be written at all.</param>
    /// <exception cref="QuantBuildException">The grammar is too large.</exception>
    public AutomatonGraph(Grammar grammar, bool[] usableBytes)
    {
        this.grammar = grammar;
        this.usableBytes = usableBytes;
        RuleId(Grammar.Root);
        for (int rule = 0; rule < rules.Count; rule++) Add(grammar.Rules[rules[rule].Name], rules[rule].Entry, rules[rule].End);
        MarkNullable();
        Distance = Solve(byteCost: 1, (rest, callee, _) => Sum(rest, callee));
        Depth = Solve(byteCost: 0, (rest, callee, rule) => Math.Max(rest, callee + (rule.Nests ? 1 : 0)));
    }

    /// <summary>The rules; the root is the first.</summary>
    public IReadOnlyList<GraphRule> Rules => rules;

    /// <summary>The states of all rules.</summary>
    public IReadOnlyList<GraphState> States => states;

    /// <summary>Per state, the fewest bytes to the end of its rule; <see cref="int.MaxValue"/> if it cannot be reached.</summary>
    public int[] Distance { get; }

    /// <summary>Per state, how many nesting rules must be open at once to reach the end of its rule.</summary>
    public int[] Depth { get; }

    /// <summary>The sum of two distances; a distance too large for a number stays a distance.</summary>
    public static int Sum(int first, int second) => (int)Math.Min((long)first + second, int.MaxValue - 1);

    private int NewState()
    {
        if (states.Count == MaxStates)
        {
            throw grammar.Error(
                $"What the output must look like needs more than {MaxStates:N0} states. " +
                "Numbers of repetitions multiply where they are nested (minItems, maxLength, {m,n}): lower them, or leave an upper bound out.");
        }

        states.Add(new GraphState());
        return states.Count - 1;
    }

    private int RuleId(string name)
    {
        if (!ruleIds.TryGetValue(name, out int id))
        {
            ruleIds[name] = id = rules.Count;
            rules.Add(new GraphRule(name, NewState(), NewState(), grammar.NestingRules.Contains(name)));
        }

        return id;
    }

    /// <summary>Makes an expression lead from one state to another. No edge to <paramref name="from"/> is added, unless it is <paramref name="to"/>.</summary>
    private void Add(GrammarExpression expression, int from, int to)
    {
        switch (expression)
        {
            case GrammarExpression.Literal literal:
                byte[] bytes = Encoding.UTF8.GetBytes(literal.Text);
                Add([.. bytes.Select(b => (b, b))], from, to, shared: null);
                break;
            case GrammarExpression.Characters characters:
                // Characters that end alike share the states of their ends.
                Dictionary<(byte, byte, int), int> shared = [];
                foreach ((byte First, byte Last)[] sequence in Utf8Ranges.Of(characters.Set)) Add(sequence, from, to, shared);
                break;
            case GrammarExpression.Sequence sequence:
                AddSequence(sequence.Parts, from, to);
                break;
            case GrammarExpression.Choice choice:
                foreach (GrammarExpression option in choice.Options) Add(option, from, to);
                break;
            case GrammarExpression.Repeat repeat:
                AddRepeat(repeat, from, to);
                break;
            case GrammarExpression.Reference reference:
                states[from].Calls.Add((RuleId(reference.Rule), to));
                break;
            default:
                throw new InvalidOperationException($"An expression of the type {expression.GetType()}.");
        }
    }

    private void AddSequence(IReadOnlyList<GrammarExpression> parts, int from, int to)
    {
        if (parts.Count == 0) states[from].Epsilon.Add(to);
        for (int i = 0; i < parts.Count; i++)
        {
            int next = i == parts.Count - 1 ? to : NewState();
            Add(parts[i], from, next);
            from = next;
        }
    }

    private void AddRepeat(GrammarExpression.Repeat repeat, int from, int to)
    {
        int copies = repeat.Max ?? repeat.Min;
        for (int i = 0; i < copies; i++)
        {
            if (i >= repeat.Min) states[from].Epsilon.Add(to);
            int next = NewState();
            Add(repeat.Body, from, next);
            from = next;
        }

        if (repeat.Max is null)
        {
            int loop = NewState();
            states[from].Epsilon.Add(loop);
            Add(repeat.Body, loop, loop);
            from = loop;
        }

        states[from].Epsilon.Add(to);
    }

    private void Add((byte First, byte Last)[] sequence, int from, int to, Dictionary<(byte, byte, int), int>? shared)
    {
        if (sequence.Length == 0) states[from].Epsilon.Add(to);
        int target = to;
        for (int i = sequence.Length - 1; i > 0; i--)
        {
            (byte First, byte Last, int Target) key = (sequence[i].First, sequence[i].Last, target);
            if (shared is not null && shared.TryGetValue(key, out int known))
            {
                target = known;
                continue;
            }

            int state = NewState();
            AddBytes(state, sequence[i].First, sequence[i].Last, target);
            if (shared is not null) shared[key] = state;
            target = state;
        }

        if (sequence.Length > 0) AddBytes(from, sequence[0].First, sequence[0].Last, target);
    }

    private void AddBytes(int from, int first, int last, int to)
    {
        for (int start = first; start <= last; start++)
        {
            if (!usableBytes[start]) continue;
            int end = start;
            while (end < last && usableBytes[end + 1]) end++;
            states[from].Bytes.Add(((byte)start, (byte)end, to));
            start = end;
        }
    }

    /// <summary>Finds the rules that match the empty text.</summary>
    private void MarkNullable()
    {
        List<(int Rule, int Target)>[] unknown = [.. rules.Select(_ => new List<(int, int)>())];
        Stack<(int Rule, int State)> pending = new();
        HashSet<(int, int)> reached = [];
        void Reach(int rule, int state)
        {
            if (reached.Add((rule, state))) pending.Push((rule, state));
        }

        // What a rule reaches without a byte; past the call of another rule when that is found to be nullable.
        for (int rule = 0; rule < rules.Count; rule++) Reach(rule, rules[rule].Entry);
        while (pending.TryPop(out (int Rule, int State) at))
        {
            foreach (int next in states[at.State].Epsilon) Reach(at.Rule, next);
            foreach ((int callee, int next) in states[at.State].Calls)
            {
                if (rules[callee].IsNullable) Reach(at.Rule, next);
                else unknown[callee].Add((at.Rule, next));
            }

            if (at.State != rules[at.Rule].End) continue;
            rules[at.Rule].IsNullable = true;
            foreach ((int caller, int next) in unknown[at.Rule]) Reach(caller, next);
            unknown[at.Rule].Clear();
        }
    }

    /// <summary>
    /// The least cost from each state to the end of its rule, where a call costs what the callee's entry does (Knuth, "A generalization of Dijkstra's
    /// algorithm", 1977).
    /// </summary>
    private int[] Solve(int byteCost, Func<int, int, GraphRule, int> callCost)
    {
        List<(int From, int Rule)>[] into = [.. states.Select(_ => new List<(int, int)>(1))];
        List<(int From, int Return)>[] callers = [.. rules.Select(_ => new List<(int, int)>())];
        const int epsilon = -1, bytes = -2;
        for (int from = 0; from < states.Count; from++)
        {
            foreach (int to in states[from].Epsilon) into[to].Add((from, epsilon));
            foreach ((_, _, int to) in states[from].Bytes) into[to].Add((from, bytes));
            foreach ((int rule, int to) in states[from].Calls)
            {
                into[to].Add((from, rule));
                callers[rule].Add((from, to));
            }
        }

        int[] cost = new int[states.Count];
        Array.Fill(cost, int.MaxValue);
        Dictionary<int, int> ruleOfEntry = rules.Select((rule, id) => (rule, id)).ToDictionary(p => p.rule.Entry, p => p.id);
        PriorityQueue<int, int> queue = new(rules.Select(rule => (rule.End, 0)));
        while (queue.TryDequeue(out int state, out int found))
        {
            if (cost[state] != int.MaxValue) continue;
            cost[state] = found;
            foreach ((int from, int kind) in into[state])
            {
                if (kind == epsilon) queue.Enqueue(from, found);
                else if (kind == bytes) queue.Enqueue(from, Sum(found, byteCost));
                else if (cost[rules[kind].Entry] is int callee and not int.MaxValue) queue.Enqueue(from, callCost(found, callee, rules[kind]));
            }

            if (!ruleOfEntry.TryGetValue(state, out int entered)) continue;
            foreach ((int from, int back) in callers[entered])
            {
                if (cost[back] != int.MaxValue) queue.Enqueue(from, callCost(cost[back], found, rules[entered]));
            }
        }

        return cost;
    }
}

/// <summary>A rule of an <see cref="AutomatonGraph"/>.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Entry">The state that it begins in.</param>
/// <param name="End">The state that it ends in.</param>
/// <param name="Nests">Whether it counts for <see cref="Grammar.MaxDepth"/>.</param>
internal sealed record GraphRule(string Name, int Entry, int End, bool Nests)
{
    /// <summary>Whether it matches the empty text.</summary>
    public bool IsNullable { get; set; }
}

/// <summary>The edges that leave a state of an <see cref="AutomatonGraph"/>.</summary>
internal sealed class GraphState
{
    /// <summary>States that are reached by nothing.</summary>
    public List<int> Epsilon { get; } = new(1);

    /// <summary>States that are reached by a byte of a range, both ends included.</summary>
    public List<(byte First, byte Last, int To)> Bytes { get; } = new(1);

    /// <summary>States that are reached by what a rule matches.</summary>
    public List<(int Rule, int To)> Calls { get; } = [];
}
