namespace QuantBuild.Worker.Tests;

/// <summary>A build of the sample model by the real worker, with few and short windows and a cache of its own. May be run several times.</summary>
internal sealed class SampleBuild : IDisposable
{
    /// <summary>Few windows of few tokens: a run is quick and still calibrates and measures.</summary>
    public static readonly QuantizationSpec Quick = new() { Bits = 3, CalibrationSamples = 4, CalibrationContext = 128, EvaluationContext = 128 };

    private static readonly string Fingerprint = new('c', 64);
    private readonly string folder = Path.Combine(Path.GetTempPath(), "quantbuild-" + Guid.NewGuid().ToString("N"));
    private readonly ModelCache cache;
    private int runs;

    /// <summary>Prepares a build.</summary>
    /// <param name="spec">How to quantize.</param>
    public SampleBuild(QuantizationSpec spec)
    {
        cache = new ModelCache(Path.Combine(folder, "cache"));
        Directory.CreateDirectory(folder);
        Request = new WorkerRequest
        {
            ModelPath = Path.Combine(Root, "samples", "models", "gutenberg-7m"),
            Spec = spec,
            CalibrationFile = Shortened("calibration.txt", 12_000),
            EvaluationFile = Shortened("evaluation.txt", 4_000),
            Device = "cpu",
            Fingerprint = Fingerprint,
            ArtifactPath = cache.ArtifactPath(Fingerprint),
            BuildRecordPath = cache.BuildRecordPath(Fingerprint),
        };
    }

    /// <summary>Another model in the place of the sample.</summary>
    public string ModelPath
    {
        init => Request = Request with { ModelPath = value };
    }

    /// <summary>What the worker is asked for.</summary>
    public WorkerRequest Request { get; init; }

    /// <summary>The bytes of the artifact; <see langword="null"/> where there is none.</summary>
    public byte[]? Artifact => File.Exists(Request.ArtifactPath) ? File.ReadAllBytes(Request.ArtifactPath) : null;

    /// <summary>What no run that succeeded leaves: temporary files, and the journal.</summary>
    public IEnumerable<string> Leftovers =>
        new[] { "artifacts", "work" }.Select(name => Path.Combine(cache.Root, name)).Where(Directory.Exists)
            .SelectMany(place => Directory.GetFiles(place, "*", SearchOption.AllDirectories)).Except([Request.ArtifactPath, Request.BuildRecordPath]);

    /// <summary>The same, of those alone that a run which was told to stop must not leave: finished layers stay.</summary>
    public IEnumerable<string> HalfWritten => Leftovers.Where(file => file.EndsWith(".tmp", StringComparison.Ordinal));

    private static string Root
    {
        get
        {
            DirectoryInfo? at = new(AppContext.BaseDirectory);
            while (at is not null && !File.Exists(Path.Combine(at.FullName, "QuantBuild.sln"))) at = at.Parent;
            return at!.FullName;
        }
    }

    /// <summary>The beginning of one of the sample's texts, as a file of this build.</summary>
    public string Shortened(string name, int characters) => Write(name, File.ReadAllText(Path.Combine(Root, "samples", "data", name))[..characters]);

    /// <summary>Writes a text, and gives its path.</summary>
    public string Write(string name, string text)
    {
        string path = Path.Combine(folder, name);
        File.WriteAllText(path, text);
        return path;
    }

    /// <summary>Starts the worker.</summary>
    /// <param name="environment">What is added to its environment.</param>
    public WorkerProcess Start(params (string Name, string Value)[] environment)
    {
        string file = Path.Combine(folder, $"request-{++runs}.xml");
        Request.Save(file);
        return new WorkerProcess(cache.Root, environment, "quantize", "--request", file);
    }

    /// <summary>Runs the worker to its end, which must be a good one.</summary>
    /// <param name="environment">What is added to its environment.</param>
    public IReadOnlyList<WorkerMessage> Run(params (string Name, string Value)[] environment)
    {
        using WorkerProcess worker = Start(environment);
        WorkerMessage[] messages = [.. worker.ReadToEnd().Select(line => WorkerMessage.TryParse(line)!)];
        Assert.True(worker.Wait() == 0, string.Join('\n', messages.Select(message => message.Text)));
        return messages;
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);
}
