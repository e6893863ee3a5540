namespace QuantBuild;

/// <summary>A width that a linear could have.</summary>
/// <param name="Bits">Bits per weight.</param>
/// <param name="Bytes">What it takes, scales and all.</param>
/// <param name="Loss">What it is expected to cost: see the sensitivity that was measured.</param>
public sealed record WidthOption(int Bits, long Bytes, double Loss);

/// <summary>Gives each linear a width so that all together lose least within a number of bytes.</summary>
/// <remarks>
/// The multiple-choice knapsack problem. Every linear starts at its smallest option; then the step up its convex hull that saves most loss for each byte is taken, again
/// and again, which is the optimum of the relaxed problem but for the last step; then pairs of changes are tried that save more, until none is left.
/// </remarks>
public static class WidthAllocation
{
    /// <summary>Chooses.</summary>
    /// <param name="linears">The options of each linear, by rising bytes.</param>
    /// <param name="budget">Bytes for all of them; at least the sum of the smallest options.</param>
    /// <returns>The number of the option of each linear.</returns>
    public static int[] Choose(IReadOnlyList<IReadOnlyList<WidthOption>> linears, long budget)
    {
        int[] chosen = new int[linears.Count];
        long left = budget - linears.Sum(options => options[0].Bytes);
        if (left < 0) throw new ArgumentOutOfRangeException(nameof(budget), budget, "The smallest options together take more.");
        left = Climb(linears, chosen, left);
        while (Improve(linears, chosen, ref left))
        {
        }

        return chosen;
    }

    /// <summary>Goes up the hulls, the best step first, past those that no longer fit. Gives the bytes that are left.</summary>
    private static long Climb(IReadOnlyList<IReadOnlyList<WidthOption>> linears, int[] chosen, long left)
    {
        // The steps of one hull have falling slopes, so that in this order each comes after those below it. Ties go in the order of the model.
        IEnumerable<(int Linear, int From, int To, double Slope)> steps = linears.SelectMany((options, linear) => Hull(options).Select(step => (linear, step.From, step.To, Slope(options, step.From, step.To))));
        foreach ((int linear, int from, int to, _) in steps.OrderByDescending(step => step.Slope).ToList())
        {
            long more = linears[linear][to].Bytes - linears[linear][from].Bytes;
            if (more > left || chosen[linear] != from) continue;
            chosen[linear] = to;
            left -= more;
        }

        return left;
    }

    /// <summary>The steps of the lower convex hull of a linear's options: each saves less loss for a byte than the one before.</summary>
    private static IEnumerable<(int From, int To)> Hull(IReadOnlyList<WidthOption> options)
    {
        for (int from = 0; from < options.Count - 1;)
        {
            int best = from;
            for (int to = from + 1; to < options.Count; to++)
            {
                if (options[to].Loss < options[from].Loss && (best == from || Slope(options, from, to) >= Slope(options, from, best))) best = to;
            }

            if (best == from) yield break;
            yield return (from, best);
            from = best;
        }
    }

    private static double Slope(IReadOnlyList<WidthOption> options, int from, int to) =>
        (options[from].Loss - options[to].Loss) / Math.Max(1, options[to].Bytes - options[from].Bytes);

    /// <summary>Makes the change of one linear, or of two, that saves most and fits, if there is one.</summary>
    private static bool Improve(IReadOnlyList<IReadOnlyList<WidthOption>> linears, int[] chosen, ref long left)
    {
        // All changes of one linear, with what each saves and takes.
        List<(int Linear, int To, double Saved, long Bytes)> changes = [];
        for (int linear = 0; linear < linears.Count; linear++)
        {
            WidthOption now = linears[linear][chosen[linear]];
            for (int to = 0; to < linears[linear].Count; to++)
            {
                WidthOption other = linears[linear][to];
                if (to != chosen[linear]) changes.Add((linear, to, now.Loss - other.Loss, other.Bytes - now.Bytes));
            }
        }

        // The best of all changes that take at most so many bytes, and the best of those of another linear: the partner of a change is one of the two.
        changes.Sort((a, b) => (a.Bytes, a.Linear, a.To).CompareTo((b.Bytes, b.Linear, b.To)));
        (int First, int Next)[] bests = new (int, int)[changes.Count];
        (int top, int next) = (-1, -1);
        for (int i = 0; i < changes.Count; i++)
        {
            if (top < 0 || changes[i].Saved > changes[top].Saved) (top, next) = (i, top < 0 || changes[top].Linear == changes[i].Linear ? next : top);
            else if (changes[i].Linear != changes[top].Linear && (next < 0 || changes[i].Saved > changes[next].Saved)) next = i;
            bests[i] = (top, next);
        }

        double best = 0;
        (int First, int Second) found = (-1, -1);
        for (int i = 0; i < changes.Count; i++)
        {
            if (changes[i].Bytes <= left && changes[i].Saved > best) (best, found) = (changes[i].Saved, (i, -1));
            // One saves loss; the other gives the bytes for it, or saves loss too.
            int fitting = changes[i].Saved <= 0 ? -1 : LastWithin(changes, left - changes[i].Bytes);
            if (fitting < 0) continue;
            int partner = changes[bests[fitting].First].Linear == changes[i].Linear ? bests[fitting].Next : bests[fitting].First;
            if (partner >= 0 && changes[i].Saved + changes[partner].Saved > best) (best, found) = (changes[i].Saved + changes[partner].Saved, (i, partner));
        }

        // Below this, sums in another order would decide.
        double total = linears.Select((options, linear) => options[chosen[linear]].Loss).Sum();
        if (found.First < 0 || best <= 1e-9 * total) return false;
        foreach (int change in new[] { found.First, found.Second }.Where(change => change >= 0))
        {
            chosen[changes[change].Linear] = changes[change].To;
            left -= changes[change].Bytes;
        }

        return true;
    }

    /// <summary>The last of the changes, which are ordered by their bytes, that takes no more than some; -1 where none does.</summary>
    private static int LastWithin(List<(int Linear, int To, double Saved, long Bytes)> changes, long bytes)
    {
        (int low, int high) = (0, changes.Count);
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (changes[middle].Bytes <= bytes) low = middle + 1;
            else high = middle;
        }

        return low - 1;
    }
}
