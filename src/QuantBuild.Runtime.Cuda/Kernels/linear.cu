// Products of one to eight tokens with quantized weights: at the speed at which the weights can be read, which they are once. A block has 16 rows, and its warps take turns at stripes of their
// inputs. Each warp has some stripes under way to shared memory while it computes another: so many bytes have to be, for memory to be busy all the time.
#include "linear.h"

#define BLOCK 256
#define WARPS (BLOCK / 32)
#define ROWS 16
#define TILES (ROWS / TILE_ROWS)
#define TOKENS 8

// Inputs of a stripe: whole segments, at most eight of them.
#define STRIPE_CHUNKS 4
#define STRIPE_HALVES (2 * STRIPE_CHUNKS)

// Whether scales are those of groups: they lie side by side for the rows of a tile, and pass through shared memory too.
#define GROUPED (FORMAT != CODEBOOK4 && FORMAT != INT8ROW)

// Stripes of a warp that are under way: some 32 KB for a block.
#if WORDS == 8
#define STAGES 2
#elif FORMAT == INT4 || FORMAT == INT3
#define STAGES 3
#else
#define STAGES 4
#endif

struct alignas(16) Stage
{
    u8 weights[TILES][STRIPE_CHUNKS * CHUNK_BYTES];
#if GROUPED
    // Of each segment, though several may have a group's.
    u16 scales[TILES][STRIPE_HALVES][TILE_ROWS];
    u8 zeros[TILES][STRIPE_HALVES][TILE_ROWS];
#endif
};

// Half chunks of a stripe, by those of a segment: 8, or 6 where a segment has that many.
DEVICE int stripe_halves(int each) { return each == 6 ? 6 : STRIPE_HALVES; }

// What a lane copies of every stripe.
struct Source
{
    const u8* weights[TILES];
    int chunks; // of a row
#if GROUPED
    const u8* scales; // or zero points, of one tile in one segment of the stripe
    int bytes;        // that they are: 16 or 8, or 0 where there are none
    int half;         // where the segment begins in the stripe
    int place;        // where they go in a stage
    int groups;
    u32 perGroup;
#endif
};

DEVICE Source source_of(const Linear& w, int each, const int (&tile)[TILES])
{
    Source source;
    source.chunks = w.chunks;
#pragma unroll
    for (int part = 0; part < TILES; part++) source.weights[part] = w.weight + (s64)tile[part] * w.chunks * CHUNK_BYTES + lane() * 16;
#if GROUPED
    // Eight lanes each: scales of the first tile, of the second, zero points of the first, of the second.
    int part = (lane() >> 3) & 1, segment = lane() & 7;
    bool zeros = lane() >= 16;
    s64 first = (s64)(part ? tile[1] : tile[0]) * w.groups * TILE_ROWS;
    source.scales = zeros ? w.zeros + first : (const u8*)w.scales + 2 * first;
    source.bytes = !zeros ? 16 : w.zeros ? 8 : 0;
    source.half = segment * each;
    source.place = (part * STRIPE_HALVES + segment) * source.bytes + (int)(zeros ? __builtin_offsetof(Stage, zeros) : __builtin_offsetof(Stage, scales));
    source.groups = w.groups;
    source.perGroup = w.perGroup;
#endif
    return source;
}

// Starts to copy a stripe, if there is one.
DEVICE void start(const Source& w, int each, int stripe, Stage& stage)
{
    int halves = stripe_halves(each), first = stripe * halves, end = least(halves, 2 * w.chunks - first);
#pragma unroll
    for (int part = 0; part < TILES; part++)
#pragma unroll
        for (int piece = 0; piece < STRIPE_CHUNKS * CHUNK_BYTES; piece += 32 * 16)
        {
            int place = piece + lane() * 16;
            if (place < end * (CHUNK_BYTES / 2)) copy16(stage.weights[part] + place, w.weights[part] + (s64)first * (CHUNK_BYTES / 2) + piece);
        }

#if GROUPED
    if (w.half < end)
    {
        const u8* from = w.scales + (s64)least(w.groups - 1, divided(first + w.half, w.perGroup)) * w.bytes;
        if (w.bytes == 16) copy16((u8*)&stage + w.place, from);
        if (w.bytes == 8) copy8((u8*)&stage + w.place, from);
    }
#endif
    end_group();
}

