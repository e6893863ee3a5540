// Products of one to eight tokens with quantized weights: at the speed at which the weights can be read, which they are once. A block has 16 rows, and its warps take turns at the segments.
#include "linear.h"

#define BLOCK 256
#define WARPS (BLOCK / 32)
#define ROWS 16
#define TOKENS 8

// A chunk of 16 rows by the tokens. counts: whether this lane's inputs do.
DEVICE void multiply_pairs(const u32 (&table)[4], const Pair (&pairs)[2], int i, const s8* bytes, int (&sums)[4], bool counts = true)
{
    u32 a[4];
    unpack(table, pairs[0], i, a[0], a[2]);
    unpack(table, pairs[1], i, a[1], a[3]);
    Bytes8 b = *(const Bytes8*)bytes;
    if (!counts) b.x = b.y = 0;
    multiply_chunk(sums, a, b.x, b.y);
}

// Some chunks: all weights are asked for before any is used.
template <int CHUNKS>
DEVICE void multiply_segment(const u32 (&table)[4], const u8* (&p)[2], int i, const s8* bytes, int (&sums)[4])
{
    Pair pairs[CHUNKS][2];
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
#pragma unroll
        for (int part = 0; part < 2; part++) pairs[c][part] = read_pair(p[part] + c * CHUNK_BYTES, i);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) multiply_pairs(table, pairs[c], i, bytes + c * CHUNK, sums);
}

KERNEL void THREADS(BLOCK) multiply(const Linear* linears, int count, const Input x)
{
    SHARED static float partial[WARPS][ROWS][TOKENS + 1];
    int block = block_x();
    const Linear& w = linears[find(linears, count, ROWS, block)];
    int g = lane() >> 2, i = lane() & 3, tiles = (w.outputs + TILE_ROWS - 1) / TILE_ROWS;
    // Of a last tile without a second, and of tokens that are not there, something else is computed, and not given.
    int tile[2] = {block * 2, least(block * 2 + 1, tiles - 1)};
    const u8* weights[2];
    int rows[2];
#pragma unroll
    for (int part = 0; part < 2; part++)
    {
        weights[part] = w.weight + (s64)tile[part] * w.chunks * CHUNK_BYTES + g * 4;
        rows[part] = row_with_scale(w, tile[part] * TILE_ROWS + g);
    }

    const s8* bytes = x.bytes + (s64)least(g, x.tokens - 1) * x.stride + i * 8;
    const Segment* of_even = x.segments + (s64)least(2 * i, x.tokens - 1) * x.segmentCount;
    const Segment* of_odd = x.segments + (s64)least(2 * i + 1, x.tokens - 1) * x.segmentCount;
    u32 table[4] = {w.tableBytes[0], w.tableBytes[1], w.tableBytes[2], w.tableBytes[3]};
    RowScales scales[2] = {scales_of(w, rows[0]), scales_of(w, rows[1])};
    float total[4] = {0, 0, 0, 0};
    for (int segment = warp(); segment < x.segmentCount; segment += WARPS)
    {
        int half = segment * x.segmentHalves, first = half >> 1, chunks = least((x.segmentHalves + 1) >> 1, w.chunks - first);
        const u8* p[2] = {weights[0] + (s64)first * CHUNK_BYTES, weights[1] + (s64)first * CHUNK_BYTES};
        const s8* q = bytes + first * CHUNK;
        int sums[4] = {0, 0, 0, 0};
        if (chunks == 4) multiply_segment<4>(table, p, i, q, sums);
        else if (chunks == 2) multiply_segment<2>(table, p, i, q, sums);
        else if (x.segmentHalves > 1)
        {
            for (int c = 0; c < chunks; c++)
            {
                Pair pairs[2] = {read_pair(p[0] + c * CHUNK_BYTES, i), read_pair(p[1] + c * CHUNK_BYTES, i)};
                multiply_pairs(table, pairs, i, q + c * CHUNK, sums);
            }
        }
        else
        {
            // Of a segment that is half a chunk, the other half counts for nothing: its bytes are those of lanes 2 and 3, or 0 and 1.
            Pair pairs[2] = {read_pair(p[0], i), read_pair(p[1], i)};
            multiply_pairs(table, pairs, i, q, sums, (i >> 1) == (half & 1));
        }

        Segment even = of_even[segment], odd = of_odd[segment];
        int group = group_of(w, half);
#pragma unroll
        for (int part = 0; part < 2; part++)
        {
            int zero;
            float scale = scale_at(w, scales[part], group, half, zero);
            total[2 * part] = fused(scale * even.scale, (float)(sums[2 * part] - zero * even.sum), total[2 * part]);
            total[2 * part + 1] = fused(scale * odd.scale, (float)(sums[2 * part + 1] - zero * odd.sum), total[2 * part + 1]);
        }
    }

#pragma unroll
    for (int e = 0; e < 4; e++) partial[warp()][(e >> 1) * TILE_ROWS + g][2 * i + (e & 1)] = total[e];
    barrier();
    int row = thread() / TOKENS, token = thread() % TOKENS;
    if (row >= ROWS || token >= x.tokens || block * ROWS + row >= w.outputs) return;
    float sum = outlier_sum(w, x, token, block * ROWS + row);
    for (int n = 0; n < WARPS; n++) sum += partial[n][row][token];
    give(w, token, block * ROWS + row, sum);
}

// The same with activations as they are: a block has a tile, and a lane one row of one chunk.
template <int TOGETHER>
DEVICE void multiply_floats(const Linear* linears, int count, const Input& x)
{
    SHARED static float partial[WARPS][TOGETHER][TILE_ROWS];
    int tile = block_x();
    const Linear& w = linears[find(linears, count, TILE_ROWS, tile)];
    int first_token = block_y() * TOGETHER, tokens = least(TOGETHER, x.tokens - first_token);
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
    give(w, first_token + token, tile * TILE_ROWS + thread() % TILE_ROWS, sum);
}

KERNEL void THREADS(BLOCK) multiply_float1(const Linear* linears, int count, const Input x) { multiply_floats<1>(linears, count, x); }
KERNEL void THREADS(BLOCK) multiply_float4(const Linear* linears, int count, const Input x) { multiply_floats<4>(linears, count, x); }

#if FORMAT == INT8ROW
// What the matrix kernel leaves out: a thread has a row.
KERNEL void THREADS(BLOCK) add_outliers(const Linear* linears, int count, const Input x)
{
    int block = block_x(), token = block_y();
    const Linear& w = linears[find(linears, count, BLOCK, block)];
    int row = block * BLOCK + thread();
    if (row >= w.outputs) return;
    float* y = w.y + (s64)token * w.yStride + row;
    *y = fused(w.adds ? w.scale : 1, outlier_sum(w, x, token, row), *y);
}
#endif
