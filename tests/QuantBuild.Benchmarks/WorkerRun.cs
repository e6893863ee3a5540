using System.Diagnostics;
using System.Globalization;

namespace QuantBuild.Benchmarks;

/// <summary>A model, quantized by the worker process as a build does it.</summary>
/// <param name="Manifest">What the artifact says of itself.</param>
/// <param name="Record">Seconds and memory, as the worker measured them.</param>
/// <param name="WallSeconds">Seconds of the whole process, its start included.</param>
/// <param name="LayerSeconds">When each layer was done, in seconds from the start of the process.</param>
/// <param name="PeakOwnBytes">The largest amount of memory that was no page of a mapped file, where the system tells; else 0.</param>
sealed record WorkerRun(ArtifactManifest Manifest, BuildRecord Record, double WallSeconds, IReadOnlyList<double> LayerSeconds, long PeakOwnBytes)
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
        long peak = Start(["quantize", "--request", request], line =>
        {
            if (WorkerMessage.TryParse(line) is not { Kind: WorkerMessageKind.Progress } progress) return;
            if (progress.Text.StartsWith("layer ", StringComparison.Ordinal)) layers.Add(Stopwatch.GetElapsedTime(from).TotalSeconds);
        });
        double wall = Stopwatch.GetElapsedTime(from).TotalSeconds;

        using Artifact built = Artifact.Open(artifact);
        return new WorkerRun(built.Manifest, BuildRecord.TryRead(record)!, wall, layers, peak);
    }

    /// <summary>Runs the worker, and waits for its end.</summary>
    /// <param name="arguments">The verb and its options.</param>
    /// <param name="line">Gets each line of its standard output as it comes.</param>
    /// <returns>The largest amount of memory that was no page of a mapped file, where the system tells; else 0.</returns>
    public static long Start(IEnumerable<string> arguments, Action<string> line)
    {
        ProcessStartInfo start = new("dotnet", ["exec", Repository.Worker, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        start.Environment["OMP_WAIT_POLICY"] = "PASSIVE";
        using Process worker = Process.Start(start)!;
        int id = worker.Id;
        long peak = 0;
        using Timer timer = new(_ => peak = Math.Max(peak, OwnBytes(id)), null, 0, 50);
        List<string> lines = [];
        while (worker.StandardOutput.ReadLine() is { } next)
        {
            lines.Add(next);
            line(next);
        }

        worker.WaitForExit();
        if (worker.ExitCode != 0) throw new InvalidOperationException($"The worker ended with {worker.ExitCode}:\n{string.Join('\n', lines)}");
        return peak;
    }

    /// <summary>Memory of a process that is its own: pages of mapped files count as resident too, and cost nothing where memory is short.</summary>
    public static long OwnBytes(int process)
    {
        const string name = "RssAnon:";
        try
        {
            string line = File.ReadLines($"/proc/{process}/status").First(l => l.StartsWith(name, StringComparison.Ordinal));
            return 1024 * long.Parse(line[name.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or InvalidOperationException)
        {
            // No Linux, or the process has ended.
            return 0;
        }
    }
}
