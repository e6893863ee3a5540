using System.Numerics.Tensors;
using QuantBuild.Kernels;

namespace QuantBuild.Decoding;

/// <summary>
/// The forward pass of a decoder, as <see cref="DecoderConfig"/> describes it, over the next tokens of any number of texts at once. The weights are read once for all of them.
/// </summary>
/// <remarks>
/// A token's result depends on its text alone: not on the other texts, not on how many of its tokens come at once, not on the number of threads.
/// </remarks>
internal sealed unsafe class Decoder : IDisposable
{
    // Tokens of a pass at most: enough to use each weight many times while it is in the cache of the processor.
    private const int ProcessorBatch = 128;

    // Logits that are in memory at the same time.
    private const int LogitRows = 16;

    private readonly DecoderConfig config;
    private readonly DecoderWeights weights;
    private readonly Workers workers;
    private readonly bool floatActivations;
    private readonly IDeviceLayers? device;
    private readonly RotaryEmbedding rotary;
    private readonly RotaryEmbedding? local;
    private readonly Lock pass = new();
    private readonly List<BatchRow> rows = [];
    private readonly NormWork norm;
    private readonly PrepareWork prepare = new();
    private readonly ProductWork products = new();
    private readonly GateWork gate;
    private readonly RememberWork remember;
    private readonly AttendWork attend;
    private DecoderActivations activations;
    private Activations logits;

    /// <param name="config">The decoder.</param>
    /// <param name="context">Tokens that a text may have.</param>
    /// <param name="weights">Its weights.</param>
    /// <param name="pages">Where keys and values are.</param>
    /// <param name="workers">Who computes; disposed with this.</param>
    /// <param name="floatActivations">Whether the inputs of quantized linears stay in float32: slower, and nearer to the model that quality was measured of.</param>
    /// <param name="device">What computes the first layers, if not these workers; disposed with this.</param>
    public Decoder(DecoderConfig config, int context, DecoderWeights weights, KvPages pages, Workers workers, bool floatActivations, IDeviceLayers? device = null)
    {
        (this.config, this.weights, this.workers, this.floatActivations, this.device) = (config, weights, workers, floatActivations, device);
        rotary = new RotaryEmbedding(config, context);
        local = config.LocalRopeTheta is null ? null : new RotaryEmbedding(config, context, local: true);
        AttentionKernel kernel = new(pages, config.ScoreScale, (float)(config.ScoreCap ?? 0));
        norm = new NormWork(config.Norm, config.NormEpsilon);
        gate = new GateWork(config);
        remember = new RememberWork(config, rotary, local, kernel);
        attend = new AttendWork(config, kernel);
        activations = CreateActivations(1);
        logits = new Activations(1, config.VocabularySize);
    }

