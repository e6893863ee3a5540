using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// Makes an artifact: reads the model layer by layer, quantizes each, keeps the finished ones in a journal, evaluates on the way, and puts the
/// artifact together. One layer's float weights are in memory at a time.
/// </summary>
public sealed class ModelQuantizer
{
    private readonly WorkerRequest request;
    private readonly ModelFolder model;
    private readonly TorchDevice device;
    private readonly Devices devices;
    private readonly DeviceUse use;
    private readonly Action<WorkerMessage> report;
    private readonly CancellationToken cancellationToken;
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly List<BuildWarning> warnings = [];
    private readonly List<BuildPhase> phases = [];
    private CalibrationStatistics? calibratedOn;

    private ModelQuantizer(WorkerRequest request, ModelFolder model, TorchDevice device, DeviceUse use, Action<WorkerMessage> report, CancellationToken cancellationToken)
    {
        (this.request, this.model, this.device, this.use, this.report, this.cancellationToken) = (request, model, device, use, report, cancellationToken);
        devices = new Devices(device.Devices, Inform);
    }

    /// <summary>The version of the quantizer, as an artifact names it.</summary>
    public static string Version { get; } =
        typeof(ModelQuantizer).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0";

    /// <summary>Makes the artifact and the build record of a request. The artifact appears last, whole.</summary>
    /// <param name="request">What to make.</param>
    /// <param name="report">Receives progress and information, one message at a time.</param>
    /// <param name="cancellationToken">Ends the work between steps; finished layers stay in the journal.</param>
    /// <param name="beforePublishing">
    /// Called with the path that the whole artifact has before it appears under its own, and with its record: whoever sees the artifact sees what is made here.
    /// </param>
    /// <returns>What the artifact says of itself.</returns>
    /// <exception cref="QuantBuildException">The declaration, the environment, the model or the texts are at fault.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static ArtifactManifest Run(
        WorkerRequest request, Action<WorkerMessage> report, CancellationToken cancellationToken, Action<string, BuildRecord>? beforePublishing = null) =>
        Run(request, null, null, report, cancellationToken, beforePublishing);

    /// <summary>The same, on devices other than those that the request names, or with them used in a way that may not be their own.</summary>
    internal static ArtifactManifest Run(
        WorkerRequest request, TorchDevice? device, DeviceUse? use, Action<WorkerMessage> report, CancellationToken cancellationToken, Action<string, BuildRecord>? beforePublishing = null)
    {
        DateTime startedAt = DateTime.UtcNow;
        Lock gate = new();
        void OneByOne(WorkerMessage message)
        {
            // That memory has run out is found where a step computes.
            lock (gate) report(message);
        }

        ModelFolder model = ModelFolder.Open(request.ModelPath);
        QuantizationPlan plan = new(model.Config, request.Spec);
        plan.Check();
        device ??= TorchDevice.Choose(request.Device);
        OneByOne(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = $"device: {device.Description}" });
        using IDisposable noGradient = torch.no_grad();
        try
        {
            return new ModelQuantizer(request, model, device, use ?? DeviceUse.Of(device.Gpus), OneByOne, cancellationToken).Run(plan, startedAt, beforePublishing);
        }
        catch (Exception e) when (DeviceMemory.IsExhausted(e))
        {
            // A matrix is what it is: only what goes through in batches can be made smaller.
            throw DeviceMemory.Exhausted(e);
        }
    }

    private ArtifactManifest Run(QuantizationPlan plan, DateTime startedAt, Action<string, BuildRecord>? beforePublishing)
    {
        // Everything that can be wrong with the inputs is found before any work begins.
        byte[] tokenizerJson = model.ReadTokenizer();
        TextTokenizer tokenizer = TextTokenizer.Load(tokenizerJson, model.TokenizerFile, model.TokenizerConfigJson);
        if (model.GenerationConfigFile is { } generation)
        {
            GenerationDefaults.Parse(File.ReadAllText(generation), generation, DiagnosticIds.ConfigMalformed);
        }

        using ModelWeights weights = ModelWeights.Open(model);
        Texts texts = Texts.Read(request, model.Config, tokenizer);
        calibratedOn = CalibrationChecks.Statistics(texts);
        foreach (BuildWarning warning in CalibrationChecks.Before(request.Spec, texts)) Warn(warning);
        if (texts.Evaluation is null && request.Gates.AreDeclared) throw request.Gates.NothingMeasured();
        if (texts is { Evaluation: { } heldOut, EvaluatedOn: EvaluationText.HeldOut })
        {
            Inform($"no EvaluationData: quality is measured on the last {heldOut.Count * heldOut.Length:N0} tokens of CalibrationData, which are held out of calibration");
        }

        ModelCache cache = ModelCache.OfArtifact(request.ArtifactPath, request.Fingerprint);
        string workFolder = cache.WorkFolder(request.Fingerprint);
        LayerJournal journal = new(workFolder, plan);
        MemoryEstimate memory = MemoryEstimate.Of(plan, texts, devices.First.Device, request.MaxMemory ?? FreeMemory.Bytes());
        Inform($"{memory}");
        memory.Check(declared: request.MaxMemory is not null);
        if (device.Gpus.Count > 0)
        {
            GpuMemoryEstimate onGpu = GpuMemoryEstimate.Of(plan, texts, devices.First.Device, use, device.Gpus);
            Inform($"{onGpu}");
            onGpu.Check();
        }

        HalfWrittenFiles.Delete(request);
        WidthChooser? chooser = plan.Spec.HasBudget ? new WidthChooser(plan, Budget(plan, weights, tokenizerJson, cache, journal), workFolder) : null;
        // Widths are chosen before the layers are quantized: the one's activations are gone when the other's come.
        long onDisk = Math.Max(memory.OnDisk, chooser?.OnDisk(texts.Calibration!) ?? 0);
        DiskEstimate.Of(plan, weights, journal, onDisk).Check(cache, Path.GetDirectoryName(request.ArtifactPath)!);
        journal.Prepare(cache.NotWritable);
        if (chooser is not null)
        {
            plan = chooser.Choose(weights, texts.Calibration!, devices, Inform, cancellationToken);
            journal = new(workFolder, plan);
        }

        EndPhase("reading the texts");
        using ActivationStore store = new(workFolder, memory.ActivationBudget);
        LayerPass.Listener listener = new(Progress, Inform, Warn, EndPhase, onSample => calibratedOn = calibratedOn! with { FloatPerplexity = onSample });
        LayerPass pass = new(plan, weights, journal, devices, use, store, listener, cancellationToken);
        QualityFigures? quality = pass.Run(texts);
        // The journal stays: a build with another gate begins at the evaluation.
        request.Gates.Check(quality, request.Spec);
        ArtifactAssembly assembly = new(request, model, plan, weights, journal);
        ArtifactManifest manifest = assembly.Manifest(cache, quality);
        cancellationToken.ThrowIfCancellationRequested();
        assembly.Write(manifest, tokenizerJson, Record, beforePublishing);
        journal.Delete();
        Inform($"peak memory {MemoryLimit.Text(PeakMemory())}, estimated {MemoryLimit.Text(memory.Total)}");
        return manifest;

        BuildRecord Record(string artifact)
        {
            EndPhase("writing the artifact");
            return new BuildRecord
            {
                Seconds = clock.Elapsed.TotalSeconds,
                PeakMemoryBytes = PeakMemory(),
                EstimatedMemoryBytes = memory.Total,
                Device = device.Name,
                Threads = Environment.ProcessorCount,
                Phases = phases,
                Calibration = calibratedOn,
                StartedAt = startedAt,
                ArtifactBytes = new FileInfo(artifact).Length,
                ArtifactSha256 = FileHash.OfFile(artifact),
                Quality = manifest.Quality,
                Warnings = warnings,
            };
        }
    }

    private static long PeakMemory()
    {
        using Process process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }

    /// <summary>Bytes that the request's budget leaves for the linears whose widths it chooses.</summary>
    private long Budget(QuantizationPlan plan, ModelWeights weights, byte[] tokenizerJson, ModelCache cache, LayerJournal journal)
    {
        if (plan.Spec.TargetSize is null) return WidthBudget.ForOpen(plan, 0);
        ArtifactManifest longest = new ArtifactAssembly(request, model, plan, weights, journal).Manifest(cache, ArtifactSize.LongestQuality(model.Config));
        return WidthBudget.ForOpen(plan, ArtifactSize.BesideLinears(plan, weights, tokenizerJson, longest));
    }

    private void Warn(BuildWarning warning)
    {
        warnings.Add(warning);
        report(new WorkerMessage { Kind = WorkerMessageKind.Warning, Code = warning.Id, Text = warning.Text });
    }

    private void EndPhase(string name) => phases.Add(new BuildPhase(name, clock.Elapsed.TotalSeconds - phases.Sum(phase => phase.Seconds)));

    private void Inform(FormattableString text) =>
        report(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = text.ToString(CultureInfo.InvariantCulture) });

    private void Progress(double fraction, string text) => report(new WorkerMessage
    {
        Kind = WorkerMessageKind.Progress,
        Text = text,
        Fraction = fraction,
        SecondsLeft = clock.Elapsed.TotalSeconds * (1 - fraction) / fraction,
    });
}
