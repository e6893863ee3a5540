using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using QuantBuild.Decoding;

namespace QuantBuild.Kernels;

/// <summary>
/// <c>softmax(scale q K^T) V</c> over a text's pages, one after the other with a running maximum and sum (Milakov and Gimelshein, 2018; Dao et al., 2022): scores
/// of a page at a time are all that is ever in memory. A head's result depends on its own query and the pages alone, not on what is computed beside it.
/// </summary>
/// <param name="pages">How pages are laid out.</param>
/// <param name="scale">What scores are multiplied by.</param>
/// <param name="cap">The cap c of scores, <c>c tanh(s / c)</c>; 0 for none.</param>
internal sealed unsafe class AttentionKernel(KvPages pages, float scale, float cap)
{
    private const int Tokens = KvPages.Tokens;

    private readonly int headDim = pages.HeadDim;

    /// <summary>Floats of room that a call of <see cref="Attend"/> needs, for the queries that it takes together.</summary>
    public int RoomFor(int queries) => (2 * Tokens * headDim) + Tokens + (2 * queries);

    /// <summary>Writes a key and a value to a page.</summary>
    /// <param name="page">The page.</param>
    /// <param name="layer">The layer.</param>
    /// <param name="head">The key-value head.</param>
    /// <param name="slot">The token's place in the page.</param>
    /// <param name="key">[headDim], turned to its position.</param>
    /// <param name="value">[headDim].</param>
    public void Write(KvPage page, int layer, int head, int slot, float* key, float* value)
    {
        byte* keys = pages.Keys(page, layer, head), values = pages.Values(page, layer, head);
        if (pages.Precision == KvPrecision.Float16)
        {
            for (int i = 0; i < headDim; i++) ((Half*)keys)[(i * Tokens) + slot] = Stored(key[i]);
            for (int i = 0; i < headDim; i++) ((Half*)values)[(slot * headDim) + i] = Stored(value[i]);
            return;
        }

        float step = Step(key), inverse = step == 0 ? 0 : 1 / step;
        Scales(keys)[slot] = step;
        for (int i = 0; i < headDim; i++) ((sbyte*)keys)[(i * Tokens) + slot] = (sbyte)MathF.Round(key[i] * inverse);
        step = Step(value);
        inverse = step == 0 ? 0 : 1 / step;
        Scales(values)[slot] = step;
        for (int i = 0; i < headDim; i++) ((sbyte*)values)[(slot * headDim) + i] = (sbyte)MathF.Round(value[i] * inverse);
    }

    /// <summary>Attention of some queries of one key-value head.</summary>
    /// <param name="cache">The text's pages.</param>
    /// <param name="layer">The layer.</param>
    /// <param name="head">The key-value head.</param>
    /// <param name="queries">The first query, [headDim]; see <paramref name="places"/>.</param>
    /// <param name="results">The first result, [headDim]; as the queries.</param>
    /// <param name="places">How many floats each query and result lies after the first.</param>
    /// <param name="lengths">How many tokens the text has for each query; ascending.</param>
    /// <param name="window">How many of the last of them it sees at most.</param>
    /// <param name="sinks">For each query head of the key-value head, its score beside those of the tokens; empty where there is none. The queries follow one another in their order.</param>
    /// <param name="slopes">Of the query heads of the key-value head, one query after the other, what scores fall by for each token between; empty for nothing.</param>
    /// <param name="room">See <see cref="RoomFor"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Attend(KvCache cache, int layer, int head, float* queries, float* results, ReadOnlySpan<int> places, ReadOnlySpan<int> lengths, int window, ReadOnlySpan<float> sinks, ReadOnlySpan<float> slopes, float* room)
    {
        float* keys = room, values = room + (Tokens * headDim), weights = values + (Tokens * headDim), maxima = weights + Tokens, sums = maxima + places.Length;
        for (int i = 0; i < places.Length; i++)
        {
            maxima[i] = float.NegativeInfinity;
            sums[i] = 0;
            new Span<float>(results + places[i], headDim).Clear();
        }

        int longest = lengths[^1];
        for (int start = Math.Max(0, lengths[0] - window) / Tokens * Tokens; start < longest; start += Tokens)
        {
            KvPage page = cache.Pages[start / Tokens];
            // Pages lie apart: the processor does not foresee the next one.
            if (start + Tokens < longest) Prefetch(pages.Keys(cache.Pages[(start / Tokens) + 1], layer, head));
            ReadKeys(pages.Keys(page, layer, head), keys);
            ReadValues(pages.Values(page, layer, head), values, Math.Min(Tokens, longest - start));
            for (int i = 0; i < places.Length; i++)
            {
                int seen = Math.Min(Tokens, lengths[i] - start), past = Math.Max(0, lengths[i] - window - start);
                if (past >= seen) continue;
                float slope = slopes.IsEmpty ? 0 : slopes[i % slopes.Length];
                Add(queries + places[i], keys, values, past, seen, slope, start + 1 - lengths[i], results + places[i], maxima + i, sums + i, weights);
            }
        }

        for (int i = 0; i < places.Length; i++)
        {
            float share = 1 / (sinks.IsEmpty ? sums[i] : sums[i] + MathF.Exp(sinks[i % sinks.Length] - maxima[i]));
            float* result = results + places[i];
            for (int k = 0; k < headDim; k++) result[k] *= share;
        }
    }

