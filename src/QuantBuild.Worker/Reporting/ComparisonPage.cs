using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild.Worker.Reporting;

/// <summary>A comparison as a page.</summary>
internal static class ComparisonPage
{
    /// <summary>The text of the page.</summary>
    public static string Create(Comparison comparison) => Html.Document(
        $"{comparison.ModelName}, methods compared",
        isWide: true,
        Html.Tag("h1", $"{comparison.ModelName}: methods compared"),
        Html.Tag(
            "p",
            Html.At("class", "sub"),
            $"{Number.Count(comparison.Parameters)} parameters · {comparison.Processor}, {comparison.Threads} {(comparison.Threads == 1 ? "thread" : "threads")} · QuantBuild {comparison.QuantizerVersion} · " +
            comparison.ComparedAt.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) + " UTC"),
        Html.Tag("section", Html.Tag("h2", "Quality against size"), Plot(comparison)),
        Html.Tag(
            "section",
            Html.Tag("h2", "All figures"),
            Html.Table("Every method at every width that is sensible for it; what is declared is marked", ComparisonColumns.Heads, comparison.Rows.Select(Row)),
            Html.Tag("p", Html.At("class", "note"), ComparisonColumns.Note(comparison)),
            Failures(comparison)));

    private static TableRow Row(ComparedRow row)
    {
        IReadOnlyList<string> cells = ComparisonColumns.Cells(row);
        const int known = 3;
        return ComparisonColumns.IsEmpty(row)
            ? new TableRow(cells[0], [.. cells.Take(known).Skip(1)])
            {
                IsMarked = row.IsDeclared, Spanning = "failed: see below the table", SpannedColumns = cells.Count - known,
            }
            : new TableRow(cells[0], [.. cells.Skip(1)]) { IsMarked = row.IsDeclared };
    }

    private static XElement? Failures(Comparison comparison)
    {
        ComparedRow[] failed = [.. comparison.Rows.Where(row => row.Failure is not null)];
        return failed.Length == 0
            ? null
            : Html.Tag(
                "ul",
                Html.At("class", "warnings"),
                failed.Select(row => Html.Tag("li", $"{ComparisonColumns.Name(row)}{(row.Bits is { } bits ? $", {Number.Count(bits)} bits" : "")}: {row.Failure}")));
    }

    private static XElement Plot(Comparison comparison) => ComparisonPlot.Create(comparison) is { } plot
        ? Html.Tag(
            "figure",
            Html.Scrolling("Plot", plot),
            Html.Tag("figcaption", "Down and to the left is better. The scale of the divergence is logarithmic. What is declared has another colour."))
        : Html.Tag("p", "Quality was not measured: there was no text to measure on.");
}
