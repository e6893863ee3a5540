using Spectre.Console;

namespace QuantBuild.Worker;

/// <summary>What the standard streams are: a terminal, with a width and perhaps colours, or a file or a pipe, where text is plain and no line is broken.</summary>
internal static class Terminal
{
    private const int Unbounded = 10_000;

    /// <summary>Columns of standard output.</summary>
    public static int Width => Console.IsOutputRedirected ? Unbounded : Math.Max(40, Console.WindowWidth);

    /// <summary>A console for one of the standard streams, which finds out what the terminal can do.</summary>
    /// <param name="writer">Standard output or error.</param>
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
}
