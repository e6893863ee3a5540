using System.Runtime.InteropServices;

namespace QuantBuild.Worker;

/// <summary>
/// Turns signals, and for a build the end of standard input, into cancellation. One step of a large model can take long: a run that has not
/// ended by itself within the grace period is ended here.
/// </summary>
internal sealed class Cancellation : IDisposable
{
    /// <summary>The exit code of a run that was cancelled.</summary>
    public const int ExitCode = 130;

    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(1.5);

    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration[] signals;
    private readonly Lock gate = new();
    private bool ended;

    /// <summary>Begins to listen.</summary>
    public Cancellation(bool atEndOfInput)
    {
        signals = [.. new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM }.Select(signal => PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            Cancel();
        }))];
        if (atEndOfInput) new Thread(WaitForEndOfInput) { IsBackground = true, Name = "standard input" }.Start();
    }

    /// <summary>Cancelled once the run should end.</summary>
    public CancellationToken Token => source.Token;

    /// <summary>The files and folders to delete where the run is ended by force.</summary>
    public Func<IEnumerable<string>>? Leftovers { get; set; }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (gate) ended = true;
        foreach (PosixSignalRegistration signal in signals) signal.Dispose();
    }

    private void WaitForEndOfInput()
    {
        try
        {
            using Stream input = Console.OpenStandardInput();
            byte[] ignored = new byte[256];
            while (input.Read(ignored) > 0)
            {
            }
        }
        catch (IOException)
        {
            // A broken pipe is an end too.
        }

        Cancel();
    }

    private void Cancel()
    {
        lock (gate)
        {
            if (ended || source.IsCancellationRequested) return;
        }

        new Thread(EndByForce) { IsBackground = true, Name = "cancellation" }.Start();
        source.Cancel();
    }

    private void EndByForce()
    {
        Thread.Sleep(Grace);
        lock (gate)
        {
            if (ended) return;
            foreach (string path in Leftovers?.Invoke() ?? [])
            {
                try
                {
                    if (Directory.Exists(path)) Directory.Delete(path, recursive: true);
                    else File.Delete(path);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // It is removed by the next run.
                }
            }

            // An orderly exit would run libtorch's destructors under threads that still compute.
            if (OperatingSystem.IsWindows()) Environment.Exit(ExitCode);
            else ExitAtOnce(ExitCode);
        }
    }

    [DllImport("libc", EntryPoint = "_exit")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern void ExitAtOnce(int code);
}
