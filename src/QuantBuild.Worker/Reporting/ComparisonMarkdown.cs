using System.Text;

namespace QuantBuild.Worker.Reporting;

/// <summary>A comparison as Markdown: for a build's log, a pull request, a document.</summary>
internal static class ComparisonMarkdown
{
    /// <summary>The text.</summary>
    public static string Create(Comparison comparison)
    {
        StringBuilder text = new();
        void Row(IEnumerable<string> cells) => text.Append("| ").AppendJoin(" | ", cells.Select(Clean)).Append(" |\n");

        Row(ComparisonColumns.Heads);
        Row(ComparisonColumns.Heads.Select((_, i) => i == 0 ? "---" : "---:"));
        foreach (ComparedRow row in comparison.Rows) Row(ComparisonColumns.Cells(row));
        text.Append('\n').Append(Clean($"{comparison.ModelName}, {Number.Count(comparison.Parameters)} parameters. {ComparisonColumns.Note(comparison)}")).Append('\n');
        foreach (ComparedRow row in comparison.Rows.Where(row => row.Failure is not null))
        {
            text.Append('\n').Append(Clean($"{ComparisonColumns.Name(row)}{(row.Bits is { } bits ? $", {Number.Count(bits)} bits" : "")}: {row.Failure}")).Append('\n');
        }

        return text.ToString();
    }

    // A cell is one line, and what is a sign of Markdown or HTML in a name is none here.
    private static string Clean(string text)
    {
        StringBuilder clean = new(text.Length);
        foreach (char c in text)
        {
            if (char.IsControl(c))
            {
                clean.Append(' ');
                continue;
            }

            if (c is '|' or '<' or '>' or '&' or '\\' or '`' or '*' or '[') clean.Append('\\');
            clean.Append(c);
        }

        return clean.ToString();
    }
}
