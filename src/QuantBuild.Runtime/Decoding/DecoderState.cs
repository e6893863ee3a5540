using QuantBuild.Kernels;

namespace QuantBuild.Decoding;

/// <summary>What one running text owns: its cache and the activations of a forward pass. Not shared between threads.</summary>
internal sealed class DecoderState
{
    /// <summary>Tokens that are computed at once: enough to use each weight many times while it is in the cache of the processor.</summary>
    public const int LargestBatch = 256;

    /// <param name="config">The decoder.</param>
    /// <param name="expectedTokens">Tokens that the text will probably have; more is possible, up to the context.</param>
    /// <param name="firstTokens">Tokens of the first forward pass.</param>
    public DecoderState(DecoderConfig config, int expectedTokens, int firstTokens)
    {
        int rows = Math.Clamp(firstTokens, 1, LargestBatch);
        int queries = config.Heads * config.HeadDim;
        Batch = rows;
        Cache = new KvCache(config, Math.Max(expectedTokens, 1));
        Rotary = new RotaryEmbedding(config);
        Hidden = new Activations(rows, config.HiddenSize);
        Normed = new Activations(rows, config.HiddenSize);
        Queries = new Activations(rows, queries);
        Keys = new Activations(rows, config.KvHeads * config.HeadDim);
        Values = new Activations(rows, config.KvHeads * config.HeadDim);
        Attended = new Activations(rows, queries);
        Gate = new Activations(rows, config.IntermediateSize);
        Up = new Activations(rows, config.IntermediateSize);
        Gathered = new float[rows * Math.Max(Gate.Stride, Math.Max(Hidden.Stride, Attended.Stride))];
    }

    /// <summary>Tokens of one pass at most.</summary>
    public int Batch { get; }

    public KvCache Cache { get; }

    public RotaryEmbedding Rotary { get; }

    /// <summary>The residual stream [batch, hidden].</summary>
    public Activations Hidden { get; }

    /// <summary>The residual stream after a norm, and what a block adds to it [batch, hidden].</summary>
    public Activations Normed { get; }

    /// <summary>[batch, heads * headDim].</summary>
    public Activations Queries { get; }

    /// <summary>[batch, kvHeads * headDim].</summary>
    public Activations Keys { get; }

    /// <summary>[batch, kvHeads * headDim].</summary>
    public Activations Values { get; }

    /// <summary>[batch, heads * headDim].</summary>
    public Activations Attended { get; }

    /// <summary>[batch, intermediate].</summary>
    public Activations Gate { get; }

    /// <summary>[batch, intermediate].</summary>
    public Activations Up { get; }

    /// <summary>Room for a linear's inputs in the order of its packed columns.</summary>
    public float[] Gathered { get; }
}