#if FORMAT == CODEBOOK4
// Absolute maxima of blocks as they are in memory: read a stripe ahead, each by one lane. Lane 8 part + row has those of that row in the stripe's first and third segment, the lane 16 behind it
// the second's and the fourth's.
struct Maxima
{
    u32 value[2];
    float nested[2];
};

DEVICE void read_maxima(const Linear& w, int each, s64 row_start, int stripe, Maxima& maxima)
{
    int halves = stripe_halves(each);
#pragma unroll
    for (int n = 0; n < 2; n++)
    {
        int in_stripe = (2 * n + (lane() >> 4)) * each, half = stripe * halves + in_stripe;
        if (in_stripe >= halves || half >= 2 * w.chunks) continue;
        s64 block = (row_start + half * (CHUNK / 2)) >> w.shift;
        maxima.value[n] = w.map ? ((const u8*)w.scales)[block] : ((const u32*)w.scales)[block];
        if (w.nested) maxima.nested[n] = w.nested[block >> 8];
    }
}

DEVICE void store_maxima(const Linear& w, int each, const Maxima& maxima, float (&scales)[STRIPE_CHUNKS][ROWS])
{
#pragma unroll
    for (int n = 0; n < 2; n++)
    {
        if ((2 * n + (lane() >> 4)) * each >= stripe_halves(each)) continue;
        float maximum = float_of(maxima.value[n]);
        if (w.map) maximum = w.map[maxima.value[n] & 0xff];
        if (w.nested) maximum = maximum * maxima.nested[n] + w.offset;
        scales[2 * n + (lane() >> 4)][lane() & 15] = maximum * (1.0f / 127);
    }
}
#endif

// 16 rows by the tokens by some chunks of a segment. p: this lane's words; bytes: its activations.
template <int CHUNKS>
DEVICE void multiply_segment(const u32 (&table)[4], const u8* p, int i, const s8* bytes, int (&sums)[4])
{
    Bytes8 b[CHUNKS];
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) b[c] = *(const Bytes8*)(bytes + c * CHUNK);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
    {
        u32 a[4];
        unpack(table, stored_pair(p + c * CHUNK_BYTES, i), i, a[0], a[2]);
        unpack(table, stored_pair(p + (STRIPE_CHUNKS + c) * CHUNK_BYTES, i), i, a[1], a[3]);
        multiply_chunk(sums, a, b[c].x, b[c].y);
    }
}

// The same by half a chunk: the other half counts for nothing, whose bytes are those of lanes 2 and 3, or 0 and 1.
DEVICE void multiply_half(const u32 (&table)[4], const u8* p, int i, const s8* bytes, int half, int (&sums)[4])
{
    u32 a[4];
    Bytes8 b = *(const Bytes8*)bytes;
    if ((i >> 1) != half) b.x = b.y = 0;
    unpack(table, stored_pair(p, i), i, a[0], a[2]);
    unpack(table, stored_pair(p + STRIPE_CHUNKS * CHUNK_BYTES, i), i, a[1], a[3]);
    multiply_chunk(sums, a, b.x, b.y);
}

