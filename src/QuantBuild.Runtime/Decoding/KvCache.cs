namespace QuantBuild.Decoding;

/// <summary>
/// Keys and values of the tokens so far, in float32: for each layer [kvHeads, capacity, headDim]. Grows by doubling up to the model's context.
/// </summary>
internal sealed class KvCache
{
    private readonly float[][] keys;
    private readonly float[][] values;
    private readonly int kvHeads;
    private readonly int headDim;
    private readonly int contextLength;

    public KvCache(DecoderConfig config, int capacity)
    {
        kvHeads = config.KvHeads;
        headDim = config.HeadDim;
        contextLength = config.ContextLength;
        Capacity = Math.Min(capacity, contextLength);
        keys = [.. Enumerable.Range(0, config.Layers).Select(_ => new float[Size(Capacity)])];
        values = [.. Enumerable.Range(0, config.Layers).Select(_ => new float[Size(Capacity)])];
    }

    /// <summary>Bytes that a token takes in the cache: a key and a value of each layer and head.</summary>
    public static long BytesPerToken(DecoderConfig config) => 2L * config.Layers * config.KvHeads * config.HeadDim * sizeof(float);

    /// <summary>Tokens that are in the cache.</summary>
    public int Length { get; set; }

    /// <summary>Tokens that there is room for.</summary>
    public int Capacity { get; private set; }

    /// <summary>Keys of a layer's head: [capacity, headDim].</summary>
    public Span<float> Keys(int layer, int head) => keys[layer].AsSpan(Size(Capacity) / kvHeads * head, Capacity * headDim);

    /// <summary>Values of a layer's head: [capacity, headDim].</summary>
    public Span<float> Values(int layer, int head) => values[layer].AsSpan(Size(Capacity) / kvHeads * head, Capacity * headDim);

    /// <summary>Makes room for more tokens.</summary>
    public void Reserve(int tokens)
    {
        if (tokens <= Capacity) return;
        int capacity = Math.Min(contextLength, Math.Max(tokens, 2 * Capacity));
        foreach (float[][] layers in new[] { keys, values })
        {
            for (int layer = 0; layer < layers.Length; layer++)
            {
                float[] grown = new float[Size(capacity)];
                for (int head = 0; head < kvHeads; head++)
                {
                    layers[layer].AsSpan(head * Capacity * headDim, Length * headDim).CopyTo(grown.AsSpan(head * capacity * headDim));
                }

                layers[layer] = grown;
            }
        }

        Capacity = capacity;
    }

    private int Size(int capacity) => checked(kvHeads * capacity * headDim);
}
