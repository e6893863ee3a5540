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
    private readonly QuantizationSpec spec;
    private readonly ModelFolder model;
    private readonly DecoderConfig config;
    private readonly TorchDevice device;
    private readonly Action<WorkerMessage> report;
    private readonly CancellationToken cancellationToken;
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly List<BuildWarning> warnings = [];
    private readonly List<BuildPhase> phases = [];
    private CalibrationStatistics? calibratedOn;

    private ModelQuantizer(WorkerRequest request, ModelFolder model, TorchDevice device, Action<WorkerMessage> report, CancellationToken cancellationToken)
    {
        (this.request, spec, this.model, config) = (request, request.Spec, model, model.Config);
        (this.device, this.report, this.cancellationToken) = (device, report, cancellationToken);
    }

    /// <summary>The version of the quantizer, as an artifact names it.</summary>
    public static string Version { get; } =
        typeof(ModelQuantizer).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0";

    /// <summary>Makes the artifact and the build record of a request. The artifact appears last, whole.</summary>
    /// <param name="request">What to make.</param>
    /// <param name="report">Receives progress and information; called on this thread.</param>
    /// <param name="cancellationToken">Ends the work between steps; finished layers stay in the journal.</param>
    /// <param name="beforePublishing">
    /// Called with the path that the whole artifact has before it appears under its own, and with its record: whoever sees the artifact sees what is made here.
    /// </param>
    /// <returns>What the artifact says of itself.</returns>
    /// <exception cref="QuantBuildException">The declaration, the environment, the model or the texts are at fault.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static ArtifactManifest Run(
        WorkerRequest request, Action<WorkerMessage> report, CancellationToken cancellationToken, Action<string, BuildRecord>? beforePublishing = null)
    {
        DateTime startedAt = DateTime.UtcNow;
        ModelFolder model = ModelFolder.Open(request.ModelPath);
        model.Config.CheckGroups(request.Spec);
        TorchDevice device = TorchDevice.Choose(request.Device);
        report(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = $"device: {device.Description}" });
        using IDisposable noGradient = torch.no_grad();
        return new ModelQuantizer(request, model, device, report, cancellationToken).Run(startedAt, beforePublishing);
    }

    private ArtifactManifest Run(DateTime startedAt, Action<string, BuildRecord>? beforePublishing)
    {
        // Everything that can be wrong with the inputs is found before any work begins.
        byte[] tokenizerJson = File.ReadAllBytes(model.TokenizerFile);
        TextTokenizer tokenizer = TextTokenizer.Load(tokenizerJson, model.TokenizerFile);
        if (model.GenerationConfigFile is { } generation)
        {
            GenerationDefaults.Parse(File.ReadAllText(generation), generation, DiagnosticIds.ConfigMalformed);
        }

        using ModelWeights weights = ModelWeights.Open(model);
        Texts texts = Texts.Read(request, config, tokenizer);
        calibratedOn = CalibrationChecks.Statistics(texts);
        foreach (BuildWarning warning in CalibrationChecks.Before(spec, texts)) Warn(warning);
        if (texts.Evaluation is null && request.Gates.AreDeclared) throw request.Gates.NothingMeasured();
        if (texts is { Evaluation: { } heldOut, EvaluatedOn: EvaluationText.HeldOut })
        {
            Inform($"no EvaluationData: quality is measured on the last {heldOut.Count * heldOut.Length:N0} tokens of CalibrationData, which are held out of calibration");
        }

        ModelCache cache = ModelCache.OfArtifact(request.ArtifactPath, request.Fingerprint);
        LayerJournal journal = new(cache.WorkFolder(request.Fingerprint), config, spec);
        journal.Prepare(cache.NotWritable);
        EndPhase("reading the texts");

        QualityFigures? quality = QuantizeLayers(weights, journal, texts);
        EndPhase(quality is null ? "layers" : "evaluation");
        // The journal stays: a build with another gate begins at the evaluation.
        request.Gates.Check(quality, spec);
        ArtifactManifest manifest = Manifest(cache, weights, quality);
        WriteArtifact(manifest, weights, journal, tokenizerJson, startedAt, beforePublishing);
        journal.Delete();
        return manifest;
    }

    private QualityFigures? QuantizeLayers(ModelWeights weights, LayerJournal journal, Texts texts)
    {
        int longest = Math.Max(texts.Calibration?.Length ?? 1, texts.Evaluation?.Length ?? 1);
        using DecoderForward forward = new(config, longest, device.Device);
        TokenWindows? sample = texts.EvaluatedOn == EvaluationText.EvaluationData && texts.Evaluation is not null ? CalibrationChecks.Sample(texts.Calibration) : null;
        using Streams streams = Embed(weights, texts, sample);
        LayerQuantizer quantizer = new(forward, config, spec, device.Device);
        List<double> layerErrors = [];
        int steps = config.Layers + (texts.Evaluation is null ? 0 : 1);
        for (int layer = 0; layer < config.Layers; layer++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using LayerWeights floats = weights.LoadLayer(config, layer, device.Device);
            streams.Float?.Update(hidden => forward.Layer(hidden, floats), cancellationToken);
            streams.Float?.CheckFinite(LayerName(layer));
            streams.Sample?.Update(hidden => forward.Layer(hidden, floats), cancellationToken);
            bool resumed = QuantizeLayer(layer, floats, quantizer, forward, journal, streams.Calibration);
            streams.Quantized?.Update(hidden => forward.Layer(hidden, floats), cancellationToken);
            streams.Quantized?.CheckFinite(LayerName(layer));
            if (streams is { Float: { } before, Quantized: { } after }) layerErrors.Add(Evaluation.RelativeError(before, after, cancellationToken));
            Progress(layer + 1, steps, $"layer {layer + 1} of {config.Layers}{(resumed ? " (made before)" : "")}");
        }

        if (texts.Evaluation is not { } evaluation) return null;
        EndPhase("layers");
        using torch.Tensor norm = weights.Load(DecoderConfig.FinalNormName, device.Device);
        using torch.Tensor head = weights.Load(config.TieWordEmbeddings ? DecoderConfig.EmbeddingName : DecoderConfig.HeadName, device.Device);
        torch.Tensor Logits(torch.Tensor hidden) => forward.Head(hidden, norm, head);
        NextTokenComparison comparison = Evaluation.Compare(
            streams.Float!, streams.Quantized!, evaluation, Logits, config.VocabularySize, cancellationToken);
        if (!double.IsFinite(comparison.FloatPerplexity + comparison.Perplexity + comparison.KlDivergence)) throw NonFiniteLogits();
        if (sample is not null)
        {
            double onSample = Evaluation.Perplexity(streams.Sample!, sample, Logits, config.VocabularySize, cancellationToken);
            calibratedOn = calibratedOn! with { FloatPerplexity = onSample };
            if (CalibrationChecks.Far(onSample, comparison.FloatPerplexity) is { } far) Warn(far);
        }

        QualityFigures quality = new(
            comparison.FloatPerplexity,
            comparison.Perplexity,
            comparison.KlDivergence,
            comparison.Top1Agreement,
            comparison.Tokens,
            evaluation.Length,
            texts.EvaluatedOn,
            layerErrors);
        Progress(steps, steps, QualityText.Of(quality));
        Inform($"{QualityText.LayersOf(quality)}");
        return quality;
    }

    private QuantBuildException NonFiniteLogits() => new(
        DiagnosticIds.NonFinite,
        $"{(config.TieWordEmbeddings ? DecoderConfig.EmbeddingName : DecoderConfig.HeadName)}: the logits are not finite numbers. " +
        "The model's weights overflow float32 there, or are damaged: copy the model again.");

    /// <summary>Quantizes a layer, or takes it from the journal; <paramref name="layerWeights"/> becomes the dequantized ones either way.</summary>
    private bool QuantizeLayer(
        int layer, LayerWeights layerWeights, LayerQuantizer quantizer, DecoderForward forward, LayerJournal journal, HiddenStates? calibration)
    {
        if (journal.TryRead(layer) is { } finished)
        {
            foreach (LinearRole role in Enum.GetValues<LinearRole>()) layerWeights.Replace(role, finished[(int)role], device.Device);
            calibration?.Update(hidden => forward.Layer(hidden, layerWeights), cancellationToken);
            return true;
        }

        QuantizedLinear[] linears = calibration is null
            ? quantizer.WithoutCalibration(layer, layerWeights, cancellationToken)
            : spec.TrueSequential
                ? quantizer.Sequential(layer, layerWeights, calibration, cancellationToken)
                : quantizer.InOnePass(layer, layerWeights, calibration, cancellationToken);
        calibration?.CheckFinite(LayerName(layer));
        journal.Write(layer, linears);
        return false;
    }

    private Streams Embed(ModelWeights weights, Texts texts, TokenWindows? sample)
    {
        if (texts.Calibration is null && texts.Evaluation is null) return new Streams(null, null, null, null);
        using torch.Tensor embedding = weights.Load(DecoderConfig.EmbeddingName, torch.CPU);
        HiddenStates? Of(TokenWindows? windows) => windows is null ? null : HiddenStates.Embed(windows, embedding, device.Device);
        HiddenStates? evaluated = Of(texts.Evaluation);
        return new Streams(Of(texts.Calibration), Of(sample), evaluated, evaluated?.Copy());
    }

    private void WriteArtifact(
        ArtifactManifest manifest, ModelWeights weights, LayerJournal journal, byte[] tokenizerJson, DateTime startedAt, Action<string, BuildRecord>? beforePublishing)
    {
        cancellationToken.ThrowIfCancellationRequested();
        List<SafetensorsFile> layers = [];
        // The record needs the artifact's size, and whoever sees the artifact should see the record.
        string unnamed = $"{request.ArtifactPath}.{Guid.NewGuid():N}.tmp";
        try
        {
            HashSet<string> quantized = [.. manifest.Layers.Keys.Select(name => name + ".weight")];
            List<TensorSource> tensors = [ArtifactWriter.TokenizerTensor(tokenizerJson)];
            tensors.AddRange(config.Tensors().Where(tensor => !quantized.Contains(tensor.Key)).Select(tensor => weights.Source(tensor.Key)));
            for (int layer = 0; layer < config.Layers; layer++)
            {
                SafetensorsFile file = SafetensorsFile.Open(journal.FilePath(layer), DiagnosticIds.ArtifactMalformed);
                layers.Add(file);
                tensors.AddRange(file.Tensors.Values.OrderBy(entry => entry.Name, StringComparer.Ordinal).Select(entry => TensorSource.FromFile(file, entry)));
            }

            ArtifactWriter.Write(unnamed, manifest, tensors);
            EndPhase("writing the artifact");
            BuildRecord record = new()
            {
                Seconds = clock.Elapsed.TotalSeconds,
                PeakMemoryBytes = Process.GetCurrentProcess().PeakWorkingSet64,
                Device = device.Device.ToString(),
                Threads = torch.get_num_threads(),
                Phases = phases,
                Calibration = calibratedOn,
                StartedAt = startedAt,
                ArtifactBytes = new FileInfo(unnamed).Length,
                Quality = manifest.Quality,
                Warnings = warnings,
            };
            record.Write(request.BuildRecordPath);
            beforePublishing?.Invoke(unnamed, record);
            File.Move(unnamed, request.ArtifactPath, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw WriteFailure.Of(request.ArtifactPath, e);
        }
        finally
        {
            if (File.Exists(unnamed)) File.Delete(unnamed);
            foreach (SafetensorsFile file in layers) file.Dispose();
        }
    }

    private ArtifactManifest Manifest(ModelCache cache, ModelWeights weights, QualityFigures? quality)
    {
        FileHash hash = new(cache.HashFolder);
        return new ArtifactManifest
        {
            Fingerprint = request.Fingerprint,
            ModelName = ClassNames.ModelName(model.Path),
            QuantizerVersion = Version,
            Spec = spec.ToMetadata().ToDictionary(entry => entry.Key, entry => entry.Value),
            ConfigJson = model.ConfigJson,
            GenerationConfigJson = model.GenerationConfigFile is { } generation ? File.ReadAllText(generation) : null,
            TokenizerConfigJson = model.TokenizerConfigFile is { } tokenizer ? File.ReadAllText(tokenizer) : null,
            ModelFiles = [.. model.Files.Select(file => new SourceFile(Path.GetFileName(file), Size(file), hash.Compute(file)))],
            CalibrationSha256 = request.CalibrationFile is { } calibration && (spec.NeedsCalibration || request.EvaluationFile is null)
                ? hash.Compute(calibration)
                : null,
            EvaluationSha256 = request.EvaluationFile is { } evaluation ? hash.Compute(evaluation) : null,
            Quality = quality,
            OriginalBytes = weights.Bytes,
            Layers = Enumerable.Range(0, config.Layers).SelectMany(config.Linears).ToDictionary(linear => linear.Name, linear => LinearFormats.Of(spec, linear)),
        };
    }

    // Of the file that is read: a model's files are often links, and a link has a size of its own.
    private static long Size(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return stream.Length;
    }

    private static string LayerName(int layer) => DecoderConfig.LayerPrefix(layer).TrimEnd('.');

    private void Warn(BuildWarning warning)
    {
        warnings.Add(warning);
        report(new WorkerMessage { Kind = WorkerMessageKind.Warning, Code = warning.Id, Text = warning.Text });
    }

    private void EndPhase(string name) => phases.Add(new BuildPhase(name, clock.Elapsed.TotalSeconds - phases.Sum(phase => phase.Seconds)));

    private void Inform(FormattableString text) =>
        report(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = text.ToString(CultureInfo.InvariantCulture) });

    private void Progress(int done, int steps, string text)
    {
        double fraction = (double)done / steps;
        report(new WorkerMessage
        {
            Kind = WorkerMessageKind.Progress,
            Text = text,
            Fraction = fraction,
            SecondsLeft = clock.Elapsed.TotalSeconds * (1 - fraction) / fraction,
        });
    }

    /// <summary>The residual streams that go through the layers side by side, so that each layer is read once.</summary>
    /// <param name="Calibration">The calibration text, through the quantized layers.</param>
    /// <param name="Sample">A few windows of it, through the float layers.</param>
    /// <param name="Float">The evaluation text, through the float layers.</param>
    /// <param name="Quantized">The evaluation text, through the quantized layers.</param>
    private sealed record Streams(HiddenStates? Calibration, HiddenStates? Sample, HiddenStates? Float, HiddenStates? Quantized) : IDisposable
    {
        public void Dispose()
        {
            Calibration?.Dispose();
            Sample?.Dispose();
            Float?.Dispose();
            Quantized?.Dispose();
        }
    }
}
