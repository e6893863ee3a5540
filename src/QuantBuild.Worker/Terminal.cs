using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;
using PlainText = Spectre.Console.Text;

namespace QuantBuild.Worker;

/// <summary>Text for people: tables as wide as the terminal, with colours where it has them; plain and unbroken where the output goes to a file or a pipe.</summary>
internal static class Terminal
{
    // Lines of a file are never broken.
    private const int Unbounded = 10_000;

    /// <summary>A console for one of the standard streams, which finds out what the terminal can do.</summary>
    /// <param name="writer">Standard output or error, or a text.</param>
    /// <param name="isRedirected">Whether it is no terminal.</param>
    public static IAnsiConsole Open(TextWriter writer, bool isRedirected)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = isRedirected ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = isRedirected ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
            Interactive = isRedirected ? InteractionSupport.No : InteractionSupport.Detect,
            Out = new AnsiConsoleOutput(writer),
        });
        if (isRedirected) console.Profile.Width = Unbounded;
        return console;
    }

    /// <summary>What is shown on standard output for a number of tables and texts, without the last line's end.</summary>
    public static string Text(params IEnumerable<IRenderable> parts)
    {
        using StringWriter text = new(CultureInfo.InvariantCulture);
        IAnsiConsole console = Open(text, Console.IsOutputRedirected);
        if (!Console.IsOutputRedirected) console.Profile.Width = Console.WindowWidth;
        foreach (IRenderable part in parts) console.Write(part);
        return string.Join('\n', text.ToString().TrimEnd().Split('\n').Select(line => line.TrimEnd()));
    }

    /// <summary>A table without a frame.</summary>
    /// <param name="heads">The columns; a name that begins with <c>&gt;</c> is one of figures, set to the right.</param>
    /// <param name="rows">The cells, each as it is to be read: nothing in them is markup.</param>
    public static Table Table(IEnumerable<string> heads, IEnumerable<IEnumerable<string>> rows)
    {
        Table table = new() { Border = TableBorder.None, ShowHeaders = heads.Any(head => head.Length > 0) };
        foreach (string head in heads)
        {
            bool isFigure = head.StartsWith('>');
            TableColumn column = new(new PlainText(head.TrimStart('>'), new Style(decoration: Decoration.Bold))) { NoWrap = true, Padding = new Padding(0, 0, 2, 0) };
            table.AddColumn(isFigure ? column.RightAligned() : column);
        }

        foreach (IEnumerable<string> row in rows) table.AddRow(row.Select(cell => new PlainText(cell)));
        return table;
    }

    /// <summary>A blank line.</summary>
    public static IRenderable Blank { get; } = new PlainText("\n");
}
