using System.Globalization;

namespace QuantBuild.Worker.Reporting;

/// <summary>The columns of a comparison, for every form that it is written in.</summary>
internal static class ComparisonColumns
{
    /// <summary>Their heads, the method's first.</summary>
    public static IReadOnlyList<string> Heads { get; } =
    [
        "method", "bits", "group or block", "bits per weight", "file", "perplexity", "over float", "KL, nats", "top-1", "quantizing", "peak memory", "tokens/s",
    ];

    /// <summary>The cells of a row, the method first.</summary>
    public static IReadOnlyList<string> Cells(ComparedRow row) =>
    [
        Name(row),
        row.Bits?.ToString(CultureInfo.InvariantCulture) ?? Number.None,
        row.Group ?? Number.None,
        Number.Fixed(row.BitsPerWeight, 2),
        Number.Bytes(row.FileBytes),
        Number.Fixed(row.Perplexity, 2),
        Number.Change(row.PerplexityIncrease),
        Number.Divergence(row.KlDivergence),
        Number.Percent(row.Top1Agreement, 1),
        Number.Duration(row.Seconds),
        Number.Bytes(row.PeakMemoryBytes),
        Number.Rate(row.TokensPerSecond),
    ];

    /// <summary>What a row is about.</summary>
    public static string Name(ComparedRow row) => row.IsDeclared ? row.Method + " (declared)" : row.Method;

    /// <summary>Whether a row has nothing but its failure to show.</summary>
    public static bool IsEmpty(ComparedRow row) => row.Failure is not null && row.FileBytes is null;

    /// <summary>How the figures were measured.</summary>
    public static string Note(Comparison comparison)
    {
        string text = comparison.EvaluationTokens is { } tokens ? $"Perplexity, KL divergence and top-1 agreement on {Number.Count(tokens)} predicted tokens. " : "";
        return text +
            "Quantizing: seconds and peak memory of a worker process that did this row alone, its evaluation among them, when the artifact was made. " +
            $"Tokens/s: greedy decoding of one text by the runtime on {comparison.Processor}, {comparison.Threads} {(comparison.Threads == 1 ? "thread" : "threads")}, " +
            "each in a process of its own, one over the median step after a warm-up.";
    }
}