    /// <summary>Tokens of a pass at most.</summary>
    public int LargestBatch => device is null ? ProcessorBatch : device.HasHead ? device.LargestBatch : Math.Min(device.LargestBatch, ProcessorBatch);

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
                device?.Forward(rows, activations.Hidden, (rotary, local), cancellationToken);
                for (int layer = device?.Count ?? 0; layer < weights.Layers.Length; layer++)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    Attention(layer);
                    if (config.HasExperts(layer)) Experts(weights.Layers[layer]);
                    else Mlp(weights.Layers[layer]);
                }

                if (device is { HasHead: true }) device.Give(parts);
                else Give(parts);
            }
            catch
            {
                for (int i = 0; i < parts.Count; i++) parts[i].Cache.Truncate(lengths[i]);
                throw;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        workers.Dispose();
        device?.Dispose();
    }

    /// <summary>Looks the tokens up, and makes room for their keys and values.</summary>
    private void Take(IReadOnlyList<BatchPart> parts)
    {
        rows.Clear();
        int tokens = parts.Sum(part => part.Tokens.Length);
        if (tokens > activations.Rows) activations = CreateActivations(tokens <= LogitRows ? LogitRows : LargestBatch);
        Activations embedded = activations.Embedded ?? activations.Hidden;
        foreach (BatchPart part in parts)
        {
            int first = part.Cache.Length;
            part.Cache.Extend(part.Tokens.Length);
            ReadOnlySpan<int> ids = part.Tokens.Span;
            for (int i = 0; i < ids.Length; i++)
            {
                weights.Embedding.ReadRows(ids[i], 1, embedded.Row(rows.Count));
                rows.Add(new BatchRow(part.Cache, first + i));
            }
        }

        Embed(embedded);
        int positions = rows.Max(row => row.Position) + 1;
        if (config.HasRotary) rotary.Prepare(positions);
        local?.Prepare(positions);
        attend.Divide(rows);
    }

    private DecoderActivations CreateActivations(int tokens) => new(config, tokens, device is { HasHead: true } ? 0 : tokens);

    /// <summary>The residual stream that a family makes of embeddings.</summary>
    private void Embed(Activations embedded)
    {
        for (int t = 0; t < rows.Count && config.EmbeddingScale != 1; t++) TensorPrimitives.Multiply(embedded.Span(t), (float)config.EmbeddingScale, embedded.Span(t));
        if (weights.InputProjection is { } projection) Multiply(embedded, rows.Count, (projection, activations.Hidden));
        for (int t = 0; t < rows.Count && weights.Positions is not null; t++)
        {
            // Nothing is there before the first layer, and it is as wide.
            float* learned = activations.Normed.Row(0);
            Span<float> hidden = activations.Hidden.Span(t);
            weights.Positions.ReadRows(rows[t].Position, 1, learned);
            TensorPrimitives.Add(hidden, new ReadOnlySpan<float>(learned, hidden.Length), hidden);
        }

        Normed(weights.EmbeddingNorm, activations.Hidden);
    }

    private void Attention(int layer)
    {
        LayerWeights w = weights.Layers[layer];
        Activations input = Normed(w.AttentionNorm, activations.Normed);
        if (activations.Parallel is { } parallel) Normed(config.SharedNorm ? w.AttentionNorm : w.MlpNorm, parallel);
        Multiply(input, rows.Count, (w.Query, activations.Queries), (w.Key, activations.Keys), (w.Value, activations.Values));
        workers.For(rows.Count, 1, remember.Of(activations, rows, layer, w));
        workers.For(attend.Items, 1, attend.Of(activations, layer, w.Sinks));
        Multiply(activations.Attended, rows.Count, (w.Output, activations.Normed));
        AddToHidden(w.AttentionPostNorm);
    }

    /// <summary>down(activation(gate(x)) * up(x)), or down(activation(up(x))).</summary>
    private void Mlp(LayerWeights w)
    {
        Mlp(w.Mlps[0], activations.Parallel ?? Normed(w.MlpNorm, activations.Normed), rows.Count, activations.Normed);
        AddToHidden(w.MlpPostNorm);
    }

    private void Mlp(MlpWeights mlp, Activations input, int tokens, Activations output)
    {
        (Activations gates, Activations ups) = activations.Mlps[mlp.Up.Outputs];
        if (mlp.Gate is { } gated) Multiply(input, tokens, (gated, gates), (mlp.Up, ups));
        else Multiply(input, tokens, (mlp.Up, gates));
        workers.For(tokens, 1, gate.Of(gates, ups));
        Multiply(gates, tokens, (mlp.Down, output));
    }

    /// <summary>
    /// The experts that the router chooses for each token, one after the other, each with all of its tokens. A token adds up its own in the order of their numbers, whatever
    /// tokens are beside it, and then what the MLP that sees every token gives.
    /// </summary>
    private void Experts(LayerWeights w)
    {
        ExpertActivations experts = activations.Experts!;
        Activations input = activations.Parallel ?? Normed(w.MlpNorm, activations.Normed);
        Multiply(input, rows.Count, (w.Router!, experts.Scores));
        for (int t = 0; t < rows.Count; t++)
        {
            Choose(config, experts.Scores.Span(t));
            experts.Mixed.Span(t).Clear();
        }

        for (int expert = 0; expert < config.Experts; expert++)
        {
            int tokens = 0;
            for (int t = 0; t < rows.Count; t++)
            {
                if (experts.Scores.Span(t)[expert] != 0) input.Span(t).CopyTo(experts.Input.Span(tokens++));
            }

            if (tokens == 0) continue;
            Mlp(w.Mlps[expert], experts.Input, tokens, experts.Output);
            tokens = 0;
            for (int t = 0; t < rows.Count; t++)
            {
                float share = experts.Scores.Span(t)[expert];
                if (share != 0) TensorPrimitives.MultiplyAdd(experts.Output.Span(tokens++), share, experts.Mixed.Span(t), experts.Mixed.Span(t));
            }
        }

        if (w.Mlps.Length > config.Experts)
        {
            Mlp(w.Mlps[config.Experts], input, rows.Count, experts.Output);
            if (w.SharedGate is { } shared) Multiply(input, rows.Count, (shared, experts.Scores));
            for (int t = 0; t < rows.Count; t++)
            {
                float share = w.SharedGate is null ? 1 : 1 / (1 + MathF.Exp(-experts.Scores.Span(t)[0]));
                TensorPrimitives.MultiplyAdd(experts.Output.Span(t), share, experts.Mixed.Span(t), experts.Mixed.Span(t));
            }
        }

        for (int t = 0; t < rows.Count; t++) experts.Mixed.Span(t).CopyTo(activations.Normed.Span(t));
        AddToHidden(w.MlpPostNorm);
    }

    /// <summary>Makes scores the shares of the experts that are chosen, and 0 of the others.</summary>
    public static void Choose(DecoderConfig config, Span<float> scores)
    {
        TensorPrimitives.SoftMax(scores, scores);
        Span<int> chosen = stackalloc int[config.ExpertsPerToken];
        Span<float> shares = stackalloc float[config.ExpertsPerToken];
        for (int i = 0; i < chosen.Length; i++)
        {
            chosen[i] = TensorPrimitives.IndexOfMax<float>(scores);
            shares[i] = scores[chosen[i]];
            scores[chosen[i]] = -1;
        }

        float sum = config.NormalizesExperts ? TensorPrimitives.Sum<float>(shares) : 1;
        scores.Clear();
        for (int i = 0; i < chosen.Length; i++) scores[chosen[i]] = shares[i] / sum;
    }

    /// <summary>The residual stream through a norm; itself where there is none.</summary>
    private Activations Normed(NormVectors? by, Activations target)
    {
        if (by is null) return activations.Hidden;
        workers.For(rows.Count, 1, norm.Of(activations.Hidden, by, target));
        return target;
    }

    /// <summary>Gives out what was wanted.</summary>
    private void Give(IReadOnlyList<BatchPart> parts)
    {
        Activations last = Normed(weights.FinalNorm, activations.Normed);
        int vocabulary = config.VocabularySize;
        List<WantedLogits> wanted = BatchPart.Wanted(parts, vocabulary);
        int first = 0;
        foreach (BatchPart part in parts)
        {
            for (int i = 0; i < part.Hidden.Length / config.HiddenSize; i++) last.Span(first + i).CopyTo(part.Hidden.Span[(i * config.HiddenSize)..]);
            first += part.Tokens.Length;
        }

        // The rows that are wanted, one after the other.
        Activations gathered = last == activations.Hidden ? activations.Normed : activations.Hidden;
        if (wanted.Count > logits.Rows) logits = new Activations(Math.Min(wanted.Count, LogitRows), vocabulary);
        for (int done = 0; done < wanted.Count; done += logits.Rows)
        {
            int count = Math.Min(logits.Rows, wanted.Count - done);
            for (int i = 0; i < count; i++) last.Span(wanted[done + i].Row).CopyTo(gathered.Span(i));
            if (weights.OutputProjection is { } projection) Multiply(gathered, count, (projection, activations.Embedded!));
            Multiply(activations.Embedded ?? gathered, count, (weights.Head, logits));
            for (int i = 0; i < count; i++) GiveLogits(logits.Span(i), wanted[done + i]);
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

    /// <summary>Logits, scaled and capped where the family does so.</summary>
    private void GiveLogits(Span<float> product, WantedLogits wanted)
    {
        if (config.LogitScale != 1) TensorPrimitives.Multiply(product, (float)config.LogitScale, product);
        if (config.LogitCap is { } cap)
        {
            TensorPrimitives.Divide(product, (float)cap, product);
            TensorPrimitives.Tanh(product, product);
            TensorPrimitives.Multiply(product, (float)cap, product);
        }

        if (wanted.Choice is { } choice) choice.Choose(product, isChanged: false);
        else if (wanted.Likeliest.IsEmpty) product.CopyTo(wanted.Logits.Span);
        else wanted.Likeliest.Span[0] = TensorPrimitives.IndexOfMax<float>(product);
    }

    /// <summary>Adds what attention or MLP gave to the residual stream, scaled where the family does so, and the one or the other through a norm.</summary>
    private void AddToHidden(NormVectors? by)
    {
        if (by is not null && !config.SumNorms) workers.For(rows.Count, 1, norm.Of(activations.Normed, by, activations.Normed));
        for (int t = 0; t < rows.Count; t++)
        {
            Span<float> added = activations.Normed.Span(t), hidden = activations.Hidden.Span(t);
            if (config.ResidualScale != 1) TensorPrimitives.Multiply(added, (float)config.ResidualScale, added);
            TensorPrimitives.Add(hidden, added, hidden);
        }

        if (config.SumNorms) Normed(by, activations.Hidden);
    }
}
