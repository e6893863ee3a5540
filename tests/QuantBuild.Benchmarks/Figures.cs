using System.Diagnostics;

namespace QuantBuild.Benchmarks;

/// <summary>Timings as medians: the machine may be shared, and one slow run should not move a figure.</summary>
static class Figures
{
    /// <summary>Seconds of each of several runs, after one that is not counted.</summary>
    public static double[] Seconds(int runs, Action run)
    {
        run();
        return [.. Enumerable.Range(0, runs).Select(_ =>
        {
            long start = Stopwatch.GetTimestamp();
            run();
            return Stopwatch.GetElapsedTime(start).TotalSeconds;
        })];
    }

    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
