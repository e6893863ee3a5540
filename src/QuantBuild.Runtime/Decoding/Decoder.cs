using System.Numerics.Tensors;
using QuantBuild.Kernels;

namespace QuantBuild.Decoding;

/// <summary>
/// The forward pass of a Llama decoder (Touvron et al., 2023) over the next tokens of any number of texts at once. The weights are read once for all of them.
/// </summary>
/// <remarks>
/// A token's result depends on its text alone: not on the other texts, not on how many of its tokens come at once, not on the number of threads.
/// </remarks>
internal sealed unsafe class Decoder : IDisposable
{
    /// <summary>Tokens of a pass at most: enough to use each weight many times while it is in the cache of the processor.</summary>
    public const int LargestBatch = 128;

    // Logits that are in memory at the same time.
    private const int LogitRows = 16;

    private readonly DecoderConfig config;
    private readonly DecoderWeights weights;
    private readonly Workers workers;
    private readonly bool floatActivations;
    private readonly RotaryEmbedding rotary;
    private readonly Lock pass = new();
    private readonly List<BatchRow> rows = [];
    private readonly NormWork norm;
    private readonly PrepareWork prepare = new();
    private readonly ProductWork products = new();
    private readonly GateWork gate = new();
    private readonly RememberWork remember;
    private readonly AttendWork attend;
    private DecoderActivations activations;
    private Activations logits;

    /// <param name="config">The decoder.</param>
    /// <param name="weights">Its weights.</param>
    /// <param name="pages">Where keys and values are.</param>
    /// <param name="workers">Who computes; disposed with this.</param>
    /// <param name="floatActivations">Whether the inputs of quantized linears stay in float32: slower, and nearer to the model that quality was measured of.</param>
    public Decoder(DecoderConfig config, DecoderWeights weights, KvPages pages, Workers workers, bool floatActivations)
    {
        (this.config, this.weights, this.workers, this.floatActivations) = (config, weights, workers, floatActivations);
        rotary = new RotaryEmbedding(config);
        AttentionKernel kernel = new(pages);
        norm = new NormWork(config.NormEpsilon);
        remember = new RememberWork(config, rotary, kernel);
        attend = new AttendWork(config, kernel);
        activations = new DecoderActivations(config, 1);
        logits = new Activations(1, config.VocabularySize);
    }

