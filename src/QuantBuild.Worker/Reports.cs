using System.Globalization;
using System.Text;
using System.Text.Json;

namespace QuantBuild.Worker;

/// <summary>Where the messages of a run go.</summary>
internal interface IReport : IDisposable
{
    /// <summary>Shows a message.</summary>
    void Send(WorkerMessage message);
}

/// <summary>For a build: each message is a line of JSON on standard output, where nothing else is ever written.</summary>
internal sealed class LineReport : IReport
{
    private readonly StreamWriter lines = new(Console.OpenStandardOutput(), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false))
    {
        AutoFlush = true,
        NewLine = "\n",
    };

    /// <summary>Takes standard output over: what a library prints goes to standard error.</summary>
    public LineReport() => Console.SetOut(Console.Error);

    /// <inheritdoc/>
    public void Send(WorkerMessage message)
    {
        try
        {
            lines.WriteLine(message.ToLine());
        }
        catch (IOException)
        {
            // Nobody listens any more; standard input has ended as well, and cancels.
        }
    }

    /// <inheritdoc/>
    public void Dispose() => lines.Dispose();
}

/// <summary>For people: progress and errors on standard error, the result on standard output.</summary>
internal sealed class PersonReport : IReport
{
    // A terminal shows progress in one line that is written over.
    private readonly bool overwrite = !Console.IsErrorRedirected;
    private bool lineOpen;

    /// <inheritdoc/>
    public void Send(WorkerMessage message)
    {
        switch (message.Kind)
        {
            case WorkerMessageKind.Progress:
                string left = message.SecondsLeft is >= 1 ? string.Create(CultureInfo.InvariantCulture, $", {message.SecondsLeft:F0} s left") : "";
                string text = string.Create(CultureInfo.InvariantCulture, $"[{100 * (message.Fraction ?? 0),3:F0}%] {message.Text}{left}");
                Console.Error.Write(overwrite ? $"\r{text}\u001b[K" : text + Environment.NewLine);
                lineOpen = overwrite;
                break;
            case WorkerMessageKind.Done:
                CloseLine();
                if (message.Text.Length > 0) Console.Out.WriteLine(message.Text);
                break;
            case WorkerMessageKind.Warning or WorkerMessageKind.Error:
                CloseLine();
                Console.Error.WriteLine($"{(message.Kind == WorkerMessageKind.Error ? "error" : "warning")} {message.Code}: {message.Text}");
                break;
            default:
                CloseLine();
                Console.Error.WriteLine(message.Text);
                break;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => CloseLine();

    private void CloseLine()
    {
        if (lineOpen) Console.Error.WriteLine();
        lineOpen = false;
    }
}

/// <summary>
/// For scripts (<c>--json</c>): one JSON document on standard output, the result or <c>{"error": …}</c>; everything else as for people, on standard error.
/// </summary>
internal sealed class JsonReport : IReport
{
    private readonly PersonReport person = new();
    private readonly TextWriter output = Console.Out;

    /// <summary>Takes standard output over: what a library prints goes to standard error.</summary>
    public JsonReport() => Console.SetOut(Console.Error);

    /// <summary>The report that a person or a script asked for.</summary>
    public static IReport OrPerson(bool json) => json ? new JsonReport() : new PersonReport();

    /// <inheritdoc/>
    public void Send(WorkerMessage message)
    {
        switch (message.Kind)
        {
            case WorkerMessageKind.Done:
                output.WriteLine(message.Text);
                break;
            case WorkerMessageKind.Error:
                Failure failure = new(new FailureDetails(message.Code!, message.Text, DiagnosticIds.HelpLink(message.Code!)));
                output.WriteLine(JsonSerializer.Serialize(failure, CommandJson.Readable.Failure));
                break;
            default:
                person.Send(message);
                break;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        person.Dispose();
        Console.SetOut(output);
    }
}
