using System.Text;
using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

/// <summary>Runs the automaton of a grammar over texts, byte by byte.</summary>
internal sealed class AutomatonRun
{
    private readonly ByteAutomaton automaton;
    private readonly StateTable table;

    public AutomatonRun(Grammar grammar)
    {
        bool[] allBytes = new bool[256];
        Array.Fill(allBytes, true);
        automaton = new ByteAutomaton(grammar, allBytes);
        table = new StateTable(automaton);
    }

    public AutomatonRun(string gbnf)
        : this(GrammarParser.Parse(gbnf))
    {
    }

    public AutomatonState Start => table.Start;

    public AutomatonState After(byte[] bytes, AutomatonState? from = null) =>
        bytes.Aggregate(from ?? Start, (state, value) => state.Next(automaton.ClassOfByte[value]));

    public AutomatonState After(string text) => After(Encoding.UTF8.GetBytes(text));

    public bool Matches(string text) => After(text).MayEnd;

    /// <summary>The shortest bytes that complete what led to a state.</summary>
    public byte[] Shortest(AutomatonState state)
    {
        List<byte> bytes = [];
        while (!state.MayEnd)
        {
            int wanted = state.BytesToEnd - 1;
            byte next = (byte)Enumerable.Range(0, 256).First(value => state.Next(automaton.ClassOfByte[value]).BytesToEnd == wanted);
            bytes.Add(next);
            state = state.Next(automaton.ClassOfByte[next]);
        }

        return [.. bytes];
    }
}
