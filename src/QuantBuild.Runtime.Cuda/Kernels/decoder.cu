// What a decoder does between its linears. A block has a token.
#include "pages.h"
#include "segment.h"

#define BLOCK 256

// Of norms: what NormKind says.
#define LAYER 1

// Of activations: what ActivationKind says.
#define SILU 0
#define GELU 1
#define GELU_TANH 2
#define RELU 3
#define GELU_SIGMOID 4
#define RELU_SQUARED 5

// Where a linear's input goes: as bytes with a scale for each segment, or as floats.
struct Rounded
{
    s8* bytes;        // [tokens, stride]; null where the linear reads floats
    Segment* segments; // [tokens, segmentCount]
    float* floats;    // [tokens, stride]
    int* outliers;    // how many each token has; null where there can be none
    int* places;      // [tokens, stride]
    float* values;    // [tokens, stride]
    const int* order; // the input of each packed column, or null where they are in order
    float threshold;  // of outliers
    int inputs;
    int stride;       // inputs, rounded up to whole chunks
    int segmentCount;
    int segmentInputs;
    int interleaved;  // whether of eight bytes the first four and the last four lie in turn
};

// Rounds a token's numbers. All of the block sees them in x.
DEVICE void round_token(const Rounded& r, int token, const float* x, float* room)
{
    s64 row = (s64)token * r.stride;
    float largest_of_all = 0;
    if (r.outliers)
    {
        // LLM.int8(): one scale for all inputs that are below the threshold. What is not a number is an outlier, and makes the outputs none.
        for (int k = thread(); k < r.inputs; k += BLOCK)
        {
            float m = magnitude(x[k]);
            if (m < r.threshold) largest_of_all = most(largest_of_all, m);
        }

        largest_of_all = most(1e-30f, block_most(largest_of_all, room));
        // In the order of the inputs, so that sums have one order too.
        if (warp() == 0)
        {
            int count = 0;
            for (int start = 0; start < r.inputs; start += 32)
            {
                int k = start + lane();
                bool outlier = k < r.inputs && !(magnitude(x[k]) < r.threshold);
                u32 found = __nvvm_vote_ballot_sync(FULL, outlier);
                if (outlier)
                {
                    int place = count + __builtin_popcount(found & ((1u << lane()) - 1));
                    r.places[row + place] = k;
                    r.values[row + place] = x[k];
                }

                count += __builtin_popcount(found);
            }

            if (lane() == 0) r.outliers[token] = count;
        }
    }

    if (!r.bytes)
    {
        for (int k = thread(); k < r.stride; k += BLOCK) r.floats[row + k] = k < r.inputs ? x[r.order ? r.order[k] : k] : 0;
        return;
    }

    for (int segment = warp(); segment < r.segmentCount; segment += BLOCK / 32)
    {
        // A segment has at most 128 inputs, four a lane, side by side.
        int k = segment * r.segmentInputs + lane() * 4, end = least((segment + 1) * r.segmentInputs, r.stride);
        float v[4], largest = 0;
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            v[i] = k + i < least(end, r.inputs) ? x[r.order ? r.order[k + i] : k + i] : 0;
            if (r.outliers && !(magnitude(v[i]) < r.threshold)) v[i] = 0;
            // Unlike most(), this keeps what is not a number, which makes all of the segment none.
            float m = magnitude(v[i]);
            if (!(m <= largest)) largest = m;
        }

        if (r.outliers)
        {
            largest = largest_of_all;
        }
        else
        {
            for (int lanes = 16; lanes > 0; lanes >>= 1)
            {
                float other = exchange(largest, lanes);
                if (!(other <= largest)) largest = other;
            }
        }

        float inverse = largest == 0 ? 0 : quotient(127, largest);
        u32 packed = 0;
        int sum = 0;
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            int q = nearest(v[i] * inverse);
            sum += q;
            packed |= (u32)(q & 0xff) << (8 * i);
        }

        sum = warp_sum(sum);
        if (r.interleaved)
        {
            // Two lanes have eight bytes: the even one gives out their first half.
            u32 other = __nvvm_shfl_sync_bfly_i32(FULL, packed, 1, 31);
            packed = lane() & 1 ? permute(other, packed, 0x7362) : permute(packed, other, 0x5140);
        }

        if (k < end) *(u32*)(r.bytes + row + k) = packed;
        if (lane() == 0)
        {
            Segment of = {quotient(largest, 127), sum};
            r.segments[(s64)token * r.segmentCount + segment] = of;
        }
    }
}