    /// <summary>Takes the next tokens of some texts, each text once. Calls from several threads wait for each other.</summary>
    /// <param name="parts">At most <see cref="LargestBatch"/> tokens together.</param>
    /// <param name="cancellationToken">Looked at before each layer. What a cancelled pass wrote is cut off again.</param>
    public void Forward(IReadOnlyList<BatchPart> parts, CancellationToken cancellationToken)
    {
        lock (pass)
        {
            int[] lengths = [.. parts.Select(part => part.Cache.Length)];
            try
            {
                Take(parts);
                for (int layer = 0; layer < weights.Layers.Length; layer++)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    Attention(layer);
                    Mlp(weights.Layers[layer]);
                }

                Give(parts);
            }
            catch
            {
                for (int i = 0; i < parts.Count; i++) parts[i].Cache.Truncate(lengths[i]);
                throw;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => workers.Dispose();

    /// <summary>Looks the tokens up, and makes room for their keys and values.</summary>
    private void Take(IReadOnlyList<BatchPart> parts)
    {
        rows.Clear();
        int tokens = parts.Sum(part => part.Tokens.Length);
        if (tokens > activations.Rows) activations = new DecoderActivations(config, tokens <= LogitRows ? LogitRows : LargestBatch);
        foreach (BatchPart part in parts)
        {
            int first = part.Cache.Length;
            part.Cache.Extend(part.Tokens.Length);
            ReadOnlySpan<int> ids = part.Tokens.Span;
            for (int i = 0; i < ids.Length; i++)
            {
                weights.Embedding.ReadRows(ids[i], 1, activations.Hidden.Row(rows.Count));
                rows.Add(new BatchRow(part.Cache, first + i));
            }
        }

        rotary.Prepare(rows.Max(row => row.Position) + 1);
        attend.Divide(rows);
    }

    private void Attention(int layer)
    {
        LayerWeights w = weights.Layers[layer];
        workers.For(rows.Count, 1, norm.Of(activations.Hidden, w.AttentionNorm, activations.Normed));
        Multiply(activations.Normed, rows.Count, (w.Query, activations.Queries), (w.Key, activations.Keys), (w.Value, activations.Values));
        workers.For(rows.Count, 1, remember.Of(activations, rows, layer));
        workers.For(attend.Items, 1, attend.Of(activations, layer));
        Multiply(activations.Attended, rows.Count, (w.Output, activations.Normed));
        AddToHidden();
    }

    /// <summary>down(silu(gate(x)) * up(x)).</summary>
    private void Mlp(LayerWeights w)
    {
        workers.For(rows.Count, 1, norm.Of(activations.Hidden, w.MlpNorm, activations.Normed));
        Multiply(activations.Normed, rows.Count, (w.Gate, activations.Gate), (w.Up, activations.Up));
        workers.For(rows.Count, 1, gate.Of(activations));
        Multiply(activations.Gate, rows.Count, (w.Down, activations.Normed));
        AddToHidden();
    }

    /// <summary>Gives out what was wanted.</summary>
    private void Give(IReadOnlyList<BatchPart> parts)
    {
        workers.For(rows.Count, 1, norm.Of(activations.Hidden, weights.FinalNorm, activations.Normed));
        int vocabulary = config.VocabularySize;
        List<(int Row, Memory<float> Target)> wanted = [];
        int first = 0;
        foreach (BatchPart part in parts)
        {
            int end = first + part.Tokens.Length, count = part.Logits.Length / vocabulary;
            for (int i = 0; i < count; i++) wanted.Add((end - count + i, part.Logits.Slice(i * vocabulary, vocabulary)));
            for (int i = 0; i < part.Hidden.Length / config.HiddenSize; i++) activations.Normed.Span(first + i).CopyTo(part.Hidden.Span[(i * config.HiddenSize)..]);
            first = end;
        }

        // The rows that are wanted, one after the other, where the queries were.
        if (wanted.Count > logits.Rows) logits = new Activations(Math.Min(wanted.Count, LogitRows), vocabulary);
        for (int done = 0; done < wanted.Count; done += logits.Rows)
        {
            int count = Math.Min(logits.Rows, wanted.Count - done);
            for (int i = 0; i < count; i++) activations.Normed.Span(wanted[done + i].Row).CopyTo(activations.Hidden.Span(i));
            Multiply(activations.Hidden, count, (weights.Head, logits));
            for (int i = 0; i < count; i++) logits.Span(i).CopyTo(wanted[done + i].Target.Span);
        }
    }

    /// <summary>Products of one input with several weights: together, where all of them read the input in one form.</summary>
    private void Multiply(Activations x, int tokens, params ReadOnlySpan<(WeightMatrix Weight, Activations Y)> linears)
    {
        for (int i = 0; i < linears.Length;)
        {
            InputForm form = Form(linears[i].Weight);
            if (activations.Input.Begin(form, x, 0, tokens)) workers.For(tokens, 1, prepare.Of(activations.Input));
            products.Begin(activations.Input);
            for (; i < linears.Length && Form(linears[i].Weight) == form; i++) products.Add(linears[i].Weight, linears[i].Y.Row(0), linears[i].Y.Stride);
            workers.For(products.Items, WeightMatrix.RowsAtOnce, products);
        }
    }

    private InputForm Form(WeightMatrix weight) => floatActivations ? weight.FloatForm : weight.Form;

    private void AddToHidden()
    {
        for (int t = 0; t < rows.Count; t++) TensorPrimitives.Add(activations.Hidden.Span(t), activations.Normed.Span(t), activations.Hidden.Span(t));
    }
}
