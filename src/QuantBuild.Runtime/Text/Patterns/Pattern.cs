using System.Buffers;
using System.Globalization;
using System.Text;

namespace QuantBuild.Text.Patterns;

/// <summary>
/// Finds the matches of a regular expression, those that a backtracking engine finds, in time linear in what it looks at: all ways of matching are followed at once, in
/// order of preference (Pike), and what follows from a set of ways and a class of characters is remembered (a lazy automaton). It sees whole code points. Safe to use
/// from several threads at once.
/// </summary>
internal sealed class Pattern
{
    private const int MaxInstructions = 5_000;

    // A pattern of the published kind has about a hundred; one that is made to have many is forgotten and begun anew.
    private const int MaxStates = 2_000;

    // The class of the end of a text, and of its beginning.
    private const int Outside = 0;

    private readonly List<Instruction> program = [];
    private readonly List<CharacterSet> sets = [];
    private readonly Dictionary<string, int> setIndices = [];
    private readonly bool looksBehind;
    private readonly Lock making = new();
    private readonly Dictionary<string, int> classes = [];
    private readonly List<bool[]> members = [];
    private readonly int[]?[] classPages = new int[0x1100][];
    private readonly Dictionary<string, State> states = [];
    private volatile State?[] starts = [];

    private Pattern(PatternNode node)
    {
        Compile(node);
        program.Add(new Instruction(Kind.Match, 0, 0));
        looksBehind = program.Any(i => i.Kind is Kind.Behind or Kind.NotBehind);
        members.Add(new bool[sets.Count]);
    }

    /// <summary>Reads a regular expression.</summary>
    /// <exception cref="FormatException">It is not one, or has what is not supported.</exception>
    public static Pattern Parse(string pattern) => new(PatternParser.Parse(pattern));

    /// <summary>A pattern that matches a text itself.</summary>
    public static Pattern Literal(string text) =>
        new(new PatternNode.Sequence([.. text.EnumerateRunes().Select(rune => new PatternNode.Character(CharacterSet.Of(rune.Value)))]));

    /// <summary>The matches in a text, in order; none overlaps another. One may be empty, but not right after another.</summary>
    /// <param name="text">Valid UTF-16.</param>
    /// <param name="matches">Receives where they are.</param>
    /// <exception cref="QuantBuildException">QB2028: the pattern takes more than linear time on this text.</exception>
    public void FindAll(ReadOnlySpan<char> text, List<Range> matches)
    {
        // What a match looks at beyond its end, the next looks at again. Published patterns look a few characters ahead; one that looks at all the rest each time
        // would take hours on a long text.
        long steps = 1_000_000 + (200L * text.Length);
        int end = -1;
        for (int start = 0; start <= text.Length;)
        {
            int length = MatchAt(text, start, ref steps);
            if (length > 0 || (length == 0 && start != end))
            {
                matches.Add(start..(start + length));
                end = start + length;
            }

            start += length > 0 ? length : start + 1 < text.Length && char.IsHighSurrogate(text[start]) ? 2 : 1;
            if (steps < 0)
            {
                throw new QuantBuildException(
                    DiagnosticIds.TokenizerPatternTooSlow,
                    $"A pattern of the tokenizer looks at this text of {text.Length} characters again and again, more than 200 times each. No published tokenizer does: " +
                    "the model's tokenizer.json is damaged or made to be slow. Take it from where the model came from.");
            }
        }
    }

    /// <summary>The length of the match that begins at a place, or -1.</summary>
    private int MatchAt(ReadOnlySpan<char> text, int start, ref long steps)
    {
        int previous = Outside;
        if (looksBehind && start > 0)
        {
            Rune.DecodeLastFromUtf16(text[..start], out Rune before, out _);
            previous = ClassOf(before.Value);
        }

        State state = Start(previous);
        int end = -1;
        for (int position = start; ;)
        {
            int kind = Outside;
            int length = 0;
            if (position < text.Length)
            {
                char c = text[position];
                length = 1;
                int codePoint = c;
                if (char.IsHighSurrogate(c) && position + 1 < text.Length) (codePoint, length) = (char.ConvertToUtf32(c, text[position + 1]), 2);
                kind = ClassOf(codePoint);
            }

            State?[] next = state.Next;
            state = (kind < next.Length ? next[kind] : null) ?? Advance(state, kind, ref steps);
            steps--;
            if (state.Matched) end = position;
            if (state.Threads.Length == 0 || length == 0) return end - start < 0 ? -1 : end - start;
            position += length;
        }
    }

    private int ClassOf(int codePoint)
    {
        int[]? page = Volatile.Read(ref classPages[codePoint >> 8]);
        int known = page is null ? 0 : page[codePoint & 0xFF];
        return known != 0 ? known : FindClass(codePoint);
    }

    /// <summary>Characters that are in the same sets are of one class.</summary>
    private int FindClass(int codePoint)
    {
        lock (making)
        {
            bool[] membership = [.. sets.Select(set => set.Contains(codePoint))];
            string key = string.Concat(membership.Select(m => m ? '1' : '0'));
            if (!classes.TryGetValue(key, out int number))
            {
                number = members.Count;
                classes.Add(key, number);
                members.Add(membership);
            }

            ref int[]? page = ref classPages[codePoint >> 8];
            if (page is null) Volatile.Write(ref page, new int[256]);
            page![codePoint & 0xFF] = number;
            return number;
        }
    }

    private State Start(int previous)
    {
        State?[] known = starts;
        return (previous < known.Length ? known[previous] : null) ?? MakeStart(previous);
    }

    private State MakeStart(int previous)
    {
        lock (making)
        {
            State state = Intern([0], previous, matched: false);
            State?[] known = starts;
            if (previous >= known.Length) Array.Resize(ref known, members.Count);
            known[previous] = state;
            starts = known;
            return state;
        }
    }

