namespace QuantBuild.Kernels;

/// <summary>
/// Spreads work over processor cores in few, large parts. Results do not depend on how many: a part decides which outputs are computed, never how.
/// </summary>
/// <param name="threads">How many parts at most.</param>
internal sealed class Workers(int threads)
{
    // Below this many multiplications, waking another thread costs more than it saves.
    private const long LeastWork = 1 << 19;

    private readonly ParallelOptions options = new() { MaxDegreeOfParallelism = threads };

    /// <summary>Runs <paramref name="body"/> on consecutive ranges that cover 0 to <paramref name="count"/>.</summary>
    /// <param name="count">How many items there are.</param>
    /// <param name="granularity">Ranges begin at multiples of this.</param>
    /// <param name="workPerItem">Multiplications that an item takes, to judge whether it is worth a thread.</param>
    /// <param name="body">Given the first item and the one after the last.</param>
    public void For(int count, int granularity, long workPerItem, Action<int, int> body)
    {
        int units = (count + granularity - 1) / granularity;
        int parts = (int)Math.Min(Math.Min(threads, units), 1 + (count * workPerItem / LeastWork));
        if (parts <= 1)
        {
            if (count > 0) body(0, count);
            return;
        }

        Parallel.For(0, parts, options, part =>
        {
            int from = (int)((long)units * part / parts) * granularity;
            int to = Math.Min(count, (int)((long)units * (part + 1) / parts) * granularity);
            body(from, to);
        });
    }
}