// EACH: half chunks of a segment, or 0 for any number, as x says.
template <int EACH>
DEVICE void multiply_stripes(const Linear* linears, int count, Input x)
{
    SHARED static Stage stages[WARPS][STAGES];
    SHARED static float partial[WARPS][ROWS][TOKENS + 1];
    let_next_begin();
    int block = block_x(), first_row = x.runs ? enter_run(linears, count, x) : 0;
    if (first_row < 0) return;
    // A copy: what is read of it once need not be read again.
    Linear w = linears[find(linears, count, ROWS, block)];
    // Another expert may have more rows.
    if (block * ROWS >= w.outputs) return;
    w.y += (s64)first_row * w.yStride;
    int g = lane() >> 2, i = lane() & 3, tiles = (w.outputs + TILE_ROWS - 1) / TILE_ROWS, each = EACH ? EACH : x.segmentHalves, halves = stripe_halves(each), segments = halves / each;
    // Of a last tile without a second, and of tokens that are not there, something else is computed, and not given.
    int tile[TILES] = {block * 2, least(block * 2 + 1, tiles - 1)};
    Source source = source_of(w, each, tile);
    Stage(&own)[STAGES] = stages[warp()];
#pragma unroll
    for (int n = 0; n < STAGES; n++) start(source, each, warp() + n * WARPS, own[n]);
#if FORMAT == CODEBOOK4
    SHARED static float scales_of_warps[WARPS][STRIPE_CHUNKS][ROWS];
    const u32 table[4] = {w.tableBytes[0], w.tableBytes[1], w.tableBytes[2], w.tableBytes[3]};
    s64 row_start = (s64)row_with_scale(w, (lane() & 8 ? tile[1] : tile[0]) * TILE_ROWS + (lane() & 7)) * w.inputs;
    Maxima next = {};
    read_maxima(w, each, row_start, warp(), next);
#else
    const u32 table[4] = {};
#endif
#if FORMAT == INT8ROW
    float row_scales[TILES];
#pragma unroll
    for (int part = 0; part < TILES; part++) row_scales[part] = scales_of(w, row_with_scale(w, tile[part] * TILE_ROWS + g)).scale;
#endif

    after_previous();
    const s8* bytes = x.bytes + (s64)least(g, x.tokens - 1) * x.stride + i * 8;
    const Segment* of_even = x.segments + (s64)least(2 * i, x.tokens - 1) * x.segmentCount;
    const Segment* of_odd = x.segments + (s64)least(2 * i + 1, x.tokens - 1) * x.segmentCount;
    float total[4] = {0, 0, 0, 0};
    int turn = 0;
    for (int stripe = warp(); stripe * halves < 2 * w.chunks; stripe += WARPS)
    {
        Stage& stage = own[turn];
        turn = turn + 1 == STAGES ? 0 : turn + 1;
        int first = stripe * halves, end = least(halves, 2 * w.chunks - first);
        wait_groups<STAGES - 1>();
#if FORMAT == CODEBOOK4
        store_maxima(w, each, next, scales_of_warps[warp()]);
        read_maxima(w, each, row_start, stripe + WARPS, next);
#endif
        __nvvm_bar_warp_sync(FULL);
#pragma unroll 1
        for (int s = 0, half = 0; half < end; s++, half += each)
        {
            Segment even = of_even[stripe * segments + s], odd = of_odd[stripe * segments + s];
            int chunk = half >> 1, chunks = (least(half + each, end) - half + 1) >> 1, sums[4] = {0, 0, 0, 0};
            const u8* p = stage.weights[0] + chunk * CHUNK_BYTES + g * 4;
            const s8* q = bytes + ((first >> 1) + chunk) * CHUNK;
            if (EACH && chunks == EACH / 2) multiply_segment<EACH / 2>(table, p, i, q, sums);
            else if (each == 1) multiply_half(table, p, i, q, half & 1, sums);
            else
            {
                for (int c = 0; c < chunks; c++) multiply_segment<1>(table, p + c * CHUNK_BYTES, i, q + c * CHUNK, sums);
            }

#pragma unroll
            for (int part = 0; part < TILES; part++)
            {
                int zero = 0;
#if GROUPED
                zero = w.zeros ? stage.zeros[part][s][g] : w.zero;
                float scale = half_to_float(stage.scales[part][s][g]);
#elif FORMAT == CODEBOOK4
                float scale = scales_of_warps[warp()][s][part * TILE_ROWS + g];
#else
                float scale = row_scales[part];
#endif
                total[2 * part] = fused(scale * even.scale, (float)(sums[2 * part] - zero * even.sum), total[2 * part]);
                total[2 * part + 1] = fused(scale * odd.scale, (float)(sums[2 * part + 1] - zero * odd.sum), total[2 * part + 1]);
            }
        }

        // All of the warp have read what is overwritten next.
        __nvvm_bar_warp_sync(FULL);
        start(source, each, stripe + STAGES * WARPS, stage);
    }

#pragma unroll
    for (int e = 0; e < 4; e++) partial[warp()][(e >> 1) * TILE_ROWS + g][2 * i + (e & 1)] = total[e];
    barrier();
    int row = thread() / TOKENS, token = thread() % TOKENS;
    if (row >= ROWS || token >= x.tokens || block * ROWS + row >= w.outputs) return;
    float sum = outlier_sum(w, x, token, block * ROWS + row);
#pragma unroll
    for (int n = 0; n < WARPS; n++) sum += partial[n][row][token];
    give(w, token, block * ROWS + row, sum);
}

KERNEL void THREADS_BLOCKS(BLOCK, 3) multiply(const Linear* linears, int count, const Input x) { multiply_stripes<0>(linears, count, x); }
KERNEL void THREADS_BLOCKS(BLOCK, 3) multiply_64(const Linear* linears, int count, const Input x) { multiply_stripes<4>(linears, count, x); }
KERNEL void THREADS_BLOCKS(BLOCK, 3) multiply_128(const Linear* linears, int count, const Input x) { multiply_stripes<8>(linears, count, x); }

