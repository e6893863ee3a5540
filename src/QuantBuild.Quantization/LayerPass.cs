using System.Diagnostics;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// One pass through the model, layer after layer, in which everything happens that needs a layer's weights: they are quantized, or taken from the journal, and the
/// residual streams of all texts go through.
/// </summary>
/// <param name="plan">How each linear is quantized.</param>
/// <param name="weights">The model's weights.</param>
/// <param name="journal">Where finished parts go.</param>
/// <param name="devices">Where to compute.</param>
/// <param name="use">How.</param>
/// <param name="store">Where activations are kept.</param>
/// <param name="listener">Hears how far it is.</param>
/// <param name="cancellationToken">Looked at between steps.</param>
internal sealed class LayerPass(
    QuantizationPlan plan, ModelWeights weights, LayerJournal journal, Devices devices, DeviceUse use, ActivationStore store, LayerPass.Listener listener, CancellationToken cancellationToken)
{
    private static readonly TimeSpan LongestSilence = TimeSpan.FromSeconds(5);

    private readonly DecoderConfig config = plan.Config;

    // Experts that saw too few tokens, by name.
    private readonly List<string> starved = [];

    /// <summary>Who hears how far a pass is, and what it found.</summary>
    /// <param name="Progress">The share of the work that is done, and which step that was.</param>
    /// <param name="Inform">Something worth knowing.</param>
    /// <param name="Warn">Something that should be looked at.</param>
    /// <param name="EndPhase">A phase of the work, by its name, has ended.</param>
    /// <param name="CalibrationPerplexity">Of the float model, on the sample of the calibration text.</param>
    internal sealed record Listener(
        Action<double, string> Progress, Action<FormattableString> Inform, Action<BuildWarning> Warn, Action<string> EndPhase, Action<double> CalibrationPerplexity);

    /// <summary>Quantizes all that the plan says, and measures what it cost.</summary>
    /// <returns>The figures; <see langword="null"/> where there is nothing to measure on.</returns>
    /// <exception cref="QuantBuildException">QB3006, QB3007; QB1003, QB1004.</exception>
    public QualityFigures? Run(Texts texts)
    {
        int longest = Math.Max(texts.Calibration?.Length ?? 1, texts.Evaluation?.Length ?? 1);
        using PerDevice<DecoderForward> forward = devices.Each(at => new DecoderForward(config, longest, at.Device));
        using LayerReader reader = new(weights, devices, use.WorksAhead, listener.Inform);
        using JournalWriter writer = new(journal, use.WorksAhead);
        using Streams streams = Embed(texts);
        List<double> layerErrors = [];
        int steps = config.Layers + (texts.Evaluation is null ? 0 : 1);
        for (int layer = 0; layer < config.Layers; layer++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using PerDevice<LayerWeights> floats = reader.Read(layer);
            torch.Tensor Through(Place at, torch.Tensor hidden) => forward[at].Layer(hidden, floats[at]);
            streams.Float?.Update(Through, cancellationToken);
            streams.Float?.CheckFinite(LayerName(layer));
            streams.Sample?.Update(Through, cancellationToken);
            streams.Sample?.CheckFinite(LayerName(layer));
            foreach (LayerWeights own in floats.All) own.Products = use.Products;
            bool resumed = Quantize(layer, floats, forward, writer, streams.Calibration, Stepped(layer, steps));
            foreach (LayerWeights own in floats.All) own.Products = torch.float32;
            streams.Quantized?.Update(Through, cancellationToken);
            streams.Quantized?.CheckFinite(LayerName(layer));
            if (streams is { Float: { } before, Quantized: { } after }) layerErrors.Add(Evaluation.RelativeError(before, after, cancellationToken));
            FreedMemory.ReturnAll();
            listener.Progress((double)(layer + 1) / steps, $"layer {layer + 1} of {config.Layers}{(resumed ? " (made before)" : "")}");
        }

        writer.Wait();
        listener.EndPhase("layers");
        if (CalibrationChecks.Experts(starved) is { } few) listener.Warn(few);
        using PerDevice<FinalWeights> final = devices.Copies(weights.LoadFinal(devices.First.Device), (first, device) => first.To(device));
        QuantizedLinear? head = config.TieWordEmbeddings ? journal.TryRead(JournalPart.Embedding(config))?.Linears[0] : QuantizeHead(forward, final, streams.Calibration);
        return texts.Evaluation is { } evaluation ? Measure(evaluation, texts, streams, forward, final, head, layerErrors) : null;
    }

    private QualityFigures Measure(
        TokenWindows evaluation, Texts texts, Streams streams, PerDevice<DecoderForward> forward, PerDevice<FinalWeights> final, QuantizedLinear? quantizedHead, IReadOnlyList<double> layerErrors)
    {
        using PerDevice<torch.Tensor> head = devices.Copies(weights.Load(config.Head.WeightName, devices.First.Device), (first, device) => first.to(device, copy: true));
        using PerDevice<torch.Tensor>? dequantized = quantizedHead is null ? null : devices.Each(at => quantizedHead.Dequantize(at.Device));
        torch.Tensor FloatLogits(Place at, torch.Tensor hidden) => forward[at].Head(hidden, final[at], head[at]);
        torch.Tensor Logits(Place at, torch.Tensor hidden) => forward[at].Head(hidden, final[at], (dequantized ?? head)[at], quantizedHead?.ActivationRounding);
        NextTokenComparison comparison = Evaluation.Compare(
            streams.Float!, streams.Quantized!, evaluation, FloatLogits, Logits, config.VocabularySize, cancellationToken);
        if (!double.IsFinite(comparison.FloatPerplexity + comparison.Perplexity + comparison.KlDivergence)) throw NonFiniteLogits();
        if (texts.Sample is { } sample)
        {
            double onSample = Evaluation.Perplexity(streams.Sample!, sample, FloatLogits, config.VocabularySize, cancellationToken);
            listener.CalibrationPerplexity(onSample);
            if (CalibrationChecks.Far(onSample, comparison.FloatPerplexity) is { } far) listener.Warn(far);
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
        listener.EndPhase("evaluation");
        listener.Progress(1, QualityText.Of(quality));
        listener.Inform($"{QualityText.LayersOf(quality)}");
        return quality;
    }

    private QuantBuildException NonFiniteLogits() => new(
        DiagnosticIds.NonFinite,
        $"{config.Head.WeightName}: the logits are not finite numbers. The model's weights overflow float32 there, or are damaged: copy the model again.");

    /// <summary>Tells the listener of learned rounding's steps, every few seconds.</summary>
    private Action<int> Stepped(int layer, int parts)
    {
        Stopwatch silence = Stopwatch.StartNew();
        return step =>
        {
            if (silence.Elapsed < LongestSilence) return;
            silence.Restart();
            int all = plan.Spec.Iterations;
            listener.Progress((layer + ((double)step / all)) / parts, $"layer {layer + 1} of {config.Layers}: step {step} of {all}");
        };
    }

    /// <summary>Quantizes a layer, or takes it from the journal; <paramref name="layerWeights"/> becomes the dequantized ones either way.</summary>
    private bool Quantize(int layer, PerDevice<LayerWeights> layerWeights, PerDevice<DecoderForward> forward, JournalWriter writer, CalibrationStreams? calibration, Action<int> stepped)
    {
        JournalPart part = JournalPart.Layer(config, layer);
        torch.Tensor Through(Place at, torch.Tensor hidden) => forward[at].Layer(hidden, layerWeights[at]);
        void Replace(FinishedLayer made)
        {
            foreach (Place at in devices.All) layerWeights[at].Replace(made, at.Device);
        }

        if (journal.TryRead(part) is { } finished)
        {
            calibration?.Float?.Update(Through, cancellationToken);
            Replace(finished);
            calibration?.Quantized.Update(Through, cancellationToken);
            return true;
        }

        if (plan.Spec.FromCheckpoint)
        {
            finished = new FinishedLayer([.. config.Linears(layer).Select(weights.Quantized)], new Dictionary<string, float[]>());
            Replace(finished);
            writer.Write(part, finished);
            return false;
        }

        finished = new LayerQuantizer(plan, devices, forward, layer, layerWeights, listener.Inform, starved.Add, stepped, cancellationToken).Quantize(calibration);
        calibration?.Float?.CheckFinite(LayerName(layer));
        calibration?.Quantized.CheckFinite(LayerName(layer));
        writer.Write(part, finished);
        return false;
    }

    private QuantizedLinear? QuantizeHead(PerDevice<DecoderForward> forward, PerDevice<FinalWeights> final, CalibrationStreams? calibration) =>
        QuantizeTable(JournalPart.Head(config), weight => calibration is not null && plan[config.Head] is { } spec && QuantizationSpec.IsCalibrated(spec.Method)
            // The head is no part of a layer whose output could be learned from: AutoRound leaves it as GPTQ makes it.
            ? LinearQuantizer.Calibrated(
                weight, config.Head, spec.Method == QuantizationMethod.AutoRound ? AutoRound.Start(spec) : spec, devices, calibration.Quantized,
                (at, hidden) => forward[at].HeadInput(hidden, final[at]), cancellationToken)
            : null);

    /// <summary>Quantizes embedding or head where the plan says so, or takes it from the journal.</summary>
    /// <param name="part">Which.</param>
    /// <param name="calibrated">Quantizes a weight on the calibration text, or gives nothing where that does not apply.</param>
    private QuantizedLinear? QuantizeTable(JournalPart part, Func<torch.Tensor, QuantizedLinear?> calibrated)
    {
        LinearShape shape = part.Linears[0];
        if (plan[shape] is not { } spec) return null;
        if (journal.TryRead(part) is { } finished) return finished.Linears[0];
        cancellationToken.ThrowIfCancellationRequested();
        using torch.Tensor weight = weights.Load(shape.WeightName, devices.First.Device);
        QuantizedLinear linear = weights.Quantized(shape) ?? calibrated(weight) ?? LinearQuantizer.WithoutData(weight, shape, spec);
        journal.Write(part, new FinishedLayer([linear], new Dictionary<string, float[]>()));
        return linear;
    }

    private Streams Embed(Texts texts)
    {
        QuantizedLinear? quantized = QuantizeTable(JournalPart.Embedding(config), _ => null);
        // A budget reads the text to measure on, whatever the method.
        TokenWindows? calibrationText = plan.NeedsCalibration ? texts.Calibration : null;
        if (calibrationText is null && texts.Evaluation is null) return new Streams(null, null, null, null);
        using EmbeddingTables embedding = weights.LoadEmbedding();
        using torch.Tensor? dequantized = quantized?.Dequantize(torch.CPU);
        EmbeddingTables rounded = dequantized is null ? embedding : embedding with { Tokens = dequantized };
        HiddenStates? Of(TokenWindows? windows, EmbeddingTables tables) => windows is null ? null : HiddenStates.Embed(windows, tables, devices, store);
        HiddenStates? calibration = Of(calibrationText, rounded);
        return new Streams(
            calibration is null ? null : new CalibrationStreams(calibration, plan.ComparesStreams ? Of(calibrationText, embedding) : null),
            Of(texts.Sample, embedding),
            Of(texts.Evaluation, embedding),
            Of(texts.Evaluation, rounded));
    }

    private static string LayerName(int layer) => DecoderConfig.LayerPrefix(layer).TrimEnd('.');

    /// <summary>The residual streams that go through the layers side by side, so that each layer is read once.</summary>
    /// <param name="Calibration">The calibration text.</param>
    /// <param name="Sample">A few windows of it, through the float layers.</param>
    /// <param name="Float">The evaluation text, through the float layers.</param>
    /// <param name="Quantized">The evaluation text, through the quantized layers.</param>
    private sealed record Streams(CalibrationStreams? Calibration, HiddenStates? Sample, HiddenStates? Float, HiddenStates? Quantized) : IDisposable
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
