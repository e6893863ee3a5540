using System.Text;

namespace QuantBuild.Worker;

/// <summary>Tables of plain text.</summary>
internal static class TextTable
{
    private const string Gap = "  ";

    /// <summary>Columns of figures and names, each as wide as its longest cell. A terminal that is narrower breaks the lines itself.</summary>
    /// <param name="heads">The columns; a name that begins with <c>&gt;</c> is one of figures, set to the right.</param>
    /// <param name="rows">The cells.</param>
    public static string Of(string[] heads, IEnumerable<string[]> rows)
    {
        string[][] all = [[.. heads.Select(head => head.TrimStart('>'))], .. rows];
        int[] widths = Widths(all);
        return Lines(all.Select(row => string.Join(Gap, row.Select((cell, i) => heads[i].StartsWith('>') ? cell.PadLeft(widths[i]) : cell.PadRight(widths[i])))));
    }

    /// <summary>Names with what there is to say of them, which goes on in the same column where the terminal's line ends.</summary>
    /// <param name="rows">The cells; the last one of each row may be long.</param>
    /// <param name="width">Columns of the terminal.</param>
    public static string List(IEnumerable<string[]> rows, int width)
    {
        string[][] all = [.. rows];
        int[] widths = Widths(all);
        int indent = widths[..^1].Sum(column => column + Gap.Length);
        return Lines(all.SelectMany(row =>
        {
            string names = string.Concat(row[..^1].Select((cell, i) => cell.PadRight(widths[i]) + Gap));
            return Wrap(row[^1], Math.Max(20, width - indent - 1)).Select((line, i) => (i == 0 ? names : new string(' ', indent)) + line);
        }));
    }

    private static int[] Widths(string[][] rows) => [.. Enumerable.Range(0, rows.Max(row => row.Length)).Select(i => rows.Max(row => row[i].Length))];

    private static string Lines(IEnumerable<string> lines) => string.Join(Environment.NewLine, lines.Select(line => line.TrimEnd()));

    // Between words: a path or a checksum stays whole, so that it can be copied.
    private static List<string> Wrap(string text, int room)
    {
        List<string> lines = [];
        StringBuilder line = new();
        foreach (string word in text.Split(' '))
        {
            if (line.Length > 0 && line.Length + 1 + word.Length > room)
            {
                lines.Add(line.ToString());
                line.Clear();
            }

            if (line.Length > 0) line.Append(' ');
            line.Append(word);
        }

        lines.Add(line.ToString());
        return lines;
    }
}
