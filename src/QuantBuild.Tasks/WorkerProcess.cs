using System.Collections.Concurrent;
using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace QuantBuild.Tasks;

/// <summary>A running worker: its lines arrive on the thread that waits for it, since MSBuild wants a task to log on its own thread.</summary>
internal sealed class WorkerProcess
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);
    private const int ErrorLinesKept = 20;

    private readonly ProcessStartInfo start;
    private readonly Queue<string> errors = new();

    /// <summary>Prepares a process.</summary>
    /// <param name="host">The <c>dotnet</c> to run it with.</param>
    /// <param name="arguments">Its arguments, not yet quoted.</param>
    /// <param name="environment">What is added to the environment.</param>
    public WorkerProcess(string host, IEnumerable<string> arguments, IEnumerable<KeyValuePair<string, string>> environment)
    {
        start = new(host, string.Join(" ", arguments.Select(Quote)))
        {
            UseShellExecute = false,
            CreateNoWindow = true,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        foreach (KeyValuePair<string, string> variable in environment) start.Environment[variable.Key] = variable.Value;
    }

    /// <summary>What is run, for the log.</summary>
    public string CommandLine => start.FileName + " " + start.Arguments;

    /// <summary>The last lines of the worker's standard error.</summary>
    public IReadOnlyCollection<string> Errors => errors;

    /// <summary>Runs the worker to its end and returns its exit code.</summary>
    /// <param name="line">Called with each line of standard output; says whether it showed it.</param>
    /// <param name="quiet">Called each time that nothing was shown for a while.</param>
    /// <param name="silence">How long a while is.</param>
    /// <param name="cancellationToken">Asks the worker to end, and ends it if it does not within two seconds.</param>
    /// <exception cref="QuantBuildException">QB1005: the process cannot be started.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled, and the process has ended.</exception>
    public int Run(Func<string, bool> line, Action quiet, TimeSpan silence, CancellationToken cancellationToken)
    {
        using Process process = new() { StartInfo = start };
        // Not disposed: a line may still come, on a thread of the pool, after the worker was told to end.
        BlockingCollection<KeyValuePair<bool, string?>> lines = [];
        process.OutputDataReceived += (_, e) => lines.Add(new(false, e.Data));
        process.ErrorDataReceived += (_, e) => lines.Add(new(true, e.Data));
        try
        {
            process.Start();
        }
        catch (Win32Exception e)
        {
            throw new QuantBuildException(
                DiagnosticIds.WorkerFailed,
                $"The worker could not be started with {start.FileName}: {e.Message} Install the .NET 10 SDK, or correct DOTNET_HOST_PATH.", e);
        }

        try
        {
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            Stopwatch sinceShown = Stopwatch.StartNew();
            // Each of the two streams ends with a null.
            for (int ended = 0; ended < 2;)
            {
                int left = (int)Math.Max(0, (silence - sinceShown.Elapsed).TotalMilliseconds);
                if (lines.TryTake(out KeyValuePair<bool, string?> next, left, cancellationToken))
                {
                    if (next.Value is null) ended++;
                    else if (next.Key) Keep(next.Value);
                    else if (line(next.Value)) sinceShown.Restart();
                }

                if (ended == 2 || sinceShown.Elapsed < silence) continue;
                quiet();
                sinceShown.Restart();
            }

            process.WaitForExit();
            return process.ExitCode;
        }
        catch
        {
            // Whatever it was, a logger that throws too: nobody would hear the worker any more, and it would hold its memory.
            End(process);
            throw;
        }
    }

    private void Keep(string error)
    {
        errors.Enqueue(error);
        if (errors.Count > ErrorLinesKept) errors.Dequeue();
    }

    // The worker takes the end of its input as the word to stop, and keeps the layers that are done. Processes that it starts itself end with it.
    private static void End(Process process)
    {
        try
        {
            process.StandardInput.Close();
            if (!process.WaitForExit((int)Patience.TotalMilliseconds)) process.Kill();
            process.WaitForExit();
        }
        catch (Exception e) when (e is InvalidOperationException or IOException or Win32Exception)
        {
            // It ended meanwhile.
        }
    }

    private static string Quote(string argument) => "\"" + argument.Replace("\"", "\\\"") + "\"";
}
