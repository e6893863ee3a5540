// What a decoder does between its linears. A step waits for each of these kernels, so they read all that they need at once, and are spread over as many blocks as they can be.
#include "experts.h"
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
    s8* bytes;        // [rows, stride]: a row is a token, or a token of an expert; null where the linear reads floats
    Segment* segments; // [rows, segmentCount]
    float* floats;    // [rows, stride]
    int* outliers;    // how many each row has; null where there can be none
    int* places;      // [rows, stride]
    float* values;    // [rows, stride]
    const int* order; // the input of each packed column, or null where they are in order
    const Slot* slots; // what is in the rows, of experts; else null, and rows are tokens
    const int* const* orders; // of each expert, in place of the one; or null where all are in order
    float threshold;  // of outliers
    int inputs;
    int stride;       // inputs, rounded up to whole chunks
    int segmentCount;
    int segmentInputs; // 16, 32, 64, 96 or 128
    int interleaved;  // whether of eight bytes the first four and the last four lie in turn
};

// The same for a row: of an expert's, the order of its columns.
DEVICE Rounded of_row(Rounded rounded, int row)
{
    if (rounded.orders) rounded.order = rounded.orders[rounded.slots[row].expert];
    return rounded;
}

// Inputs that a warp rounds at a time, four a lane: whole segments.
DEVICE int stripe_inputs(const Rounded& r) { return r.segmentInputs == 96 ? 96 : 128; }

DEVICE int stripes(const Rounded& r) { return (r.stride + stripe_inputs(r) - 1) / stripe_inputs(r); }

// Rounds a stripe of a token: v are inputs 4 lane to 4 lane + 3 of it, 0 for those that are not there.
// largest: the magnitude that all of the token is scaled by, or negative where each segment has its own.
DEVICE void round_stripe(const Rounded& r, int token, int stripe, const float (&v)[4], float largest)
{
    // Lanes that share a segment; of 96 inputs the last lanes have none.
    int lanes = r.segmentInputs == 96 ? 32 : r.segmentInputs >> 2;
    if (largest < 0)
    {
        largest = 0;
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            // Unlike most(), this keeps what is not a number, which makes all of the segment none.
            float m = magnitude(v[i]);
            if (!(m <= largest)) largest = m;
        }

#pragma unroll
        for (int distance = 16; distance > 0; distance >>= 1)
        {
            float other = exchange(largest, distance);
            if (distance < lanes && !(other <= largest)) largest = other;
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

#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1)
    {
        int other = __nvvm_shfl_sync_bfly_i32(FULL, sum, distance, 31);
        if (distance < lanes) sum += other;
    }

    if (r.interleaved)
    {
        // Two lanes have eight bytes: the even one gives out their first half.
        u32 other = __nvvm_shfl_sync_bfly_i32(FULL, packed, 1, 31);
        packed = lane() & 1 ? permute(other, packed, 0x7362) : permute(packed, other, 0x5140);
    }

    int width = stripe_inputs(r), k = stripe * width + lane() * 4;
    if (lane() * 4 < width && k < r.stride) *(u32*)(r.bytes + (s64)token * r.stride + k) = packed;
    int segment = r.segmentInputs == 96 ? stripe : k / r.segmentInputs;
    if (lane() % lanes == 0 && segment < r.segmentCount)
    {
        Segment of = {quotient(largest, 127), sum};
        r.segments[(s64)token * r.segmentCount + segment] = of;
    }
}

// A lane's inputs of a stripe.
DEVICE void read_stripe(const Rounded& r, const float* x, int stripe, float (&v)[4])
{
    int width = stripe_inputs(r), k = stripe * width + lane() * 4;
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = lane() * 4 < width && k + i < r.inputs ? x[r.order ? r.order[k + i] : k + i] : 0;
}

// LLM.int8(): finds the inputs of a token that are not rounded, in their order, so that sums have one order too. What is not a number is one of them, and makes the outputs none.
// Gives the largest of the others. All of the block does it, each warp for its part of the inputs.
DEVICE float find_outliers(const Rounded& r, int token, const float* __restrict__ x, float* room, int* counts)
{
    int part = ((r.inputs + warps() * 32 - 1) / (warps() * 32)) * 32, first = warp() * part, end = least(first + part, r.inputs), count = 0;
    float largest = 0;
#pragma unroll 4
    for (int k = first + lane(); k < end; k += 32)
    {
        float m = magnitude(x[k]);
        if (m < r.threshold) largest = most(largest, m);
        else count++;
    }

    count = warp_sum(count);
    if (lane() == 0) counts[warp()] = count;
    // Has barriers: afterwards all counts are there.
    largest = most(1e-30f, block_most(largest, room));
    int place = 0, all = 0;
    for (int n = 0; n < warps(); n++)
    {
        if (n < warp()) place += counts[n];
        all += counts[n];
    }

    if (thread() == 0) r.outliers[token] = all;
    s64 row = (s64)token * r.stride;
    for (int start = first; count > 0 && start < end; start += 32)
    {
        int k = start + lane();
        bool outlier = k < end && !(magnitude(x[k]) < r.threshold);
        u32 found = __nvvm_vote_ballot_sync(FULL, outlier);
        if (outlier)
        {
            int own = place + __builtin_popcount(found & ((1u << lane()) - 1));
            r.places[row + own] = k;
            r.values[row + own] = x[k];
        }

        place += __builtin_popcount(found);
    }

    return largest;
}

// Rounds a token's numbers, by all of a block, which sees them in x.
DEVICE void round_token(const Rounded& r, int token, const float* x, float* room, int* counts)
{
    float largest = -1;
    if (r.outliers) largest = find_outliers(r, token, x, room, counts);
    if (!r.bytes)
    {
        for (int k = thread(); k < r.stride; k += threads()) r.floats[(s64)token * r.stride + k] = k < r.inputs ? x[r.order ? r.order[k] : k] : 0;
        return;
    }

    for (int stripe = warp(); stripe < stripes(r); stripe += warps())
    {
        float v[4];
        read_stripe(r, x, stripe, v);
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            if (r.outliers && !(magnitude(v[i]) < r.threshold)) v[i] = 0;
        }

        round_stripe(r, token, stripe, v, largest);
    }
}

