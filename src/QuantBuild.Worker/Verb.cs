namespace QuantBuild.Worker;

/// <summary>One run of a verb: whatever happens, it ends with one last message and the exit code that belongs to it.</summary>
internal static class Verb
{
    /// <summary>The exit code of success: the message <see cref="WorkerMessageKind.Done"/> was sent.</summary>
    public const int Succeeded = 0;

    /// <summary>The exit code of failure: a message <see cref="WorkerMessageKind.Error"/> was sent.</summary>
    public const int Failed = 1;

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
        catch (QuantBuildException e)
        {
            report.Send(new WorkerMessage { Kind = WorkerMessageKind.Error, Code = e.Id, Text = e.Message });
            return Failed;
        }
        catch (Exception e)
        {
            Console.Error.WriteLine(e);
            report.Send(new WorkerMessage
            {
                Kind = WorkerMessageKind.Error,
                Code = DiagnosticIds.WorkerFailed,
                Text = $"The worker failed with an error that it does not know: {e.GetType().Name}: {e.Message}",
            });
            return Failed;
        }
    }
}