    /// <summary>What follows from a state when a character of a class comes: the threads that are left after it, and whether there was a match before it.</summary>
    private State Advance(State state, int kind, ref long steps)
    {
        lock (making)
        {
            List<int> threads = [];
            bool matched = false;
            HashSet<int> visited = [];
            Stack<int> open = new(state.Threads.Reverse());
            while (!matched && open.TryPop(out int pc))
            {
                if (!visited.Add(pc)) continue;
                Instruction instruction = program[pc];
                switch (instruction.Kind)
                {
                    case Kind.Character when kind != Outside && members[kind][instruction.A]:
                        threads.Add(pc + 1);
                        break;
                    case Kind.Jump:
                        open.Push(instruction.A);
                        break;
                    case Kind.Split:
                        open.Push(instruction.B);
                        open.Push(instruction.A);
                        break;
                    case Kind.Ahead when members[kind][instruction.A]:
                    case Kind.NotAhead when !members[kind][instruction.A]:
                    case Kind.Behind when members[state.Previous][instruction.A]:
                    case Kind.NotBehind when !members[state.Previous][instruction.A]:
                        open.Push(pc + 1);
                        break;
                    case Kind.Match:
                        // What is less preferred does not count any more.
                        matched = true;
                        break;
                }
            }

            steps -= visited.Count;
            State next = Intern([.. threads], looksBehind ? kind : Outside, matched);
            State?[] known = state.Next;
            if (kind >= known.Length) Array.Resize(ref known, members.Count);
            known[kind] = next;
            state.Next = known;
            return next;
        }
    }

    private State Intern(int[] threads, int previous, bool matched)
    {
        string key = string.Create(CultureInfo.InvariantCulture, $"{previous} {matched} {string.Join(' ', threads)}");
        if (states.TryGetValue(key, out State? state)) return state;
        if (states.Count >= MaxStates)
        {
            states.Clear();
            starts = [];
        }

        state = new State(threads, previous, matched);
        states.Add(key, state);
        return state;
    }

    private void Compile(PatternNode node)
    {
        if (program.Count > MaxInstructions) throw new FormatException("the pattern is too large when its counts are written out");
        switch (node)
        {
            case PatternNode.Character character:
                program.Add(new Instruction(Kind.Character, IndexOf(character.Set), 0));
                break;
            case PatternNode.Sequence sequence:
                foreach (PatternNode part in sequence.Parts) Compile(part);
                break;
            case PatternNode.Choice choice:
                CompileChoice(choice);
                break;
            case PatternNode.Repeat repeat:
                CompileRepeat(repeat);
                break;
            case PatternNode.Assertion assertion:
                Kind kind = (assertion.Ahead, assertion.Negative) switch
                {
                    (true, false) => Kind.Ahead,
                    (true, true) => Kind.NotAhead,
                    (false, false) => Kind.Behind,
                    _ => Kind.NotBehind,
                };
                program.Add(new Instruction(kind, IndexOf(assertion.Set), 0));
                break;
        }
    }

    private void CompileChoice(PatternNode.Choice choice)
    {
        List<int> jumps = [];
        for (int i = 0; i < choice.Options.Count; i++)
        {
            int split = program.Count;
            bool last = i == choice.Options.Count - 1;
            if (!last) program.Add(default);
            Compile(choice.Options[i]);
            if (last) break;
            jumps.Add(program.Count);
            program.Add(default);
            program[split] = new Instruction(Kind.Split, split + 1, program.Count);
        }

        foreach (int jump in jumps) program[jump] = new Instruction(Kind.Jump, program.Count, 0);
    }

    private void CompileRepeat(PatternNode.Repeat repeat)
    {
        for (int i = 0; i < repeat.Least; i++)
        {
            int before = program.Count;
            Compile(repeat.Part);
            // Nothing, a billion times, is nothing.
            if (program.Count == before) break;
        }

        List<int> splits = [];
        int optional = repeat.Most is { } most ? most - repeat.Least : 1;
        for (int i = 0; i < optional; i++)
        {
            splits.Add(program.Count);
            program.Add(default);
            Compile(repeat.Part);
        }

        if (repeat.Most is null) program.Add(new Instruction(Kind.Jump, splits[0], 0));
        foreach (int split in splits)
        {
            program[split] = repeat.Greedy ? new Instruction(Kind.Split, split + 1, program.Count) : new Instruction(Kind.Split, program.Count, split + 1);
        }
    }

    private int IndexOf(CharacterSet set)
    {
        if (setIndices.TryGetValue(set.Name, out int index)) return index;
        setIndices.Add(set.Name, sets.Count);
        sets.Add(set);
        return sets.Count - 1;
    }

    private enum Kind
    {
        Character,
        Split,
        Jump,
        Ahead,
        NotAhead,
        Behind,
        NotBehind,
        Match,
    }

    /// <summary>A step of the program.</summary>
    /// <param name="Kind">What it does.</param>
    /// <param name="A">The index of its set, or where to go on, preferably.</param>
    /// <param name="B">Where else to go on.</param>
    private readonly record struct Instruction(Kind Kind, int A, int B);

    /// <summary>Ways of matching that are open at a place.</summary>
    /// <param name="threads">Instructions to go on with, the preferred first.</param>
    /// <param name="previous">The class of the character before the place, where the pattern looks at it.</param>
    /// <param name="matched">Whether there was a match before that character.</param>
    private sealed class State(int[] threads, int previous, bool matched)
    {
        public int[] Threads => threads;

        public int Previous => previous;

        public bool Matched => matched;

        /// <summary>By class of the next character.</summary>
        public volatile State?[] Next = [];
    }
}
