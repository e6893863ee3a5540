using System.Globalization;
using System.Text.Json;
using QuantBuild.Quantization;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>One run of <c>quantize</c>.</summary>
internal static class QuantizeRun
{
    /// <summary>Quantizes.</summary>
    /// <param name="read">Gives the request.</param>
    /// <param name="report">Where messages go.</param>
    /// <param name="isBuild">Whether a build asks: the end of standard input cancels, and the build holds the artifact's lock.</param>
    /// <param name="isJson">Whether the last message is JSON.</param>
    /// <returns>The exit code.</returns>
    public static int Execute(Func<CancellationToken, WorkerRequest> read, IReport report, bool isBuild, bool isJson = false) => Verb.Run(report, isBuild, cancellation =>
    {
        WorkerRequest request = read(cancellation.Token);
        TorchLibraries.Use(request.Device, report, cancellation.Token);
        cancellation.Leftovers = () => HalfWrittenFiles.Of(request);
        // A build holds the artifact's lock itself, so that it can look into the cache again once it has it.
        using IDisposable? held = isBuild
            ? null
            : ModelCache.Default().Lock(
                request.Fingerprint,
                () => report.Send(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = "waiting for another run that makes the same artifact" }),
                cancellation.Token);
        ArtifactManifest manifest = ModelQuantizer.Run(
            request, report.Send, cancellation.Token, (artifact, record) => WriteReport(request.ReportPath, artifact, record, cancellation.Token));
        return isJson ? Json(request, manifest) : Summary(request, manifest);
    });

    private static void WriteReport(string? path, string artifactPath, BuildRecord record, CancellationToken cancellationToken)
    {
        if (path is null) return;
        (RuntimeMeasurement? measured, string? whyNot) = MeasureRun.InOwnProcess(artifactPath, MeasureRun.ForReport, cancellationToken);
        using Artifact artifact = Artifact.Open(artifactPath);
        WholeFile.Write(path, ModelReport.Create(artifact, record, measured, whyNot));
    }

    private static string Json(WorkerRequest request, ArtifactManifest manifest)
    {
        Quantized quantized = new(
            manifest.ModelName,
            request.ArtifactPath,
            request.BuildRecordPath,
            request.ReportPath,
            manifest.Fingerprint,
            manifest.OriginalBytes,
            new FileInfo(request.ArtifactPath).Length,
            manifest.Quality);
        return JsonSerializer.Serialize(quantized, CommandJson.Readable.Quantized);
    }

    private static string Summary(WorkerRequest request, ArtifactManifest manifest)
    {
        FormattableString sizes = $"{manifest.ModelName}: {manifest.OriginalBytes / 1e6:F1} MB -> {new FileInfo(request.ArtifactPath).Length / 1e6:F1} MB";
        string text = sizes.ToString(CultureInfo.InvariantCulture);
        return manifest.Quality is { } quality ? $"{text}, {QualityText.Of(quality)}" : text;
    }
}