struct Norm
{
    const float* weight; // null: no norm
    const float* bias;   // or null
    float epsilon;
    int kind;
};

// What a thread has of a token: four numbers in each of some stripes of its warp.
template <int COUNT>
struct Part
{
    float v[COUNT][4];
};

// The first number that a thread has of its n-th stripe; from width on where it has none.
DEVICE int place_of(int n, int stripe, int width)
{
    int k = (n * warps() + warp()) * stripe + lane() * 4;
    return lane() * 4 < stripe ? k : width;
}

template <int COUNT>
DEVICE Part<COUNT> part_of(const float* x, int stripe, int width)
{
    Part<COUNT> part;
    bool whole = (width & 3) == 0;
#pragma unroll
    for (int n = 0; n < COUNT; n++)
    {
        int k = place_of(n, stripe, width);
        Bytes16 four = {0, 0, 0, 0};
        if (whole && k < width) four = read16(x + k);
        part.v[n][0] = float_of(four.x);
        part.v[n][1] = float_of(four.y);
        part.v[n][2] = float_of(four.z);
        part.v[n][3] = float_of(four.w);
        if (whole) continue;
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            if (k + i < width) part.v[n][i] = x[k + i];
        }
    }

    return part;
}

template <int COUNT>
DEVICE void give_part(float* y, const Part<COUNT>& part, int stripe, int width)
{
    bool whole = (width & 3) == 0;
#pragma unroll
    for (int n = 0; n < COUNT; n++)
    {
        int k = place_of(n, stripe, width);
        if (whole)
        {
            Bytes16 four = {bits_of(part.v[n][0]), bits_of(part.v[n][1]), bits_of(part.v[n][2]), bits_of(part.v[n][3])};
            if (k < width) *(Bytes16*)(y + k) = four;
            continue;
        }

#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            if (k + i < width) y[k + i] = part.v[n][i];
        }
    }
}