struct Norm
{
    const float* weight; // null: no norm
    const float* bias;   // or null
    float epsilon;
    int kind;
};

// y = norm(x), of one token; y may be x.
DEVICE void norm_token(const Norm& norm, const float* x, float* y, int width, float* room)
{
    float mean = 0;
    if (norm.kind == LAYER)
    {
        for (int k = thread(); k < width; k += BLOCK) mean += x[k];
        mean = block_sum(mean, room) / width;
    }

    float squares = 0;
    for (int k = thread(); k < width; k += BLOCK) squares = fused(x[k] - mean, x[k] - mean, squares);
    float scale = quotient(1, root(block_sum(squares, room) / width + norm.epsilon));
    for (int k = thread(); k < width; k += BLOCK)
    {
        float v = (x[k] - mean) * scale * norm.weight[k];
        y[k] = norm.bias ? v + norm.bias[k] : v;
    }
}

// The residual stream through a norm, and as the next linears read it.
// added: what is added to x first, or null; through a norm of its own where post has one, which is one of the sum where sums is set.
KERNEL void THREADS(BLOCK) norm_round(float* x, const float* added, const Norm post, int sums, float scale, const Norm norm, float* y, int width, const Rounded rounded)
{
    SHARED static float room[32];
    int token = block_x();
    x += (s64)token * width;
    y += (s64)token * width;
    if (added)
    {
        added += (s64)token * width;
        const float* a = added;
        if (post.weight && !sums)
        {
            norm_token(post, added, y, width, room);
            a = y;
            barrier();
        }

        for (int k = thread(); k < width; k += BLOCK) x[k] += scale * a[k];
        barrier();
        if (post.weight && sums)
        {
            norm_token(post, x, x, width, room);
            barrier();
        }
    }

    if (norm.weight)
    {
        norm_token(norm, x, y, width, room);
        barrier();
        x = y;
    }

    if (rounded.inputs > 0) round_token(rounded, token, x, room);
}

// What linears read, of numbers [tokens, xStride].
KERNEL void THREADS(BLOCK) round_tokens(const float* x, int xStride, const Rounded rounded)
{
    SHARED static float room[32];
    round_token(rounded, block_x(), x + (s64)block_x() * xStride, room);
}

// The cumulative normal distribution: erfc(z) = t exp(-z^2 + P(t)) with t = 1 / (1 + z / 2) (Press et al., Numerical Recipes, 6.2).
DEVICE float normal(float x)
{
    float z = magnitude(x) * 0.70710678f, t = quotient(1, 1 + 0.5f * z);
    float p = 0.17087277f;
    p = fused(p, t, -0.82215223f);
    p = fused(p, t, 1.48851587f);
    p = fused(p, t, -1.13520398f);
    p = fused(p, t, 0.27886807f);
    p = fused(p, t, -0.18628806f);
    p = fused(p, t, 0.09678418f);
    p = fused(p, t, 0.37409196f);
    p = fused(p, t, 1.00002368f);
    p = fused(p, t, -1.26551223f);
    float tail = 0.5f * t * exponential(fused(-z, z, p));
    return x < 0 ? tail : 1 - tail;
}

DEVICE float sigmoid(float x) { return quotient(1, 1 + exponential(-x)); }

DEVICE float activation(int kind, float x)
{
    if (kind == SILU) return x * sigmoid(x);
    if (kind == GELU) return x * normal(x);
    if (kind == GELU_TANH) return x * sigmoid(1.5957691216f * x * fused(0.044715f * x, x, 1));
    if (kind == GELU_SIGMOID) return x * sigmoid(1.702f * x);
    x = most(x, 0.0f);
    return kind == RELU_SQUARED ? x * x : x;
}

