using System.Globalization;
using QuantBuild.Quantization;

namespace QuantBuild.Worker;

/// <summary>One run of <c>quantize</c>.</summary>
internal static class QuantizeRun
{
    /// <summary>Quantizes.</summary>
    /// <param name="read">Gives the request.</param>
    /// <param name="report">Where messages go.</param>
    /// <param name="cancelAtEndOfInput">Whether the end of standard input cancels: a build that is gone must not leave a worker behind.</param>
    /// <returns>The exit code.</returns>
    public static int Execute(Func<WorkerRequest> read, IReport report, bool cancelAtEndOfInput) => Run.Execute(report, cancelAtEndOfInput, cancellation =>
    {
        WorkerRequest request = read();
        cancellation.Leftovers = () => Leftovers(request);
        // A build holds the artifact's lock itself, so that it can look into the cache again once it has it.
        using IDisposable? held = cancelAtEndOfInput
            ? null
            : ModelCache.Default().Lock(
                request.Fingerprint,
                () => report.Send(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = "waiting for another run that makes the same artifact" }),
                cancellation.Token);
        ArtifactManifest manifest = ModelQuantizer.Run(request, report.Send, cancellation.Token);
        return Summary(request, manifest);
    });

    private static string Summary(WorkerRequest request, ArtifactManifest manifest)
    {
        FormattableString sizes = $"{manifest.ModelName}: {manifest.OriginalBytes / 1e6:F1} MB -> {new FileInfo(request.ArtifactPath).Length / 1e6:F1} MB";
        string text = sizes.ToString(CultureInfo.InvariantCulture);
        return manifest.Quality is { } quality ? $"{text}, {QualityText.Of(quality)}" : text;
    }

    /// <summary>The files that a run which is stopped at once leaves half-written.</summary>
    private static IEnumerable<string> Leftovers(WorkerRequest request)
    {
        (string Folder, string Pattern)[] places =
        [
            (Path.GetDirectoryName(request.ArtifactPath)!, Path.GetFileName(request.ArtifactPath) + ".*.tmp"),
            (Path.GetDirectoryName(request.BuildRecordPath)!, Path.GetFileName(request.BuildRecordPath) + ".*.tmp"),
            (ModelCache.OfArtifact(request.ArtifactPath, request.Fingerprint).WorkFolder(request.Fingerprint), "*.tmp"),
        ];
        return places.Where(place => Directory.Exists(place.Folder)).SelectMany(place => Directory.GetFiles(place.Folder, place.Pattern));
    }
}
