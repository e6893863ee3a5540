using QuantBuild.Worker.Chat;

namespace QuantBuild.Worker.Tests;

public sealed class LineEditorTests
{
    private static readonly ConsoleKeyInfo Enter = new('\r', ConsoleKey.Enter, false, false, false);
    private static readonly ConsoleKeyInfo Up = Key(ConsoleKey.UpArrow), Down = Key(ConsoleKey.DownArrow), Left = Key(ConsoleKey.LeftArrow), Home = Key(ConsoleKey.Home);

    [Fact]
    public void What_is_typed_is_the_line_and_is_shown_after_the_prompt()
    {
        StringWriter screen = new();
        Assert.Equal("Hello 👋", Editor(screen, [.. Typed("Hello 👋"), Enter]).Read());
        Assert.Contains("\r> Hello 👋\u001b[K\r\u001b[10C", screen.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void The_cursor_moves_by_characters_and_words_and_what_is_around_it_can_be_deleted()
    {
        Assert.Equal("aXb", Editor([.. Typed("ab"), Left, .. Typed("X"), Enter]).Read());
        Assert.Equal("Xab", Editor([.. Typed("ab"), Home, .. Typed("X"), Enter]).Read());
        Assert.Equal("one ", Editor([.. Typed("one two"), Control(ConsoleKey.W), Enter]).Read());
        Assert.Equal("one Xtwo", Editor([.. Typed("one two"), Control(ConsoleKey.LeftArrow), .. Typed("X"), Enter]).Read());
        Assert.Equal("b", Editor([.. Typed("ab"), Left, Control(ConsoleKey.U), Enter]).Read());
        Assert.Equal("a", Editor([.. Typed("ab"), Left, Control(ConsoleKey.K), Enter]).Read());
        Assert.Equal("a", Editor([.. Typed("a👋"), Key(ConsoleKey.Backspace), Enter]).Read());
        Assert.Equal("b", Editor([.. Typed("ab"), Home, Key(ConsoleKey.Delete), Enter]).Read());
    }

    [Fact]
    public void Earlier_lines_come_back_and_the_end_of_input_is_an_empty_line_with_control_D()
    {
        LineEditor editor = Editor(
        [
            .. Typed("first"), Enter, .. Typed("second"), Enter, Up, Up, Enter, Up, Down, .. Typed("new"), Enter, Control(ConsoleKey.D),
        ]);
        Assert.Equal(["first", "second", "first", "new", null], Enumerable.Range(0, 5).Select(_ => editor.Read()));
    }

    [Fact]
    public void Pasted_lines_and_a_backslash_at_the_end_stay_one_message()
    {
        // All keys wait when the first is read: a paste.
        Assert.Equal("one\ntwo", new LineEditor(TextWriter.Null, "> ", () => { }, Keys([.. Typed("one"), Enter, .. Typed("two"), Enter], out Func<bool> waits), waits, () => 80).Read());
        Assert.Equal("one\ntwo", Editor([.. Typed("one\\"), Enter, .. Typed("two"), Enter]).Read());
    }

    [Fact]
    public void A_line_longer_than_the_terminal_shows_the_part_around_the_cursor()
    {
        StringWriter screen = new();
        LineEditor editor = new(screen, "> ", () => { }, Keys([.. Typed("abcdefghijklmnopqrst"), Enter], out _), () => false, () => 13);
        Assert.Equal("abcdefghijklmnopqrst", editor.Read());
        Assert.Contains("\r> klmnopqrst\u001b[K", screen.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("jklmnopqrst", screen.ToString(), StringComparison.Ordinal);
    }

    private static LineEditor Editor(ConsoleKeyInfo[] keys) => Editor(TextWriter.Null, keys);

    private static LineEditor Editor(TextWriter screen, ConsoleKeyInfo[] keys) => new(screen, "> ", () => { }, Keys(keys, out _), () => false, () => 80);

    private static Func<ConsoleKeyInfo> Keys(ConsoleKeyInfo[] keys, out Func<bool> waits)
    {
        Queue<ConsoleKeyInfo> queue = new(keys);
        waits = () => queue.Count > 0;
        return queue.Dequeue;
    }

    private static IEnumerable<ConsoleKeyInfo> Typed(string text) => text.Select(character => new ConsoleKeyInfo(character, ConsoleKey.None, false, false, false));

    private static ConsoleKeyInfo Key(ConsoleKey key) => new('\0', key, false, false, false);

    private static ConsoleKeyInfo Control(ConsoleKey key) => new('\0', key, false, false, control: true);
}
