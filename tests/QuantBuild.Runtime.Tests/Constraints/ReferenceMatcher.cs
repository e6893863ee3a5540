using System.Text;
using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

/// <summary>What a grammar matches, by its definition: over characters, by trying everything. Slow, and of one mind with the automaton in nothing.</summary>
internal sealed class ReferenceMatcher(Grammar grammar)
{
    // Rules that are being matched, and where from. A rule that begins with itself again is in a branch without an end, or the automaton refuses the grammar.
    private readonly HashSet<(string, int)> open = [];
    private readonly Dictionary<(string, int), HashSet<int>> known = [];
    private int refused;

    public bool Matches(string text)
    {
        known.Clear();
        int[] characters = [.. text.EnumerateRunes().Select(rune => rune.Value)];
        return Ends(new GrammarExpression.Reference(Grammar.Root), characters, 0).Contains(characters.Length);
    }

    /// <summary>Where a match that begins at a position may end.</summary>
    private HashSet<int> Ends(GrammarExpression expression, int[] text, int start)
    {
        switch (expression)
        {
            case GrammarExpression.Literal literal:
                int[] wanted = [.. literal.Text.EnumerateRunes().Select(rune => rune.Value)];
                return text.AsSpan(start).StartsWith(wanted) ? [start + wanted.Length] : [];
            case GrammarExpression.Characters characters:
                return start < text.Length && characters.Set.Ranges.Any(r => r.First <= text[start] && text[start] <= r.Last) ? [start + 1] : [];
            case GrammarExpression.Sequence sequence:
                return sequence.Parts.Aggregate(new HashSet<int> { start }, (before, part) => [.. before.SelectMany(end => Ends(part, text, end))]);
            case GrammarExpression.Choice choice:
                return [.. choice.Options.SelectMany(option => Ends(option, text, start))];
            case GrammarExpression.Repeat repeat:
                HashSet<int> all = [], now = [start];
                if (repeat.Min == 0) all.Add(start);
                // Beyond this many repetitions, some match nothing.
                for (int i = 1; i <= Math.Min(repeat.Max ?? int.MaxValue, text.Length + repeat.Min + 1) && now.Count > 0; i++)
                {
                    now = [.. now.SelectMany(end => Ends(repeat.Body, text, end))];
                    if (i >= repeat.Min) all.UnionWith(now);
                }

                return all;
            case GrammarExpression.Reference reference:
                (string, int) key = (reference.Rule, start);
                if (known.TryGetValue(key, out HashSet<int>? earlier)) return earlier;
                if (!open.Add(key))
                {
                    refused++;
                    return [];
                }

                int refusedBefore = refused;
                HashSet<int> ends = Ends(grammar.Rules[reference.Rule], text, start);
                open.Remove(key);
                // What was refused on the way might be no reason to refuse it elsewhere.
                if (refused == refusedBefore) known[key] = ends;
                return ends;
            default:
                throw new InvalidOperationException();
        }
    }
}
