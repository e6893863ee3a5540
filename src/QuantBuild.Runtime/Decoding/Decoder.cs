using System.Numerics.Tensors;
using QuantBuild.Kernels;

namespace QuantBuild.Decoding;

/// <summary>
/// The forward pass of a Llama decoder (Touvron et al., 2023): float32 activations and sums. Weights are shared by any number of running texts.
/// </summary>
internal sealed unsafe class Decoder(DecoderConfig config, DecoderWeights weights, Workers workers)
{
    // What a sigmoid costs, in multiplications.
    private const long SigmoidWork = 16;

    /// <summary>Takes the next tokens of a text.</summary>
    /// <param name="state">The text; on return it holds the tokens.</param>
    /// <param name="tokens">The tokens, each below the vocabulary's size; they fit the context.</param>
    /// <param name="logits">Receives the last token's logits [vocabulary], or every token's [tokens, vocabulary].</param>
    /// <param name="cancellationToken">Looked at before each layer. A text whose pass was cancelled is spoilt.</param>
    public void Forward(DecoderState state, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellationToken)
    {
        int vocabulary = config.VocabularySize;
        bool all = logits.Length > vocabulary;
        state.Cache.Reserve(state.Cache.Length + tokens.Length);
        state.Rotary.Prepare(state.Cache.Length + tokens.Length);
        for (int done = 0; done < tokens.Length; done += state.Batch)
        {
            ReadOnlySpan<int> batch = tokens.Slice(done, Math.Min(state.Batch, tokens.Length - done));
            Embed(state, batch);
            for (int layer = 0; layer < weights.Layers.Length; layer++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Attention(state, layer, batch.Length);
                Mlp(state, weights.Layers[layer], batch.Length);
            }

            state.Cache.Length += batch.Length;
            bool last = done + batch.Length == tokens.Length;
            if (all) Logits(state, 0, batch.Length, logits.Slice(done * vocabulary, batch.Length * vocabulary));
            else if (last) Logits(state, batch.Length - 1, 1, logits);
        }

        // The kernels hold bare pointers into its activations.
        GC.KeepAlive(state);
    }

    private void Embed(DecoderState state, ReadOnlySpan<int> tokens)
    {
        for (int t = 0; t < tokens.Length; t++) weights.Embedding.ReadRow(tokens[t], state.Hidden.Row(t));
    }

    private void Attention(DecoderState state, int layer, int tokens)
    {
        LayerWeights w = weights.Layers[layer];
        Norm(state.Hidden, w.AttentionNorm, state.Normed, 0, tokens);
        Multiply(state, w.Query, state.Normed, state.Queries, tokens);
        Multiply(state, w.Key, state.Normed, state.Keys, tokens);
        Multiply(state, w.Value, state.Normed, state.Values, tokens);
        Remember(state, layer, tokens);

        // One item is one head of one token.
        int past = state.Cache.Length;
        workers.For(tokens * config.Heads, 1, 2L * config.HeadDim * (past + ((tokens + 1) / 2)), (from, to) =>
        {
            float[] scores = new float[past + tokens];
            for (int item = from; item < to; item++) Attend(state, layer, item / config.Heads, item % config.Heads, scores);
        });
        Multiply(state, w.Output, state.Attended, state.Normed, tokens);
        Add(state.Normed, state.Hidden, tokens);
    }

    /// <summary>Turns the new queries and keys to their positions, and puts keys and values into the cache.</summary>
    private void Remember(DecoderState state, int layer, int tokens)
    {
        int headDim = config.HeadDim;
        for (int t = 0; t < tokens; t++)
        {
            int position = state.Cache.Length + t;
            for (int head = 0; head < config.Heads; head++) state.Rotary.Rotate(state.Queries.Span(t).Slice(head * headDim, headDim), position);
            for (int head = 0; head < config.KvHeads; head++)
            {
                Span<float> key = state.Keys.Span(t).Slice(head * headDim, headDim);
                state.Rotary.Rotate(key, position);
                key.CopyTo(state.Cache.Keys(layer, head)[(position * headDim)..]);
                state.Values.Span(t).Slice(head * headDim, headDim).CopyTo(state.Cache.Values(layer, head)[(position * headDim)..]);
            }
        }
    }

    /// <summary>Attention of one head over the tokens up to and with token <paramref name="t"/> of the batch.</summary>
    private void Attend(DecoderState state, int layer, int t, int head, float[] scores)
    {
        int headDim = config.HeadDim;
        int length = state.Cache.Length + t + 1;
        int kvHead = head / (config.Heads / config.KvHeads);
        AttentionKernel.Attend(
            state.Queries.Span(t).Slice(head * headDim, headDim),
            state.Cache.Keys(layer, kvHead)[..(length * headDim)],
            state.Cache.Values(layer, kvHead)[..(length * headDim)],
            scores.AsSpan(0, length),
            state.Attended.Span(t).Slice(head * headDim, headDim));
    }

    /// <summary>down(silu(gate(x)) * up(x)), where silu(v) = v * sigmoid(v).</summary>
    private void Mlp(DecoderState state, LayerWeights w, int tokens)
    {
        Norm(state.Hidden, w.MlpNorm, state.Normed, 0, tokens);
        Multiply(state, w.Gate, state.Normed, state.Gate, tokens);
        Multiply(state, w.Up, state.Normed, state.Up, tokens);
        workers.For(tokens, 1, SigmoidWork * config.IntermediateSize, (from, to) =>
        {
            for (int t = from; t < to; t++)
            {
                Span<float> gate = state.Gate.Span(t);
                Span<float> up = state.Up.Span(t);
                TensorPrimitives.Multiply(up, gate, up);
                TensorPrimitives.Sigmoid(gate, gate);
                TensorPrimitives.Multiply(gate, up, gate);
            }
        });
        Multiply(state, w.Down, state.Gate, state.Normed, tokens);
        Add(state.Normed, state.Hidden, tokens);
    }

    private void Logits(DecoderState state, int firstToken, int tokens, Span<float> logits)
    {
        Norm(state.Hidden, weights.FinalNorm, state.Normed, firstToken, tokens);
        fixed (float* target = logits)
        {
            weights.Head.Multiply(state.Normed, firstToken, target, config.VocabularySize, tokens, state.Gathered, workers);
        }
    }

    private void Multiply(DecoderState state, WeightMatrix weight, Activations x, Activations y, int tokens) =>
        weight.Multiply(x, 0, y.Row(0), y.Stride, tokens, state.Gathered, workers);

    /// <summary>RMSNorm (Zhang and Sennrich, 2019): x / sqrt(mean(x^2) + epsilon) * weight.</summary>
    private void Norm(Activations x, float[] weight, Activations y, int firstToken, int tokens)
    {
        for (int t = firstToken; t < firstToken + tokens; t++)
        {
            Span<float> row = x.Span(t);
            float scale = 1 / MathF.Sqrt((TensorPrimitives.SumOfSquares<float>(row) / row.Length) + (float)config.NormEpsilon);
            Span<float> normed = y.Span(t);
            TensorPrimitives.Multiply(row, scale, normed);
            TensorPrimitives.Multiply(normed, weight, normed);
        }
    }

    private static void Add(Activations x, Activations sum, int tokens)
    {
        for (int t = 0; t < tokens; t++) TensorPrimitives.Add(sum.Span(t), x.Span(t), sum.Span(t));
    }
}
