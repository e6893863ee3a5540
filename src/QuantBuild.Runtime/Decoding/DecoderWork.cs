using System.Buffers;
using System.Numerics.Tensors;
using QuantBuild.Kernels;

namespace QuantBuild.Decoding;

/// <summary>Activations of a forward pass, for up to a number of tokens.</summary>
/// <param name="config">The decoder.</param>
/// <param name="rows">How many.</param>
/// <param name="computed">How many of them the processor computes: none, where a device has all layers.</param>
internal sealed class DecoderActivations(DecoderConfig config, int rows, int computed)
{
    /// <summary>Tokens of a pass at most.</summary>
    public int Rows { get; } = rows;

    /// <summary>The residual stream [rows, hidden].</summary>
    public Activations Hidden { get; } = new(rows, config.HiddenSize);

    /// <summary>The residual stream after a norm, and what a block adds to it [rows, hidden].</summary>
    public Activations Normed { get; } = new(rows, config.HiddenSize);

    /// <summary>[rows, heads * headDim].</summary>
    public Activations Queries { get; } = new(computed, config.Heads * config.HeadDim);

    /// <summary>[rows, kvHeads * headDim].</summary>
    public Activations Keys { get; } = new(computed, config.KvHeads * config.HeadDim);

    /// <summary>[rows, kvHeads * headDim].</summary>
    public Activations Values { get; } = new(computed, config.KvHeads * config.HeadDim);

    /// <summary>[rows, heads * headDim].</summary>
    public Activations Attended { get; } = new(computed, config.Heads * config.HeadDim);

    /// <summary>What lies between the projections of MLPs, [rows, width] both, by the width.</summary>
    public IReadOnlyDictionary<int, (Activations Gate, Activations Up)> Mlps { get; } =
        config.MlpWidths.ToDictionary(width => width, width => (new Activations(computed, width), new Activations(computed, width)));

    /// <summary>What the next linears read.</summary>
    public LinearInput Input { get; } = new(
        config.EmbeddingWidth is null ? computed : rows, Math.Max(Math.Max(config.MlpWidths.Max(), config.EmbeddingSize), Math.Max(config.HiddenSize, config.Heads * config.HeadDim)));

    /// <summary>Embeddings, and what the head reads, where their width is not that of the residual stream [rows, embedding].</summary>
    public Activations? Embedded { get; } = config.EmbeddingWidth is { } width ? new(rows, width) : null;

    /// <summary>What the MLP reads where it is known before attention [rows, hidden].</summary>
    public Activations? Parallel { get; } = config.ParallelResidual ? new(computed, config.HiddenSize) : null;

    /// <summary>What only a layer with experts needs.</summary>
    public ExpertActivations? Experts { get; } = config.Experts > 0 ? new(config, computed) : null;
}

/// <summary>Activations of a layer with experts.</summary>
internal sealed class ExpertActivations(DecoderConfig config, int rows)
{
    /// <summary>The router's scores [rows, experts], and then the share of the MLP that sees every token, in the first column.</summary>
    public Activations Scores { get; } = new(rows, config.Experts);

    /// <summary>The tokens of one expert, one after the other [rows, hidden].</summary>
    public Activations Input { get; } = new(rows, config.HiddenSize);

    /// <summary>What it gives for them [rows, hidden].</summary>
    public Activations Output { get; } = new(rows, config.HiddenSize);

    /// <summary>What all experts of each token give [rows, hidden].</summary>
    public Activations Mixed { get; } = new(rows, config.HiddenSize);
}

/// <summary>
/// RMSNorm (Zhang and Sennrich, 2019) of some rows, <c>x / sqrt(mean(x^2) + epsilon) * weight</c>, or LayerNorm (Ba et al., 2016), which takes the mean away first and adds a
/// bias.
/// </summary>
internal sealed class NormWork(NormKind kind, double epsilon) : IParallelWork
{
    private Activations x = null!;
    private Activations y = null!;
    private NormVectors norm = null!;

    public NormWork Of(Activations from, NormVectors by, Activations to)
    {
        (x, norm, y) = (from, by, to);
        return this;
    }

    public void Run(int from, int to)
    {
        for (int t = from; t < to; t++)
        {
            Span<float> normed = y.Span(t);
            Apply(kind, epsilon, x.Span(t), norm.Weight, normed);
            if (norm.Bias is { } bias) TensorPrimitives.Add(normed, bias, normed);
        }
    }

