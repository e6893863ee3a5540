using System.Diagnostics;

namespace QuantBuild.Benchmarks;

/// <summary>A model, quantized by the worker process as a build does it.</summary>
/// <param name="Manifest">What the artifact says of itself.</param>
/// <param name="Record">Seconds and memory, as the worker measured them.</param>
/// <param name="WallSeconds">Seconds of the whole process, its start included.</param>
/// <param name="LayerSeconds">When each layer was done, in seconds from the start of the process.</param>
sealed record WorkerRun(ArtifactManifest Manifest, BuildRecord Record, double WallSeconds, IReadOnlyList<double> LayerSeconds)
{
    /// <summary>Quantizes the sample model, or another, on the sample's calibration text or another.</summary>
    public static WorkerRun Quantize(QuantizationSpec spec, string artifact, bool evaluate, string? model = null, string? calibration = null)
    {
        string request = artifact + ".request.xml";
        string record = Path.ChangeExtension(artifact, ".build.json");
        new WorkerRequest
        {
            ModelPath = model ?? Repository.Model,
            Spec = spec,
            CalibrationFile = spec.NeedsCalibration ? calibration ?? Repository.Calibration : null,
            EvaluationFile = evaluate ? Repository.Evaluation : null,
            Device = "cpu",
            Fingerprint = FileHash.OfText(artifact),
            ArtifactPath = artifact,
            BuildRecordPath = record,
        }.Save(request);

        long from = Stopwatch.GetTimestamp();
        List<double> layers = [];
        Start(["quantize", "--request", request], line =>
        {
            if (WorkerMessage.TryParse(line) is not { Kind: WorkerMessageKind.Progress } progress) return;
            if (progress.Text.StartsWith("layer ", StringComparison.Ordinal)) layers.Add(Stopwatch.GetElapsedTime(from).TotalSeconds);
        });
        double wall = Stopwatch.GetElapsedTime(from).TotalSeconds;

        using Artifact built = Artifact.Open(artifact);
        return new WorkerRun(built.Manifest, BuildRecord.TryRead(record)!, wall, layers);
    }

    /// <summary>Runs the worker, and waits for its end.</summary>
    /// <param name="arguments">The verb and its options.</param>
    /// <param name="line">Gets each line of its standard output as it comes.</param>
    public static void Start(IEnumerable<string> arguments, Action<string> line)
    {
        ProcessStartInfo start = new("dotnet", ["exec", Repository.Worker, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        start.Environment["OMP_WAIT_POLICY"] = "PASSIVE";
        using Process worker = Process.Start(start)!;
        List<string> lines = [];
        while (worker.StandardOutput.ReadLine() is { } next)
        {
            lines.Add(next);
            line(next);
        }

        worker.WaitForExit();
        if (worker.ExitCode != 0) throw new InvalidOperationException($"The worker ended with {worker.ExitCode}:\n{string.Join('\n', lines)}");
    }
}
