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
    /// <returns>What the artifact says of itself.</returns>
    /// <exception cref="QuantBuildException">The declaration, the environment, the model or the texts are at fault.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static ArtifactManifest Run(WorkerRequest request, Action<WorkerMessage> report, CancellationToken cancellationToken)
    {
        DateTime startedAt = DateTime.UtcNow;
        ModelFolder model = ModelFolder.Open(request.ModelPath);
        model.Config.CheckGroups(request.Spec);
        TorchDevice device = TorchDevice.Choose(request.Device);
        report(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = $"device: {device.Description}" });
        using IDisposable noGradient = torch.no_grad();
        return new ModelQuantizer(request, model, device, report, cancellationToken).Run(startedAt);
    }

    private ArtifactManifest Run(DateTime startedAt)
    {
        // Everything that can be wrong with the inputs is found before any work begins.
        byte[] tokenizerJson = File.ReadAllBytes(model.TokenizerFile);
        TextTokenizer tokenizer = TextTokenizer.Load(tokenizerJson, model.TokenizerFile);
        using ModelWeights weights = ModelWeights.Open(model);
        TokenWindows? calibration = spec.NeedsCalibration
            ? TokenWindows.ReadCalibration(request.CalibrationFile, spec, config, tokenizer)
            : null;
        TokenWindows? evaluation = request.EvaluationFile is { } file ? TokenWindows.ReadEvaluation(file, spec, config, tokenizer) : null;
        ModelCache cache = ModelCache.OfArtifact(request.ArtifactPath, request.Fingerprint);
        LayerJournal journal = new(cache.WorkFolder(request.Fingerprint), config, spec);
        journal.Prepare(cache.NotWritable);

        QualityFigures? quality = QuantizeLayers(weights, journal, calibration, evaluation);
        ArtifactManifest manifest = Manifest(cache, weights, quality);
        WriteArtifact(manifest, weights, journal, tokenizerJson, startedAt);
        journal.Delete();
        return manifest;
    }

    private QualityFigures? QuantizeLayers(ModelWeights weights, LayerJournal journal, TokenWindows? calibration, TokenWindows? evaluation)
    {
        int longest = Math.Max(calibration?.Length ?? 1, evaluation?.Length ?? 1);
        using DecoderForward forward = new(config, longest, device.Device);
        using Streams streams = Embed(weights, calibration, evaluation);
        LayerQuantizer quantizer = new(forward, config, spec, device.Device);
        int steps = config.Layers + (evaluation is null ? 0 : 1);
        for (int layer = 0; layer < config.Layers; layer++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using LayerWeights floats = weights.LoadLayer(config, layer, device.Device);
            streams.Float?.Update(hidden => forward.Layer(hidden, floats), cancellationToken);
            streams.Float?.CheckFinite(LayerName(layer));
            bool resumed = QuantizeLayer(layer, floats, quantizer, forward, journal, streams.Calibration);
            streams.Quantized?.Update(hidden => forward.Layer(hidden, floats), cancellationToken);
            streams.Quantized?.CheckFinite(LayerName(layer));
            Progress(layer + 1, steps, $"layer {layer + 1} of {config.Layers}{(resumed ? " (made before)" : "")}");
        }

        if (evaluation is null) return null;
        using torch.Tensor norm = weights.Load(DecoderConfig.FinalNormName, device.Device);
        using torch.Tensor head = weights.Load(config.TieWordEmbeddings ? DecoderConfig.EmbeddingName : DecoderConfig.HeadName, device.Device);
        double Evaluate(HiddenStates states) => Perplexity.Compute(states, evaluation, hidden => forward.Head(hidden, norm, head), cancellationToken);
        QualityFigures quality = new(Evaluate(streams.Float!), Evaluate(streams.Quantized!), Perplexity.PredictedTokens(evaluation), evaluation.Length);
        Progress(steps, steps, string.Create(CultureInfo.InvariantCulture, $"perplexity {quality.FloatPerplexity:F3} -> {quality.Perplexity:F3}"));
        return quality;
    }

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

    private Streams Embed(ModelWeights weights, TokenWindows? calibration, TokenWindows? evaluation)
    {
        if (calibration is null && evaluation is null) return new Streams(null, null, null);
        using torch.Tensor embedding = weights.Load(DecoderConfig.EmbeddingName, torch.CPU);
        HiddenStates? evaluated = evaluation is null ? null : HiddenStates.Embed(evaluation, embedding, device.Device);
        return new Streams(
            calibration is null ? null : HiddenStates.Embed(calibration, embedding, device.Device), evaluated, evaluated?.Copy());
    }

    private void WriteArtifact(ArtifactManifest manifest, ModelWeights weights, LayerJournal journal, byte[] tokenizerJson, DateTime startedAt)
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
            new BuildRecord
            {
                Seconds = clock.Elapsed.TotalSeconds,
                PeakMemoryBytes = Process.GetCurrentProcess().PeakWorkingSet64,
                Device = device.Device.ToString(),
                Threads = torch.get_num_threads(),
                StartedAt = startedAt,
                ArtifactBytes = new FileInfo(unnamed).Length,
            }.Write(request.BuildRecordPath);
            File.Move(unnamed, request.ArtifactPath, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new QuantBuildException(
                DiagnosticIds.NotWritable, $"{request.ArtifactPath} cannot be written: {e.Message} Allow writing there, or choose another folder.", e);
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
            ModelFiles = [.. model.Files.Select(file => new SourceFile(Path.GetFileName(file), new FileInfo(file).Length, hash.Compute(file)))],
            CalibrationSha256 = spec.NeedsCalibration && request.CalibrationFile is { } calibration ? hash.Compute(calibration) : null,
            EvaluationSha256 = request.EvaluationFile is { } evaluation ? hash.Compute(evaluation) : null,
            Quality = quality,
            OriginalBytes = weights.Bytes,
            Layers = Enumerable.Range(0, config.Layers).SelectMany(config.Linears).ToDictionary(linear => linear.Name, linear => LinearFormats.Of(spec, linear)),
        };
    }

    private static string LayerName(int layer) => DecoderConfig.LayerPrefix(layer).TrimEnd('.');

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
    private sealed record Streams(HiddenStates? Calibration, HiddenStates? Float, HiddenStates? Quantized) : IDisposable
    {
        public void Dispose()
        {
            Calibration?.Dispose();
            Float?.Dispose();
            Quantized?.Dispose();
        }
    }
}