    /// <summary>A norm of one row, before its bias.</summary>
    public static void Apply(NormKind kind, double epsilon, ReadOnlySpan<float> row, ReadOnlySpan<float> weight, Span<float> normed)
    {
        if (kind == NormKind.Layer)
        {
            TensorPrimitives.Subtract(row, TensorPrimitives.Sum(row) / row.Length, normed);
            row = normed;
        }

        float scale = 1 / MathF.Sqrt((TensorPrimitives.SumOfSquares(row) / row.Length) + (float)epsilon);
        TensorPrimitives.Multiply(row, scale, normed);
        TensorPrimitives.Multiply(normed, weight, normed);
    }
}

/// <summary>Takes some tokens in, as a linear reads them.</summary>
internal sealed class PrepareWork : IParallelWork
{
    private LinearInput input = null!;

    public PrepareWork Of(LinearInput target)
    {
        input = target;
        return this;
    }

    public void Run(int from, int to) => input.Prepare(from, to);
}

/// <summary>Products of one input with several weights: an item is an output of one of them.</summary>
internal sealed unsafe class ProductWork : IParallelWork
{
    private readonly List<(WeightMatrix Weight, IntPtr Y, long Stride, int First)> products = [];
    private LinearInput input = null!;

    /// <summary>Outputs of all weights, each rounded up to whole parts.</summary>
    public int Items { get; private set; }

    public void Begin(LinearInput x)
    {
        input = x;
        products.Clear();
        Items = 0;
    }

    public void Add(WeightMatrix weight, float* y, long stride)
    {
        products.Add((weight, (IntPtr)y, stride, Items));
        Items += (weight.Outputs + WeightMatrix.RowsAtOnce - 1) / WeightMatrix.RowsAtOnce * WeightMatrix.RowsAtOnce;
    }

    public void Run(int from, int to)
    {
        foreach ((WeightMatrix weight, IntPtr y, long stride, int first) in products)
        {
            int start = Math.Max(0, from - first), end = Math.Min(weight.Outputs, to - first);
            if (start < end) weight.Multiply(input, start, end, (float*)y, stride);
        }
    }
}

/// <summary><c>activation(gate) * up</c> of some tokens, or <c>activation(gate)</c> where the MLP has no gate; left in gate.</summary>
internal sealed class GateWork(DecoderConfig config) : IParallelWork
{
    private Activations gates = null!;
    private Activations ups = null!;

    public GateWork Of(Activations gate, Activations up)
    {
        (gates, ups) = (gate, up);
        return this;
    }

    public void Run(int from, int to)
    {
        for (int t = from; t < to; t++)
        {
            Span<float> gate = gates.Span(t);
            if (!config.GatedMlp)
            {
                Activation.Apply(config.Activation, gate);
                continue;
            }

            Span<float> up = ups.Span(t);
            if (config.GateLimit is { } limit)
            {
                TensorPrimitives.Min(gate, (float)limit, gate);
                TensorPrimitives.Clamp(up, -(float)limit, (float)limit, up);
                TensorPrimitives.Add(up, 1, up);
            }

            if (config.Activation == ActivationKind.Silu)
            {
                TensorPrimitives.Multiply(up, gate, up);
                TensorPrimitives.Sigmoid(gate, gate);
            }
            else
            {
                Activation.Apply(config.Activation, gate);
            }

            TensorPrimitives.Multiply(gate, up, gate);
        }
    }
}

/// <summary>Norms queries and keys of some tokens where the family does so, turns them to their positions, and puts keys and values into their pages.</summary>
/// <param name="config">The decoder.</param>
/// <param name="rotary">What most layers turn by.</param>
/// <param name="local">What layers with a sliding window turn by, where that is another.</param>
/// <param name="kernel">Writes pages.</param>
internal sealed unsafe class RememberWork(DecoderConfig config, RotaryEmbedding rotary, RotaryEmbedding? local, AttentionKernel kernel) : IParallelWork
{
    private DecoderActivations activations = null!;
    private IReadOnlyList<BatchRow> rows = [];
    private int layer;
    private LayerWeights weights = null!;
    private RotaryEmbedding? turning;

    public RememberWork Of(DecoderActivations of, IReadOnlyList<BatchRow> tokens, int inLayer, LayerWeights by)
    {
        (activations, rows, layer, weights) = (of, tokens, inLayer, by);
        turning = !config.IsRotary(layer) ? null : config.IsLocal(layer) ? local : rotary;
        return this;
    }

