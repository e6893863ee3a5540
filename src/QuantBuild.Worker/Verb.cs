namespace QuantBuild.Worker;

/// <summary>One run of a verb: whatever happens, it ends with one last message and the exit code that belongs to it.</summary>
internal static class Verb
{
    /// <summary>The exit code of success: the message <see cref="WorkerMessageKind.Done"/> was sent.</summary>
    public const int Succeeded = 0;

    /// <summary>The exit code of failure: a message <see cref="WorkerMessageKind.Error"/> was sent.</summary>
    public const int Failed = 1;

    /// <summary>The exit code of a command line that does not say what to do.</summary>
    public const int Misused = 2;

    /// <summary>Runs it.</summary>
    /// <param name="report">Where messages go.</param>
    /// <param name="cancelAtEndOfInput">Whether the end of standard input cancels: a build that is gone must not leave a worker behind.</param>
    /// <param name="work">Does it, and gives the text of the last message.</param>
    /// <returns>The exit code.</returns>
    public static int Run(IReport report, bool cancelAtEndOfInput, Func<Cancellation, string> work)
    {
        using Cancellation cancellation = new(cancelAtEndOfInput);
        try
        {
            report.Send(new WorkerMessage { Kind = WorkerMessageKind.Done, Text = work(cancellation) });
            return Succeeded;
        }
        catch (OperationCanceledException) when (cancellation.Token.IsCancellationRequested)
        {
            return Cancellation.ExitCode;
        }
        catch (Exception e)
        {
            return Fail(report, e);
        }
    }

    /// <summary>Reports why a run failed.</summary>
    /// <returns>The exit code.</returns>
    public static int Fail(IReport report, Exception cause)
    {
        if (cause is QuantBuildException known)
        {
            report.Send(new WorkerMessage { Kind = WorkerMessageKind.Error, Code = known.Id, Text = known.Message });
            return Failed;
        }

        Console.Error.WriteLine(cause);
        report.Send(new WorkerMessage
        {
            Kind = WorkerMessageKind.Error,
            Code = DiagnosticIds.WorkerFailed,
            Text = $"The worker failed with an error that it does not know: {cause.GetType().Name}: {cause.Message}",
        });
        return Failed;
    }
}