    /// <summary>Adds the tokens of a page from <paramref name="past"/> to before <paramref name="seen"/> to a query's running result. The first of the page lies <paramref name="distance"/> tokens behind the query, a number that is not positive.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Add(float* query, float* keys, float* values, int past, int seen, float slope, int distance, float* result, float* maximum, float* sum, float* weights)
    {
        // Two sums of each: one alone would wait for its own last product, four cycles a step.
        Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default;
        Vector256<float> t0 = default, t1 = default, t2 = default, t3 = default;
        for (int i = 0; i < headDim; i += 2, keys += 2 * Tokens)
        {
            Vector256<float> q = Vector256.Create(query[i]), r = Vector256.Create(query[i + 1]);
            s0 = Vector256.MultiplyAddEstimate(q, Vector256.Load(keys), s0);
            s1 = Vector256.MultiplyAddEstimate(q, Vector256.Load(keys + 8), s1);
            s2 = Vector256.MultiplyAddEstimate(q, Vector256.Load(keys + 16), s2);
            s3 = Vector256.MultiplyAddEstimate(q, Vector256.Load(keys + 24), s3);
            t0 = Vector256.MultiplyAddEstimate(r, Vector256.Load(keys + 32), t0);
            t1 = Vector256.MultiplyAddEstimate(r, Vector256.Load(keys + 40), t1);
            t2 = Vector256.MultiplyAddEstimate(r, Vector256.Load(keys + 48), t2);
            t3 = Vector256.MultiplyAddEstimate(r, Vector256.Load(keys + 56), t3);
        }

        (s0, s1, s2, s3) = (s0 + t0, s1 + t1, s2 + t2, s3 + t3);
        float factor = scale;
        if (cap != 0)
        {
            (s0, s1, s2, s3) = (Capped(s0), Capped(s1), Capped(s2), Capped(s3));
            factor = 1;
        }

        if (slope != 0)
        {
            Vector256<float> by = Vector256.Create(slope), factored = Vector256.Create(factor), lane = Vector256.Create(0f, 1, 2, 3, 4, 5, 6, 7) + Vector256.Create((float)distance);
            s0 = (s0 * factored) + (lane * by);
            s1 = (s1 * factored) + ((lane + Vector256.Create(8f)) * by);
            s2 = (s2 * factored) + ((lane + Vector256.Create(16f)) * by);
            s3 = (s3 * factored) + ((lane + Vector256.Create(24f)) * by);
            factor = 1;
        }

        if (seen < Tokens)
        {
            // What is not seen was perhaps never written.
            Vector256<float> lane = Vector256.Create(0f, 1, 2, 3, 4, 5, 6, 7), limit = Vector256.Create((float)seen), never = Vector256.Create(float.NegativeInfinity);
            s0 = Vector256.ConditionalSelect(Vector256.LessThan(lane, limit), s0, never);
            s1 = Vector256.ConditionalSelect(Vector256.LessThan(lane + Vector256.Create(8f), limit), s1, never);
            s2 = Vector256.ConditionalSelect(Vector256.LessThan(lane + Vector256.Create(16f), limit), s2, never);
            s3 = Vector256.ConditionalSelect(Vector256.LessThan(lane + Vector256.Create(24f), limit), s3, never);
        }

        if (past > 0)
        {
            Vector256<float> lane = Vector256.Create(0f, 1, 2, 3, 4, 5, 6, 7), limit = Vector256.Create((float)past), never = Vector256.Create(float.NegativeInfinity);
            s0 = Vector256.ConditionalSelect(Vector256.LessThan(lane, limit), never, s0);
            s1 = Vector256.ConditionalSelect(Vector256.LessThan(lane + Vector256.Create(8f), limit), never, s1);
            s2 = Vector256.ConditionalSelect(Vector256.LessThan(lane + Vector256.Create(16f), limit), never, s2);
            s3 = Vector256.ConditionalSelect(Vector256.LessThan(lane + Vector256.Create(24f), limit), never, s3);
        }

        // A score that is not a number makes the sum, and so the result, none, whatever the maximum is.
        Vector256<float> largest = Vector256.MaxNative(Vector256.MaxNative(s0, s1), Vector256.MaxNative(s2, s3));
        Vector128<float> four = Vector128.MaxNative(largest.GetLower(), largest.GetUpper());
        four = Vector128.MaxNative(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        four = Vector128.MaxNative(four, Vector128.Shuffle(four, Vector128.Create(1, 0, 3, 2)));
        float found = four.ToScalar() * factor, known = *maximum, now = found > known ? found : known;
        Vector256<float> shift = Vector256.Create(now);
        Vector256<float> factors = Vector256.Create(factor);
        s0 = Exponential.Of((s0 * factors) - shift);
        s1 = Exponential.Of((s1 * factors) - shift);
        s2 = Exponential.Of((s2 * factors) - shift);
        s3 = Exponential.Of((s3 * factors) - shift);
        s0.Store(weights);
        s1.Store(weights + 8);
        s2.Store(weights + 16);
        s3.Store(weights + 24);
        float before = now == known ? 1 : MathF.Exp(known - now);
        *sum = (*sum * before) + Vector256.Sum((s0 + s1) + (s2 + s3));
        *maximum = now;
        Mix(weights, values, seen, result, before);
    }

    /// <summary>c tanh(scale s / c), as <c>c - 2c / (e^(2x) + 1)</c>; e^(2x) of what is 1 in float32 is not computed.</summary>
    private Vector256<float> Capped(Vector256<float> scores)
    {
        Vector256<float> twice = Vector256.Clamp(scores * (2 * scale / cap), Vector256.Create(-40f), Vector256.Create(40f));
        return Vector256.Create(cap) - (Vector256.Create(2 * cap) / (Exponential.Of(twice) + Vector256<float>.One));
    }

    /// <summary>result = before * result + sum of weights[j] * values[j].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Mix(float* weights, float* values, int seen, float* result, float before)
    {
        int k = 0;
        for (; k <= headDim - 32; k += 32)
        {
            Vector256<float> r0 = Vector256.Load(result + k) * before, r1 = Vector256.Load(result + k + 8) * before;
            Vector256<float> r2 = Vector256.Load(result + k + 16) * before, r3 = Vector256.Load(result + k + 24) * before;
            float* row = values + k;
            int j = 0;
            Vector256<float> u0 = default, u1 = default, u2 = default, u3 = default;
            for (; j <= seen - 2; j += 2, row += 2 * headDim)
            {
                Vector256<float> weight = Vector256.Create(weights[j]), next = Vector256.Create(weights[j + 1]);
                float* second = row + headDim;
                r0 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row), r0);
                r1 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 8), r1);
                r2 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 16), r2);
                r3 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 24), r3);
                u0 = Vector256.MultiplyAddEstimate(next, Vector256.Load(second), u0);
                u1 = Vector256.MultiplyAddEstimate(next, Vector256.Load(second + 8), u1);
                u2 = Vector256.MultiplyAddEstimate(next, Vector256.Load(second + 16), u2);
                u3 = Vector256.MultiplyAddEstimate(next, Vector256.Load(second + 24), u3);
            }

            if (j < seen)
            {
                Vector256<float> weight = Vector256.Create(weights[j]);
                r0 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row), r0);
                r1 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 8), r1);
                r2 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 16), r2);
                r3 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 24), r3);
            }

            (r0, r1, r2, r3) = (r0 + u0, r1 + u1, r2 + u2, r3 + u3);
            r0.Store(result + k);
            r1.Store(result + k + 8);
            r2.Store(result + k + 16);
            r3.Store(result + k + 24);
        }

        for (; k < headDim; k++)
        {
            float total = result[k] * before;
            for (int j = 0; j < seen; j++) total += weights[j] * values[(j * headDim) + k];
            result[k] = total;
        }
    }

    private void ReadKeys(byte* keys, float* target)
    {
        if (pages.Precision == KvPrecision.Float16)
        {
            for (int i = 0; i < Tokens * headDim; i += 8) Halves.Load((ushort*)keys + i).Store(target + i);
            return;
        }

        float* scales = Scales(keys);
        Vector256<float> c0 = Vector256.Load(scales), c1 = Vector256.Load(scales + 8), c2 = Vector256.Load(scales + 16), c3 = Vector256.Load(scales + 24);
        for (int i = 0; i < Tokens * headDim; i += Tokens)
        {
            (Signed(keys + i) * c0).Store(target + i);
            (Signed(keys + i + 8) * c1).Store(target + i + 8);
            (Signed(keys + i + 16) * c2).Store(target + i + 16);
            (Signed(keys + i + 24) * c3).Store(target + i + 24);
        }
    }

    private void ReadValues(byte* values, float* target, int tokens)
    {
        if (pages.Precision == KvPrecision.Float16)
        {
            // Whole vectors, of which the last may end beyond the tokens: a page has room for 32.
            for (int i = 0; i < tokens * headDim; i += 8) Halves.Load((ushort*)values + i).Store(target + i);
            return;
        }

        float* scales = Scales(values);
        for (int j = 0; j < tokens; j++)
        {
            int i = 0;
            for (; i <= headDim - 8; i += 8) (Signed(values + (j * headDim) + i) * scales[j]).Store(target + (j * headDim) + i);
            for (; i < headDim; i++) target[(j * headDim) + i] = ((sbyte*)values)[(j * headDim) + i] * scales[j];
        }
    }

    /// <summary>Begins to read a head's keys and values.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Prefetch(byte* keys)
    {
        if (!Sse.IsSupported) return;
        for (int i = 0; i < 2 * pages.BlockBytes; i += 64) Sse.Prefetch1(keys + i);
    }

    private float* Scales(byte* block) => (float*)(block + (Tokens * headDim));

    private float Step(float* values)
    {
        float largest = 0;
        for (int i = 0; i < headDim; i++) largest = MathF.Max(largest, MathF.Abs(values[i]));
        return largest / 127;
    }

    /// <summary>The nearest number of half precision; the largest where it is larger, since one infinite key would make all of a text not a number.</summary>
    private static Half Stored(float value)
    {
        Half half = (Half)value;
        return Half.IsInfinity(half) && float.IsFinite(value) ? (value > 0 ? Half.MaxValue : Half.MinValue) : half;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Signed(byte* source) => Vector256.ConvertToSingle(Widen.SBytes((sbyte*)source));
}
