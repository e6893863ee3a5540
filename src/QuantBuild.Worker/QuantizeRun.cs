using System.Globalization;
using QuantBuild.Quantization;

namespace QuantBuild.Worker;

/// <summary>One run of <c>quantize</c>: whatever happens, it ends with one last message and the exit code that belongs to it.</summary>
internal static class QuantizeRun
{
    /// <summary>The exit code of success: the message <see cref="WorkerMessageKind.Done"/> was sent.</summary>
    public const int Succeeded = 0;

    /// <summary>The exit code of failure: a message <see cref="WorkerMessageKind.Error"/> was sent.</summary>
    public const int Failed = 1;

    /// <summary>Quantizes.</summary>
    /// <param name="read">Gives the request.</param>
    /// <param name="report">Where messages go.</param>
    /// <param name="cancelAtEndOfInput">Whether the end of standard input cancels: a build that is gone must not leave a worker behind.</param>
    /// <returns>The exit code.</returns>
    public static int Execute(Func<WorkerRequest> read, IReport report, bool cancelAtEndOfInput)
    {
        using Cancellation cancellation = new(cancelAtEndOfInput);
        try
        {
            WorkerRequest request = read();
            cancellation.Leftovers = () => HalfWrittenFiles.Of(request);
            // A build holds the artifact's lock itself, so that it can look into the cache again once it has it.
            using IDisposable? held = cancelAtEndOfInput
                ? null
                : ModelCache.Default().Lock(
                    request.Fingerprint,
                    () => report.Send(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = "waiting for another run that makes the same artifact" }),
                    cancellation.Token);
            ArtifactManifest manifest = ModelQuantizer.Run(request, report.Send, cancellation.Token);
            report.Send(new WorkerMessage { Kind = WorkerMessageKind.Done, Text = Summary(request, manifest) });
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

    private static string Summary(WorkerRequest request, ArtifactManifest manifest)
    {
        FormattableString sizes = $"{manifest.ModelName}: {manifest.OriginalBytes / 1e6:F1} MB -> {new FileInfo(request.ArtifactPath).Length / 1e6:F1} MB";
        string text = sizes.ToString(CultureInfo.InvariantCulture);
        return manifest.Quality is { } quality ? $"{text}, {QualityText.Of(quality)}" : text;
    }
}
