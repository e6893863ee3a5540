using System.Numerics;
using QuantBuild.Decoding;

namespace QuantBuild.Generation;

/// <summary>A token that may be drawn.</summary>
/// <param name="Token">Its id.</param>
/// <param name="Logit">Its logit.</param>
/// <param name="Key">What candidates are ordered by: the largest is first, and of equals the smaller id.</param>
/// <param name="Weight">Its probability but for a factor that all share.</param>
internal record struct Candidate(int Token, float Logit, double Key, double Weight);

/// <summary>
/// The tokens that may still be drawn, in no order. A vocabulary is never sorted: cuts partition it as quickselect does (Hoare 1961), in a time that grows with
/// the number of candidates alone. One instance serves all tokens of a text, so that none needs memory of its own.
/// </summary>
internal sealed class Candidates
{
    private Candidate[] items = [];
    private int count;

    /// <summary>The candidates.</summary>
    public Span<Candidate> Items => items.AsSpan(0, count);

    /// <summary>The sum of their weights.</summary>
    public double Weight
    {
        get
        {
            double sum = 0;
            foreach (ref readonly Candidate item in Items) sum += item.Weight;
            return sum;
        }
    }

    /// <summary>Starts anew, with room for a number of candidates.</summary>
    public void Clear(int capacity)
    {
        count = 0;
        if (items.Length < capacity) items = new Candidate[capacity];
    }

    /// <summary>Adds one.</summary>
    public void Add(int token, float logit, double key, double weight) => items[count++] = new Candidate(token, logit, key, weight);

    /// <summary>
    /// Starts anew with the tokens of the k largest logits, which are their keys; all weigh 1. A logit of negative infinity is none.
    /// </summary>
    public void TakeTop(ReadOnlySpan<float> logits, int k)
    {
        k = Math.Min(k, logits.Length);
        int capacity = Math.Min(logits.Length, k + Math.Max(k, 64));
        Clear(capacity);
        // What is not above the k-th largest so far cannot be among the k: it comes later, and so it loses a tie as well.
        float least = float.NegativeInfinity;
        for (int i = 0; i < logits.Length;)
        {
            int next = Math.Min(i + Vector<float>.Count, logits.Length);
            // Few stretches of a vocabulary have a token for the choice.
            if (next - i == Vector<float>.Count && !Vector.GreaterThanAny(new Vector<float>(logits[i..]), new Vector<float>(least)))
            {
                i = next;
                continue;
            }

            for (; i < next; i++)
            {
                if (!(logits[i] > least)) continue;
                Add(i, logits[i], logits[i], 1);
                if (count < capacity) continue;
                KeepFirst(k);
                least = float.PositiveInfinity;
                foreach (ref readonly Candidate item in Items) least = Math.Min(least, (float)item.Key);
            }
        }

        KeepFirst(k);
    }

    /// <summary>Keeps the first ones in the order of keys: as many as it takes for their weights to reach a sum, or all.</summary>
    public void KeepFirst(double sum)
    {
        // Candidates before `from` are kept, those from `to` on are not.
        int from = 0, to = count;
        while (from < to)
        {
            int pivot = Partition(from, to, out double before);
            if (before >= sum)
            {
                to = pivot;
                continue;
            }

            sum -= before + items[pivot].Weight;
            from = pivot + 1;
            if (sum <= 0) to = from;
        }

        count = to;
    }

    /// <summary>
    /// Keeps the first ones as <see cref="KeepFirst"/> does, of candidates that are in order; nothing where that depends on an error of the sum, or where all together do not reach it.
    /// </summary>
    /// <returns>Whether they are kept.</returns>
    public bool TryKeepFirst(double sum, double error)
    {
        double reached = 0;
        for (int i = 0; i < count && (i == 0 || reached < sum - error); i++)
        {
            reached += items[i].Weight;
            if (reached < sum + error) continue;
            count = i + 1;
            return true;
        }

        return false;
    }

    /// <summary>
    /// Puts candidates in order, and weighs them by their keys, if they are no more than a device lists: what is summed up and drawn then does not depend on how they were found.
    /// </summary>
    public void Settle()
    {
        if (count > LargestLogits.Capacity) return;
        foreach (ref Candidate item in Items) item.Weight = Math.Exp(item.Key);
        Items.Sort(static (a, b) => a.Key != b.Key ? b.Key.CompareTo(a.Key) : a.Token.CompareTo(b.Token));
    }

    /// <summary>Keeps the ones that weigh at least this much.</summary>
    public void KeepHeavy(double least)
    {
        int kept = 0;
        for (int i = 0; i < count; i++)
        {
            if (items[i].Weight >= least) items[kept++] = items[i];
        }

        count = kept;
    }

    /// <summary>The candidate at a point between 0 and 1 of all weights laid end to end.</summary>
    public int At(double point)
    {
        double target = point * Weight;
        int last = 0;
        foreach (ref readonly Candidate item in Items)
        {
            last = item.Token;
            target -= item.Weight;
            if (target < 0) return last;
        }

        // Rounding left a remainder of the sum.
        return last;
    }

    /// <summary>The last candidate in the order of keys.</summary>
    public int Last()
    {
        Candidate last = items[0];
        foreach (ref readonly Candidate item in Items)
        {
            if (Before(last, item)) last = item;
        }

        return last.Token;
    }

    /// <summary>Brings what comes before some pivot in front of it, and what comes after it behind.</summary>
    /// <returns>The place of the pivot.</returns>
    private int Partition(int from, int to, out double before)
    {
        Span<Candidate> part = items.AsSpan(from, to - from);
        // The median of three: logits that are sorted already take no longer.
        int middle = part.Length / 2;
        if (Before(part[middle], part[0])) (part[0], part[middle]) = (part[middle], part[0]);
        if (Before(part[^1], part[middle])) (part[middle], part[^1]) = (part[^1], part[middle]);
        if (Before(part[middle], part[0])) (part[0], part[middle]) = (part[middle], part[0]);
        Candidate pivot = part[middle];
        (part[middle], part[^1]) = (part[^1], part[middle]);

        before = 0;
        int place = 0;
        for (int i = 0; i < part.Length - 1; i++)
        {
            if (!Before(part[i], pivot)) continue;
            before += part[i].Weight;
            (part[place], part[i]) = (part[i], part[place]);
            place++;
        }

        (part[place], part[^1]) = (part[^1], part[place]);
        return from + place;
    }

    private static bool Before(in Candidate a, in Candidate b) => a.Key > b.Key || (a.Key == b.Key && a.Token < b.Token);
}