    public void Run(int from, int to)
    {
        int headDim = config.HeadDim;
        for (int t = from; t < to; t++)
        {
            (KvCache cache, int position) = rows[t];
            Span<float> queries = activations.Queries.Span(t), keys = activations.Keys.Span(t);
            if (weights.QueryNorm is not null) Norm(queries, weights.QueryNorm.Weight);
            if (weights.KeyNorm is not null) Norm(keys, weights.KeyNorm.Weight);
            if (turning is not null)
            {
                for (int head = 0; head < config.Heads; head++) turning.Rotate(queries.Slice(head * headDim, headDim), position);
                for (int head = 0; head < config.KvHeads; head++) turning.Rotate(keys.Slice(head * headDim, headDim), position);
            }

            KvPage page = cache.Pages[position / KvPages.Tokens];
            for (int head = 0; head < config.KvHeads; head++)
            {
                kernel.Write(
                    page, layer, head, position % KvPages.Tokens,
                    activations.Keys.Row(t) + (head * headDim), activations.Values.Row(t) + (head * headDim));
            }
        }
    }

    /// <summary>All at once, or head by head, with one weight for all or one each.</summary>
    private void Norm(Span<float> heads, float[] weight)
    {
        int width = config.QueryKeyNorm == QueryKeyNorm.Width ? heads.Length : config.HeadDim;
        for (int first = 0; first < heads.Length; first += width)
        {
            Span<float> part = heads.Slice(first, width);
            NormWork.Apply(config.Norm, config.NormEpsilon, part, weight.AsSpan(first % weight.Length, width), part);
        }
    }
}

/// <summary>A token of a pass.</summary>
/// <param name="Cache">Its text.</param>
/// <param name="Position">Its place in it.</param>
internal readonly record struct BatchRow(KvCache Cache, int Position);

/// <summary>Attention: an item is a key-value head of some consecutive tokens of one text, with all query heads that share it.</summary>
internal sealed unsafe class AttendWork(DecoderConfig config, AttentionKernel kernel) : IParallelWork
{
    // Tokens whose queries go over a text's pages together: each page is read once for all of them.
    private const int TokensAtOnce = 16;

    // [heads], or empty.
    private readonly float[] slopes = [.. config.AlibiSlopes.Select(slope => (float)slope)];

    private readonly List<(KvCache Cache, int First, int Count, int Position, int Head)> items = [];
    private DecoderActivations activations = null!;
    private int layer;
    private float[] sinks = [];

    public int Items => items.Count;

    /// <summary>Divides the tokens of a pass; the same for all layers.</summary>
    public void Divide(IReadOnlyList<BatchRow> rows)
    {
        items.Clear();
        for (int first = 0; first < rows.Count;)
        {
            (KvCache cache, int position) = rows[first];
            int count = 1;
            while (count < TokensAtOnce && first + count < rows.Count && rows[first + count].Cache == cache) count++;
            for (int head = 0; head < config.KvHeads; head++) items.Add((cache, first, count, position, head));
            first += count;
        }
    }

    public AttendWork Of(DecoderActivations of, int inLayer, float[]? beside)
    {
        (activations, layer, sinks) = (of, inLayer, beside ?? []);
        return this;
    }

    public void Run(int from, int to)
    {
        int group = config.Heads / config.KvHeads, headDim = config.HeadDim, most = TokensAtOnce * group, window = config.WindowOf(layer) ?? int.MaxValue;
        float[] room = ArrayPool<float>.Shared.Rent(kernel.RoomFor(most));
        int[] places = ArrayPool<int>.Shared.Rent(2 * most);
        fixed (float* free = room)
        {
            for (int item = from; item < to; item++)
            {
                (KvCache cache, int first, int count, int position, int head) = items[item];
                int queries = count * group;
                for (int i = 0; i < queries; i++)
                {
                    places[i] = (i / group * activations.Queries.Stride) + (i % group * headDim);
                    places[most + i] = position + (i / group) + 1;
                }

                kernel.Attend(
                    cache, layer, head, activations.Queries.Row(first) + (head * group * headDim), activations.Attended.Row(first) + (head * group * headDim),
                    places.AsSpan(0, queries), places.AsSpan(most, queries), window, HeadsOf(sinks, head, group), HeadsOf(slopes, head, group), free);
            }
        }

        ArrayPool<int>.Shared.Return(places);
        ArrayPool<float>.Shared.Return(room);
    }

    /// <summary>What the query heads of a key-value head have of what all have; nothing where they have nothing.</summary>
    private static ReadOnlySpan<float> HeadsOf(float[] all, int head, int group) => all.Length == 0 ? [] : all.AsSpan(head * group, group);
}
