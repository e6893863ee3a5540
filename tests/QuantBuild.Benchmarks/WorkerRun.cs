using System.Diagnostics;

namespace QuantBuild.Benchmarks;

/// <summary>The sample model, quantized by the worker process as a build does it.</summary>
/// <param name="Manifest">What the artifact says of itself.</param>
/// <param name="Record">Seconds and memory, as the worker measured them.</param>
/// <param name="WallSeconds">Seconds of the whole process, its start included.</param>
sealed record WorkerRun(ArtifactManifest Manifest, BuildRecord Record, double WallSeconds)
{
    public static WorkerRun Quantize(QuantizationSpec spec, string artifact, bool evaluate)
    {
        string request = artifact + ".request.xml";
        string record = Path.ChangeExtension(artifact, ".build.json");
        new WorkerRequest
        {
            ModelPath = Repository.Model,
            Spec = spec,
            CalibrationFile = spec.NeedsCalibration ? Repository.Calibration : null,
            EvaluationFile = evaluate ? Repository.Evaluation : null,
            Device = "cpu",
            Fingerprint = FileHash.OfText(artifact),
            ArtifactPath = artifact,
            BuildRecordPath = record,
        }.Save(request);

        ProcessStartInfo start = new("dotnet", ["exec", Repository.Worker, "quantize", "--request", request])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        start.Environment["OMP_WAIT_POLICY"] = "PASSIVE";
        long from = Stopwatch.GetTimestamp();
        using Process worker = Process.Start(start)!;
        string lines = worker.StandardOutput.ReadToEnd();
        worker.WaitForExit();
        double wall = Stopwatch.GetElapsedTime(from).TotalSeconds;
        if (worker.ExitCode != 0) throw new InvalidOperationException($"The worker ended with {worker.ExitCode}:\n{lines}");

        using Artifact built = Artifact.Open(artifact);
        return new WorkerRun(built.Manifest, BuildRecord.TryRead(record)!, wall);
    }
}