// activation(gate) * up, or activation(gate) where up is null, left in gate, and as the next linear reads it. Where there is a limit, both are kept within it, and up is one more.
KERNEL void THREADS(BLOCK) gate_round(float* gate, const float* up, int kind, float limit, int width, const Rounded rounded)
{
    SHARED static float room[32];
    s64 row = (s64)block_x() * width;
    for (int k = thread(); k < width; k += BLOCK)
    {
        float g = gate[row + k], u = up ? up[row + k] : 1;
        if (limit > 0)
        {
            g = least(g, limit);
            u = most(-limit, least(limit, u)) + 1;
        }

        gate[row + k] = activation(kind, g) * u;
    }

    barrier();
    if (rounded.inputs > 0) round_token(rounded, block_x(), gate + row, room);
}

struct Heads
{
    float* queries; // [tokens, heads * headDim]
    float* keys;    // [tokens, kvHeads * headDim]
    float* values;
    const float* queryNorm; // or null
    const float* keyNorm;
    const float* cosines; // [tokens, half], or null where nothing is turned
    const float* sines;
    const Row* rows;
    const u64* pages;
    s64 layerOffset; // bytes of a page before the layer
    int blockBytes;  // of a head's keys, or values, in a page
    float epsilon;
    int heads;
    int kvHeads;
    int headDim;
    int half;        // pairs that are turned
    int interleaved;
    int wholeNorm;   // whether all heads are normed together
    int eachNorm;    // whether each head has a weight of its own
    int normKind;
    int bytes;       // whether keys and values are kept as bytes
};

// A norm in place of each head of one token [count, headDim], with one weight for all or one each: a warp has one head.
DEVICE void norm_heads(const Heads& h, float* x, const float* weight, int count)
{
    int width = h.headDim;
    for (int head = warp(); head < count; head += BLOCK / 32)
    {
        float* own = x + head * width;
        const float* by = weight + (h.eachNorm ? head * width : 0);
        float mean = 0;
        if (h.normKind == LAYER)
        {
            for (int k = lane(); k < width; k += 32) mean += own[k];
            mean = warp_sum(mean) / width;
        }

        float squares = 0;
        for (int k = lane(); k < width; k += 32) squares = fused(own[k] - mean, own[k] - mean, squares);
        float scale = quotient(1, root(warp_sum(squares) / width + h.epsilon));
        for (int k = lane(); k < width; k += 32) own[k] = (own[k] - mean) * scale * by[k];
    }
}

DEVICE void rotate(float* x, int count, int headDim, int half, int interleaved, const float* cosines, const float* sines)
{
    for (int n = thread(); n < count * half; n += BLOCK)
    {
        int head = n / half, i = n % half;
        float* first = x + head * headDim + (interleaved ? 2 * i : i);
        float* second = first + (interleaved ? 1 : half);
        float a = *first, b = *second;
        *first = a * cosines[i] - b * sines[i];
        *second = b * cosines[i] + a * sines[i];
    }
}

// Puts a head's key or value into its page: numbers at a distance of stride.
DEVICE void keep(const float* x, u8* block, int slot, int stride, int start, int headDim, int bytes)
{
    if (!bytes)
    {
        // Half precision ends at 65504.
        for (int k = lane(); k < headDim; k += 32) ((u16*)block)[start + k * stride] = float_to_half(least(65504.0f, most(-65504.0f, x[k])));
        return;
    }

    float largest = 0;
    for (int k = lane(); k < headDim; k += 32) largest = most(largest, magnitude(x[k]));
    largest = warp_most(largest);
    float step = quotient(largest, 127), inverse = step == 0 ? 0 : quotient(1, step);
    for (int k = lane(); k < headDim; k += 32) ((s8*)block)[start + k * stride] = (s8)nearest(x[k] * inverse);
    if (lane() == 0) ((float*)(block + PAGE * headDim))[slot] = step;
}

