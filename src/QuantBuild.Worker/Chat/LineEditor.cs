using System.Text;
using Spectre.Console.Rendering;

namespace QuantBuild.Worker.Chat;

/// <summary>
/// A line that is typed in a terminal, with what one expects of it: the cursor moves, words and ends can be deleted, earlier lines come back with the arrow keys, and pasted text stays in one piece.
/// </summary>
internal sealed class LineEditor : IChatInput
{
    private readonly TextWriter terminal;
    private readonly string prompt;
    private readonly Action typed;
    private readonly Func<ConsoleKeyInfo> readKey;
    private readonly Func<bool> keyWaits;
    private readonly Func<int> width;
    private readonly List<string> history = [];
    private readonly StringBuilder text = new();
    private int cursor;

    /// <summary>An editor on the console.</summary>
    /// <param name="terminal">Shows what is typed.</param>
    /// <param name="prompt">What stands before it.</param>
    /// <param name="typed">Called for each key.</param>
    public LineEditor(TextWriter terminal, string prompt, Action typed)
        : this(terminal, prompt, typed, () => Console.ReadKey(intercept: true), () => Console.KeyAvailable, () => Console.WindowWidth)
    {
    }

    /// <summary>An editor on other keys.</summary>
    internal LineEditor(TextWriter terminal, string prompt, Action typed, Func<ConsoleKeyInfo> readKey, Func<bool> keyWaits, Func<int> width) =>
        (this.terminal, this.prompt, this.typed, this.readKey, this.keyWaits, this.width) = (terminal, prompt, typed, readKey, keyWaits, width);

    /// <inheritdoc/>
    public string? Read()
    {
        text.Clear();
        cursor = 0;
        int shown = history.Count;
        Redraw();
        while (true)
        {
            ConsoleKeyInfo key = readKey();
            typed();
            bool control = key.Modifiers.HasFlag(ConsoleModifiers.Control);
            switch (key.Key)
            {
                // More that comes at once was pasted, and belongs to the same message.
                case ConsoleKey.Enter when keyWaits():
                    Insert('\n');
                    break;
                case ConsoleKey.Enter when text.Length > 0 && text[^1] == '\\':
                    text[^1] = '\n';
                    cursor = text.Length;
                    break;
                case ConsoleKey.Enter:
                    return Finish();
                case ConsoleKey.D when control && text.Length == 0:
                    terminal.WriteLine();
                    return null;
                case ConsoleKey.D when control:
                case ConsoleKey.Delete:
                    Delete(cursor, After(cursor));
                    break;
                case ConsoleKey.Backspace:
                    Delete(Before(cursor), cursor);
                    break;
                case ConsoleKey.W when control:
                    Delete(WordBefore(cursor), cursor);
                    break;
                case ConsoleKey.U when control:
                    Delete(0, cursor);
                    break;
                case ConsoleKey.K when control:
                    Delete(cursor, text.Length);
                    break;
                case ConsoleKey.LeftArrow:
                    cursor = control ? WordBefore(cursor) : Before(cursor);
                    break;
                case ConsoleKey.RightArrow:
                    cursor = After(cursor);
                    break;
                case ConsoleKey.Home:
                case ConsoleKey.A when control:
                    cursor = 0;
                    break;
                case ConsoleKey.End:
                case ConsoleKey.E when control:
                    cursor = text.Length;
                    break;
                case ConsoleKey.UpArrow when shown > 0:
                    Show(history[--shown]);
                    break;
                case ConsoleKey.DownArrow when shown < history.Count:
                    Show(++shown < history.Count ? history[shown] : "");
                    break;
                default:
                    if (!char.IsControl(key.KeyChar)) Insert(key.KeyChar);
                    break;
            }

            // Once for all that was pasted.
            if (!keyWaits()) Redraw();
        }
    }

    /// <inheritdoc/>
    public void Redraw()
    {
        // One row of the terminal: of a longer text, the part that ends at the cursor, or begins the text.
        string all = text.ToString().Replace('\n', '↵');
        int room = Math.Max(8, width() - prompt.Length - 1), from = 0;
        while (Cells(all[from..cursor]) > room) from = After(from);
        int to = all.Length;
        while (Cells(all[from..to]) > room) to = Before(to);
        // Back to the column of the cursor, counted from the left.
        terminal.Write($"\r{prompt}{all[from..to]}\u001b[K\r\u001b[{prompt.Length + Cells(all[from..cursor])}C");
        terminal.Flush();
    }

    private string Finish()
    {
        cursor = text.Length;
        Redraw();
        terminal.WriteLine();
        string line = text.ToString();
        if (line.Length > 0 && (history.Count == 0 || history[^1] != line)) history.Add(line);
        return line;
    }

    private void Show(string line)
    {
        text.Clear().Append(line);
        cursor = text.Length;
    }

    private void Insert(char character)
    {
        text.Insert(cursor, character);
        cursor++;
    }

    private void Delete(int from, int to)
    {
        text.Remove(from, to - from);
        cursor = from;
    }

    private int Before(int at) => at == 0 ? 0 : at >= 2 && char.IsLowSurrogate(text[at - 1]) ? at - 2 : at - 1;

    private int After(int at) => at >= text.Length ? text.Length : char.IsHighSurrogate(text[at]) && at + 1 < text.Length ? at + 2 : at + 1;

    private int WordBefore(int at)
    {
        while (at > 0 && char.IsWhiteSpace(text[at - 1])) at--;
        while (at > 0 && !char.IsWhiteSpace(text[at - 1])) at--;
        return at;
    }

    private static int Cells(string shown) => new Segment(shown).CellCount();
}