// The norm of a token, in place; numbers behind its width stay 0.
template <int COUNT>
DEVICE void norm_part(const Norm& norm, Part<COUNT>& x, const Part<COUNT>& weight, int stripe, int width, float* room)
{
    float mean = 0;
    if (norm.kind == LAYER)
    {
#pragma unroll
        for (int n = 0; n < COUNT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) mean += x.v[n][i];
        mean = block_sum(mean, room) / width;
#pragma unroll
        for (int n = 0; n < COUNT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
            {
                if (place_of(n, stripe, width) + i < width) x.v[n][i] -= mean;
            }
    }

    float squares = 0;
#pragma unroll
    for (int n = 0; n < COUNT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) squares = fused(x.v[n][i], x.v[n][i], squares);

    float scale = quotient(1, root(block_sum(squares, room) / width + norm.epsilon));
#pragma unroll
    for (int n = 0; n < COUNT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) x.v[n][i] = x.v[n][i] * scale * weight.v[n][i];
    if (!norm.bias) return;
    Part<COUNT> bias = part_of<COUNT>(norm.bias, stripe, width);
#pragma unroll
    for (int n = 0; n < COUNT; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) x.v[n][i] += bias.v[n][i];
}

// The residual stream through a norm, and as the next linears read it. A block has a token, and keeps it in registers.
// added: what is added to x first, or null; through a norm of its own where post has one, which is one of the sum where sums is set.
template <int COUNT>
DEVICE void norm_and_round(float* x, const float* added, const Norm& post, int sums, float scale, const Norm& norm, float* y, int width, const Rounded& rounded)
{
    SHARED static float room[32];
    SHARED static int counts[32];
    let_next_begin();
    int token = block_x(), stripe = rounded.segmentInputs == 96 ? 96 : 128;
    x += (s64)token * width;
    y += (s64)token * width;
    Part<COUNT> weight;
    if (norm.weight) weight = part_of<COUNT>(norm.weight, stripe, width);
    after_previous();
    Part<COUNT> own = part_of<COUNT>(x, stripe, width);
    if (added)
    {
        Part<COUNT> more = part_of<COUNT>(added + (s64)token * width, stripe, width);
        if (post.weight && !sums) norm_part(post, more, part_of<COUNT>(post.weight, stripe, width), stripe, width, room);
#pragma unroll
        for (int n = 0; n < COUNT; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) own.v[n][i] += scale * more.v[n][i];
        if (post.weight && sums) norm_part(post, own, part_of<COUNT>(post.weight, stripe, width), stripe, width, room);
        give_part(x, own, stripe, width);
    }

    if (norm.weight)
    {
        norm_part(norm, own, weight, stripe, width, room);
        give_part(y, own, stripe, width);
    }

    if (rounded.inputs == 0) return;
    if (rounded.bytes && !rounded.order && !rounded.outliers)
    {
#pragma unroll
        for (int n = 0; n < COUNT; n++)
        {
            if (n * warps() + warp() < stripes(rounded)) round_stripe(rounded, token, n * warps() + warp(), own.v[n], -1);
        }

        return;
    }

    barrier();
    round_token(rounded, token, norm.weight ? y : x, room, counts);
}

// Most threads of a block that has a token.
#define TOKEN_BLOCK 1024

#define NORM_ROUND(count) \
    KERNEL void THREADS(TOKEN_BLOCK) norm_round_##count(float* x, const float* added, const Norm post, int sums, float scale, const Norm norm, float* y, int width, const Rounded rounded) \
    { \
        norm_and_round<count>(x, added, post, sums, scale, norm, y, width, rounded); \
    }

// By how many times four numbers a thread has: 4,096 in all, or twice, or four times as many.
NORM_ROUND(1)
NORM_ROUND(2)
NORM_ROUND(4)

// What linears read, of numbers [tokens, xStride]; gathers: whether each slot has its token's. A warp has a stripe; where there are outliers, a block has a token.
KERNEL void THREADS(BLOCK) round_tokens(const float* x, int xStride, int gathers, const Rounded all)
{
    begin_after_previous();
    SHARED static float room[32];
    SHARED static int counts[32];
    int token = block_y();
    const Rounded rounded = of_row(all, token);
    x += (s64)(gathers ? rounded.slots[token].token : token) * xStride;
    if (rounded.outliers)
    {
        round_token(rounded, token, x, room, counts);
        return;
    }

    int stripe = block_x() * warps() + warp();
    float v[4];
    if (rounded.bytes)
    {
        if (stripe >= stripes(rounded)) return;
        read_stripe(rounded, x, stripe, v);
        round_stripe(rounded, token, stripe, v, -1);
        return;
    }

    for (int k = block_x() * threads() + thread(); k < rounded.stride; k += blocks_x() * threads())
    {
        rounded.floats[(s64)token * rounded.stride + k] = k < rounded.inputs ? x[rounded.order ? rounded.order[k] : k] : 0;
    }
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

DEVICE float activation(int kind, float x)
{
    if (kind == SILU) return x * sigmoid(x);
    if (kind == GELU) return x * normal(x);
    if (kind == GELU_TANH) return x * sigmoid(1.5957691216f * x * fused(0.044715f * x, x, 1));
    if (kind == GELU_SIGMOID) return x * sigmoid(1.702f * x);
    x = most(x, 0.0f);
    return kind == RELU_SQUARED ? x * x : x;
}

struct Gate
{
    float* gate;     // [rows, width]
    const float* up; // or null
    float limit;     // both are kept within it, and up is one more; 0 for none
    int kind;
    int width;
};

DEVICE float gated(const Gate& of, s64 place)
{
    float g = of.gate[place], u = of.up ? of.up[place] : 1;
    if (of.limit > 0)
    {
        g = least(g, of.limit);
        u = most(-of.limit, least(of.limit, u)) + 1;
    }

    return activation(of.kind, g) * u;
}

// activation(gate) * up, or activation(gate) where up is null, as the next linear reads it, which has no outliers; left in gate where that is nowhere. A warp has a stripe.
KERNEL void THREADS(BLOCK) gate_round(const Gate of, const Rounded all)
{
    begin_after_previous();
    int token = block_y();
    const Rounded rounded = of_row(all, token);
    s64 row = (s64)token * of.width;
    if (rounded.bytes)
    {
        int stripe = block_x() * warps() + warp(), width = stripe_inputs(rounded), first = stripe * width + lane() * 4;
        if (stripe >= stripes(rounded)) return;
        float v[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            int k = first + i;
            v[i] = lane() * 4 < width && k < rounded.inputs ? gated(of, row + (rounded.order ? rounded.order[k] : k)) : 0;
        }

        round_stripe(rounded, token, stripe, v, -1);
        return;
    }

    for (int k = block_x() * threads() + thread(); k < most(of.width, rounded.stride); k += blocks_x() * threads())
    {
        if (rounded.inputs == 0) of.gate[row + k] = gated(of, row + k);
        else rounded.floats[(s64)token * rounded.stride + k] = k < rounded.inputs ? gated(of, row + (rounded.order ? rounded.order[k] : k)) : 0;
    }
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

// The widest head, in numbers of a lane.
#define HEAD_NUMBERS 8

// A head's numbers, as many as each lane has of it: k = 32 n + lane.
struct Head
{
    float v[HEAD_NUMBERS];
};

// What a norm takes off, and multiplies by.
struct Shift
{
    float mean, scale;
};

DEVICE Head read_head(const float* x, int width)
{
    Head head;
#pragma unroll
    for (int n = 0; n < HEAD_NUMBERS; n++) head.v[n] = n * 32 + lane() < width ? x[n * 32 + lane()] : 0;
    return head;
}

// Of one head, by its warp.
DEVICE Shift shift_of(const Heads& h, const Head& x)
{
    Shift shift = {0, 0};
    if (h.normKind == LAYER)
    {
#pragma unroll
        for (int n = 0; n < HEAD_NUMBERS; n++) shift.mean += x.v[n];
        shift.mean = warp_sum(shift.mean) / h.headDim;
    }

    float squares = 0;
#pragma unroll
    for (int n = 0; n < HEAD_NUMBERS; n++)
    {
        float v = n * 32 + lane() < h.headDim ? x.v[n] - shift.mean : 0;
        squares = fused(v, v, squares);
    }

    shift.scale = quotient(1, root(warp_sum(squares) / h.headDim + h.epsilon));
    return shift;
}

// Of all heads of a token together, by the block.
DEVICE Shift shift_of(const Heads& h, const float* x, int width, float* room)
{
    Shift shift = {0, 0};
    if (h.normKind == LAYER)
    {
#pragma unroll 4
        for (int k = thread(); k < width; k += threads()) shift.mean += x[k];
        shift.mean = block_sum(shift.mean, room) / width;
    }

    float squares = 0;
#pragma unroll 4
    for (int k = thread(); k < width; k += threads()) squares = fused(x[k] - shift.mean, x[k] - shift.mean, squares);
    shift.scale = quotient(1, root(block_sum(squares, room) / width + h.epsilon));
    return shift;
}

// Turns a head to its position: row is a room for its numbers, which only its warp uses.
DEVICE void rotate(const Heads& h, Head& x, const Head& cosines, const Head& sines, float* row)
{
#pragma unroll
    for (int n = 0; n < HEAD_NUMBERS; n++) row[n * 32 + lane()] = x.v[n];
    __nvvm_bar_warp_sync(FULL);
#pragma unroll
    for (int n = 0; n < HEAD_NUMBERS; n++)
    {
        int k = n * 32 + lane();
        if (k >= 2 * h.half) continue;
        bool second = h.interleaved ? k & 1 : k >= h.half;
        float other = row[h.interleaved ? k ^ 1 : second ? k - h.half : k + h.half];
        x.v[n] = second ? x.v[n] * cosines.v[n] + other * sines.v[n] : x.v[n] * cosines.v[n] - other * sines.v[n];
    }
}

// Puts a head's key or value into its page: numbers at a distance of stride.
DEVICE void keep(const Head& x, u8* block, int slot, int stride, int start, int headDim, int bytes)
{
    float largest = 0;
#pragma unroll
    for (int n = 0; n < HEAD_NUMBERS; n++) largest = most(largest, magnitude(x.v[n]));
    float step = 0, inverse = 0;
    if (bytes)
    {
        step = quotient(warp_most(largest), 127);
        inverse = step == 0 ? 0 : quotient(1, step);
        if (lane() == 0) ((float*)(block + PAGE * headDim))[slot] = step;
    }

#pragma unroll
    for (int n = 0; n < HEAD_NUMBERS; n++)
    {
        int k = n * 32 + lane();
        if (k >= headDim) continue;
        if (bytes) ((s8*)block)[start + k * stride] = (s8)nearest(x.v[n] * inverse);
        // Half precision ends at 65504.
        else ((u16*)block)[start + k * stride] = float_to_half(least(65504.0f, most(-65504.0f, x.v[n])));
    }
}

// Norms queries and keys, turns them to their positions, and puts keys and values into their pages. A warp has a head; where all heads are normed together, a block has all of a token's.
KERNEL void THREADS(BLOCK) remember(const Heads h)
{
    begin_after_previous();
    SHARED static float room[32];
    SHARED static float rows[BLOCK / 32][HEAD_NUMBERS * 32];
    int token = block_y();
    float* queries = h.queries + (s64)token * h.heads * h.headDim;
    const float* keys = h.keys + (s64)token * h.kvHeads * h.headDim;
    const float* values = h.values + (s64)token * h.kvHeads * h.headDim;
    Row row = h.rows[token];
    Head cosines = {}, sines = {};
    if (h.cosines)
    {
#pragma unroll
        for (int n = 0; n < HEAD_NUMBERS; n++)
        {
            int k = n * 32 + lane(), pair = h.interleaved ? k >> 1 : k < h.half ? k : k - h.half;
            if (k >= 2 * h.half) continue;
            cosines.v[n] = h.cosines[token * h.half + pair];
            sines.v[n] = h.sines[token * h.half + pair];
        }
    }

    Shift query_shift = {0, 0}, key_shift = {0, 0};
    if (h.queryNorm && h.wholeNorm)
    {
        // Has barriers: afterwards each may be written.
        query_shift = shift_of(h, queries, h.heads * h.headDim, room);
        key_shift = shift_of(h, keys, h.kvHeads * h.headDim, room);
        barrier();
    }

    u8* layer = (u8*)h.pages[row.pages + row.position / PAGE] + h.layerOffset;
    int slot = row.position % PAGE;
    for (int n = block_x() * warps() + warp(); n < h.heads + 2 * h.kvHeads; n += blocks_x() * warps())
    {
        // First the queries, then the keys, then the values.
        bool is_query = n < h.heads, is_value = n >= h.heads + h.kvHeads;
        int head = is_query ? n : is_value ? n - h.heads - h.kvHeads : n - h.heads;
        Head own = read_head((is_query ? queries : is_value ? values : keys) + head * h.headDim, h.headDim);
        if (!is_value)
        {
            if (h.queryNorm)
            {
                const float* weight = is_query ? h.queryNorm : h.keyNorm;
                Head by = read_head(weight + (h.wholeNorm || h.eachNorm ? head * h.headDim : 0), h.headDim);
                Shift shift = h.wholeNorm ? is_query ? query_shift : key_shift : shift_of(h, own);
#pragma unroll
                for (int i = 0; i < HEAD_NUMBERS; i++) own.v[i] = (own.v[i] - shift.mean) * shift.scale * by.v[i];
            }

            // What was read of the row for the head before is read.
            __nvvm_bar_warp_sync(FULL);
            if (h.cosines) rotate(h, own, cosines, sines, rows[warp()]);
        }

        if (is_query)
        {
#pragma unroll
            for (int i = 0; i < HEAD_NUMBERS; i++)
            {
                if (i * 32 + lane() < h.headDim) queries[head * h.headDim + i * 32 + lane()] = own.v[i];
            }

            continue;
        }

        u8* block = layer + 2ll * head * h.blockBytes;
        if (is_value) keep(own, block + h.blockBytes, slot, 1, slot * h.headDim, h.headDim, h.bytes);
        else keep(own, block, slot, PAGE, slot, h.headDim, h.bytes);
    }
}

// Rows of x [.., width] that are wanted, one after the other.
KERNEL void THREADS(BLOCK) gather(const float* x, const int* wanted, float* y, int width)
{
    begin_after_previous();
    const float* from = x + (s64)wanted[block_x()] * width;
    for (int k = thread(); k < width; k += BLOCK) y[(s64)block_x() * width + k] = from[k];
}

// Numbers that a thread of the next kernel reads at a time.
#define TOGETHER 16

#define ROW_BLOCK 1024

// The first of the largest numbers of a row: what is not a number is none of them. A block has a row.
KERNEL void THREADS(ROW_BLOCK) largest(const float* x, int* found, int width)
{
    begin_after_previous();
    SHARED static float values[ROW_BLOCK / 32];
    SHARED static int places[ROW_BLOCK / 32];
    const float* row = x + (s64)block_x() * width;
    float value = -__builtin_inff();
    int place = 0x7fffffff;
    for (int start = thread(); start < width; start += TOGETHER * ROW_BLOCK)
    {
        // All are read before any is looked at; behind the row is its last one again.
        float v[TOGETHER];
#pragma unroll
        for (int i = 0; i < TOGETHER; i++) v[i] = row[least(start + i * ROW_BLOCK, width - 1)];
#pragma unroll
        for (int i = 0; i < TOGETHER; i++)
        {
            if (v[i] > value)
            {
                value = v[i];
                place = least(start + i * ROW_BLOCK, width - 1);
            }
        }
    }

#pragma unroll 1
    for (int round = 0; round < 2; round++)
    {
        // First in each warp, then of the warps.
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

        if (round > 0) break;
        if (lane() == 0)
        {
            values[warp()] = value;
            places[warp()] = place;
        }

        barrier();
        value = values[lane()];
        place = places[lane()];
    }

    // A row without a number has no largest: the first token, as good as any.
    if (thread() == 0) found[block_x()] = place < width ? place : 0;
}

// Logits, scaled and capped where the family does so.
KERNEL void THREADS(BLOCK) cap(float* logits, float scale, float cap, s64 count)
{
    begin_after_previous();
    for (s64 k = (s64)block_x() * BLOCK + thread(); k < count; k += (s64)blocks_x() * BLOCK)
    {
        float x = logits[k] * scale;
        // tanh x = 2 sigmoid(2 x) - 1
        if (cap != 0) x = cap * (2 * sigmoid(2 * quotient(x, cap)) - 1);
        logits[k] = x;
    }
}