// Norms queries and keys, turns them to their positions, and puts keys and values into their pages.
KERNEL void THREADS(BLOCK) remember(const Heads h)
{
    SHARED static float room[32];
    int token = block_x();
    float* queries = h.queries + (s64)token * h.heads * h.headDim;
    float* keys = h.keys + (s64)token * h.kvHeads * h.headDim;
    const float* values = h.values + (s64)token * h.kvHeads * h.headDim;
    if (h.queryNorm && h.wholeNorm)
    {
        Norm query = {h.queryNorm, 0, h.epsilon, h.normKind}, key = {h.keyNorm, 0, h.epsilon, h.normKind};
        norm_token(query, queries, queries, h.heads * h.headDim, room);
        norm_token(key, keys, keys, h.kvHeads * h.headDim, room);
    }
    else if (h.queryNorm)
    {
        norm_heads(h, queries, h.queryNorm, h.heads);
        norm_heads(h, keys, h.keyNorm, h.kvHeads);
    }

    barrier();
    if (h.cosines)
    {
        rotate(queries, h.heads, h.headDim, h.half, h.interleaved, h.cosines + token * h.half, h.sines + token * h.half);
        rotate(keys, h.kvHeads, h.headDim, h.half, h.interleaved, h.cosines + token * h.half, h.sines + token * h.half);
        barrier();
    }

    Row row = h.rows[token];
    u8* layer = (u8*)h.pages[row.pages + row.position / PAGE] + h.layerOffset;
    int slot = row.position % PAGE;
    for (int head = warp(); head < h.kvHeads; head += BLOCK / 32)
    {
        u8* block = layer + 2ll * head * h.blockBytes;
        keep(keys + head * h.headDim, block, slot, PAGE, slot, h.headDim, h.bytes);
        keep(values + head * h.headDim, block + h.blockBytes, slot, 1, slot * h.headDim, h.headDim, h.bytes);
    }
}

// Rows of x [.., width] that are wanted, one after the other.
KERNEL void THREADS(BLOCK) gather(const float* x, const int* wanted, float* y, int width)
{
    const float* from = x + (s64)wanted[block_x()] * width;
    for (int k = thread(); k < width; k += BLOCK) y[(s64)block_x() * width + k] = from[k];
}

// Adds what an expert gave to its tokens, each with its share.
KERNEL void THREADS(BLOCK) scatter(const float* x, const int* tokens, const float* shares, float* y, int width)
{
    float* to = y + (s64)tokens[block_x()] * width;
    for (int k = thread(); k < width; k += BLOCK) to[k] = fused(shares[block_x()], x[(s64)block_x() * width + k], to[k]);
}

// Adds what an MLP gave that sees every token, each with the share that its own number says, or all of it where gates is null.
KERNEL void THREADS(BLOCK) add_shared(const float* x, const float* gates, float* y, int width)
{
    s64 row = (s64)block_x() * width;
    float share = gates ? sigmoid(gates[block_x()]) : 1;
    for (int k = thread(); k < width; k += BLOCK) y[row + k] = fused(share, x[row + k], y[row + k]);
}

// The first of the largest numbers of a row: what is not a number is none of them.
KERNEL void THREADS(BLOCK) largest(const float* x, int* found, int width)
{
    SHARED static float values[BLOCK / 32];
    SHARED static int places[BLOCK / 32];
    const float* row = x + (s64)block_x() * width;
    float value = -__builtin_inff();
    int place = 0x7fffffff;
    for (int k = thread(); k < width; k += BLOCK)
    {
        if (row[k] > value)
        {
            value = row[k];
            place = k;
        }
    }

    for (int lanes = 16; lanes > 0; lanes >>= 1)
    {
        float other = exchange(value, lanes);
        int other_place = __nvvm_shfl_sync_bfly_i32(FULL, place, lanes, 31);
        if (other > value || (other == value && other_place < place))
        {
            value = other;
            place = other_place;
        }
    }

    if (lane() == 0)
    {
        values[warp()] = value;
        places[warp()] = place;
    }

    barrier();
    if (thread() != 0) return;
    for (int w = 1; w < BLOCK / 32; w++)
    {
        if (values[w] > value || (values[w] == value && places[w] < place))
        {
            value = values[w];
            place = places[w];
        }
    }

    // A row without a number has no largest: the first token, as good as any.
    found[block_x()] = place < width ? place : 0;
}

// Logits, scaled and capped where the family does so.
KERNEL void THREADS(BLOCK) cap(float* logits, float scale, float cap, s64 count)
{
    for (s64 k = (s64)block_x() * BLOCK + thread(); k < count; k += (s64)blocks_x() * BLOCK)
    {
        float x = logits[k] * scale;
        // tanh x = 2 sigmoid(2 x) - 1
        if (cap != 0) x = cap * (2 * sigmoid(2 * quotient(x, cap)) - 1);
        logits[k] = x;
    }
}