// The same with activations as they are: a block has a tile, and a lane one row of one chunk.
template <int TOGETHER>
DEVICE void multiply_floats(const Linear* linears, int count, Input x)
{
    SHARED static float partial[WARPS][TOGETHER][TILE_ROWS];
    begin_after_previous();
    int tile = block_x(), first_row = x.runs ? enter_run(linears, count, x) : 0;
    int first_token = block_y() * TOGETHER, tokens = least(TOGETHER, x.tokens - first_token);
    if (first_row < 0 || tokens <= 0) return;
    const Linear& w = linears[find(linears, count, TILE_ROWS, tile)];
    if (tile * TILE_ROWS >= w.outputs) return;
    int r = lane() & 7, row = row_with_scale(w, tile * TILE_ROWS + r);
    const u8* start = w.weight + (s64)tile * w.chunks * CHUNK_BYTES + r * 4;
    const float* floats = x.floats + (s64)first_token * x.stride;
    float sums[TOGETHER];
#pragma unroll
    for (int t = 0; t < TOGETHER; t++) sums[t] = 0;
    for (int chunk = warp() * 4 + (lane() >> 3); chunk < w.chunks; chunk += WARPS * 4)
    {
        for (int i = 0; i < 4; i++)
        {
            Pair pair = read_pair(start + (s64)chunk * CHUNK_BYTES, i);
            u32 words[2];
#if FORMAT == CODEBOOK4
            words[0] = pair.first & 0x0f0f0f0fu;
            words[1] = (pair.first >> 4) & 0x0f0f0f0fu;
#else
            const u32 none[4] = {};
            unpack(none, pair, i, words[0], words[1]);
            int zero;
            int half = 2 * chunk + (i >> 1);
            float scale = scale_at(w, scales_of(w, row), group_of(w, half), half, zero);
#endif
#pragma unroll
            for (int b = 0; b < 8; b++)
            {
                u32 byte = (words[b >> 2] >> (8 * (b & 3))) & 0xff;
                int k = chunk * CHUNK + 8 * i + b;
                float weight;
#if FORMAT == CODEBOOK4
                // Where rows are not whole chunks, a block may begin at any input.
                s64 block = ((s64)row * w.inputs + least(k, w.inputs - 1)) >> w.shift;
                weight = w.table[byte] * maximum_of(w, block);
#elif FORMAT == INT8ROW
                weight = (float)(s8)byte * scale;
#else
                weight = (float)((int)byte - zero) * scale;
#endif
#pragma unroll
                for (int t = 0; t < TOGETHER; t++)
                {
                    if (t < tokens) sums[t] = fused(weight, floats[(s64)t * x.stride + k], sums[t]);
                }
            }
        }
    }

#pragma unroll
    for (int t = 0; t < TOGETHER; t++)
    {
        sums[t] += exchange(sums[t], 8);
        sums[t] += exchange(sums[t], 16);
        if (lane() < TILE_ROWS) partial[warp()][t][lane()] = sums[t];
    }

    barrier();
    int token = thread() / TILE_ROWS;
    if (token >= tokens) return;
    float sum = 0;
    for (int n = 0; n < WARPS; n++) sum += partial[n][token][thread() % TILE_ROWS];
    give(w, first_row + first_token + token, tile * TILE_ROWS + thread() % TILE_ROWS, sum);
}

KERNEL void THREADS_BLOCKS(BLOCK, 4) multiply_float1(const Linear* linears, int count, const Input x) { multiply_floats<1>(linears, count, x); }
KERNEL void THREADS_BLOCKS(BLOCK, 4) multiply_float4(const Linear* linears, int count, const Input x) { multiply_floats<4>(linears, count, x); }

#if FORMAT == INT8ROW
// What the matrix kernel leaves out: a thread has a row.
KERNEL void THREADS(BLOCK) add_outliers(const Linear* linears, int count, const Input all)
{
    begin_after_previous();
    Input x = all;
    int block = block_x(), token = block_y(), first_row = x.runs ? enter_run(linears, count, x) : 0;
    if (first_row < 0 || token >= x.tokens) return;
    const Linear& w = linears[find(linears, count, BLOCK, block)];
    int row = block * BLOCK + thread();
    if (row >= w.outputs) return;
    float* y = w.y + (s64)(first_row + token) * w.yStride + row;
    *y = fused(w.adds ? w.scale : 1, outlier_sum(w, x, token, row), *y);
}
#endif
