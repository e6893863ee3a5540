// Products of one to eight tokens with quantized weights: a block has a tile of eight rows, its warps take turns at the chunks, and a lane has one row of one chunk. Every byte of the
// weights is read once, in whole sectors.
#include "linear.h"

#define BLOCK 256
#define WARPS (BLOCK / 32)

// What the outliers of a token add to a row: each is a number that was not rounded.
template <int TOKENS>
DEVICE void add_outliers(const Linear& w, const Input& x, int tile, int row, float (&sums)[TOKENS])
{
#if FORMAT == INT8ROW
    if (!x.outliers) return;
    float scale = ((const float*)w.scales)[tile * TILE_ROWS + row] * (1.0f / 127);
#pragma unroll
    for (int t = 0; t < TOKENS; t++)
    {
        int count = t < x.tokens ? x.outliers[t] : 0;
        for (int i = thread() / TILE_ROWS; i < count; i += BLOCK / TILE_ROWS)
        {
            int k = x.places[t * x.stride + i];
            const u8* p = w.weight + ((s64)tile * w.chunks + k / CHUNK) * CHUNK_BYTES + (k % CHUNK) / 4 * 32 + row * 4 + k % 4;
            sums[t] = fused(x.values[t * x.stride + i] * scale, (float)*(const s8*)p, sums[t]);
        }
    }
#endif
}

template <int TOKENS>
DEVICE void multiply_bytes(const Linear& w, const Input& x, int tile, float (&sums)[TOKENS])
{
    int r = lane() & 7, row = row_with_scale(w, tile * TILE_ROWS + r);
    const u8* tile_start = w.weight + (s64)tile * w.chunks * CHUNK_BYTES + r * 4;
    for (int chunk = warp() * 4 + (lane() >> 3); chunk < w.chunks; chunk += WARPS * 4)
    {
        u32 v[8];
        const u8* p = tile_start + (s64)chunk * CHUNK_BYTES;
#pragma unroll
        for (int i = 0; i < 4; i++) unpack_pair(w, p, i, v[2 * i], v[2 * i + 1]);
        int zero0, zero1 = 0;
        float scale0 = scale_of(w, row, 2 * chunk, zero0), scale1 = 0;
        if (x.segmentHalves == 1) scale1 = scale_of(w, row, 2 * chunk + 1, zero1);
        int segment = divided(2 * chunk, x.perSegment);
#pragma unroll
        for (int t = 0; t < TOKENS; t++)
        {
            if (t >= x.tokens) continue;
            const s8* bytes = x.bytes + (s64)t * x.stride + chunk * CHUNK;
            Bytes16 first = read16(bytes), second = read16(bytes + 16);
            const int* sum = x.sums + (t * x.stride >> 4) + 2 * chunk;
            const float* scales = x.scales + t * x.segments + segment;
            int low = DOT(v[0], first.x, DOT(v[1], first.y, DOT(v[2], first.z, DOT(v[3], first.w, 0))));
            int high = DOT(v[4], second.x, DOT(v[5], second.y, DOT(v[6], second.z, DOT(v[7], second.w, 0))));
            if (x.segmentHalves == 1)
            {
                sums[t] = fused(scale0 * scales[0], (float)(low - zero0 * sum[0]), sums[t]);
                sums[t] = fused(scale1 * scales[1], (float)(high - zero1 * sum[1]), sums[t]);
            }
            else
            {
                sums[t] = fused(scale0 * scales[0], (float)(low + high - zero0 * (sum[0] + sum[1])), sums[t]);
            }
        }
    }

    add_outliers<TOKENS>(w, x, tile, r, sums);
}

// The same with activations as they are.
template <int TOKENS>
DEVICE void multiply_floats(const Linear& w, const Input& x, int tile, float (&sums)[TOKENS])
{
    int r = lane() & 7, row = row_with_scale(w, tile * TILE_ROWS + r);
    const u8* tile_start = w.weight + (s64)tile * w.chunks * CHUNK_BYTES + r * 4;
    for (int chunk = warp() * 4 + (lane() >> 3); chunk < w.chunks; chunk += WARPS * 4)
    {
        const u8* p = tile_start + (s64)chunk * CHUNK_BYTES;
        for (int i = 0; i < 4; i++)
        {
            u32 pair[2];
#if FORMAT == CODEBOOK4
            u32 nibbles = read_once(p + i * 32);
            pair[0] = nibbles & 0x0f0f0f0fu;
            pair[1] = (nibbles >> 4) & 0x0f0f0f0fu;
#else
            unpack_pair(w, p, i, pair[0], pair[1]);
#endif
#if FORMAT != CODEBOOK4
            int zero;
            float scale = scale_of(w, row, 2 * chunk + (i >> 1), zero);
#endif
#pragma unroll
            for (int b = 0; b < 8; b++)
            {
                u32 byte = (pair[b >> 2] >> (8 * (b & 3))) & 0xff;
                int k = chunk * CHUNK + 8 * i + b;
                float weight;
#if FORMAT == CODEBOOK4
                // Where rows are not whole chunks, a block may begin at any input.
                s64 block = ((s64)row * w.inputs + least(k, w.inputs - 1)) >> w.shift;
                float absmax = w.nested ? w.map[((const u8*)w.scales)[block]] * w.nested[block >> 8] + w.offset : ((const float*)w.scales)[block];
                weight = w.table[byte] * absmax;
#elif FORMAT == INT8ROW
                weight = (float)(s8)byte * scale;
#else
                weight = (float)((int)byte - zero) * scale;
#endif
#pragma unroll
                for (int t = 0; t < TOKENS; t++)
                {
                    if (t < x.tokens) sums[t] = fused(weight, x.floats[(s64)t * x.stride + k], sums[t]);
                }
            }
        }
    }
}

template <int TOKENS, bool FLOATS>
DEVICE void multiply(const Linear* linears, int count, Input x)
{
    SHARED static float partial[WARPS][TOKENS][TILE_ROWS];
    int tile = block_x(), which = 0;
    for (; which < count - 1; which++)
    {
        int tiles = (linears[which].outputs + TILE_ROWS - 1) / TILE_ROWS;
        if (tile < tiles) break;
        tile -= tiles;
    }

    const Linear& w = linears[which];
    int first = block_y() * TOKENS;
    x.tokens = least(TOKENS, x.tokens - first);
    x.scales += (s64)first * x.segments;
    x.bytes += (s64)first * x.stride;
    x.sums += (s64)first * (x.stride >> 4);
    x.floats += (s64)first * x.stride;
    x.places += (s64)first * x.stride;
    x.values += (s64)first * x.stride;
    if (x.outliers) x.outliers += first;
    float sums[TOKENS];
#pragma unroll
    for (int t = 0; t < TOKENS; t++) sums[t] = 0;
    if (FLOATS) multiply_floats<TOKENS>(w, x, tile, sums);
    else multiply_bytes<TOKENS>(w, x, tile, sums);
#pragma unroll
    for (int t = 0; t < TOKENS; t++)
    {
        sums[t] += exchange(sums[t], 8);
        sums[t] += exchange(sums[t], 16);
        if (lane() < TILE_ROWS) partial[warp()][t][lane()] = sums[t];
    }

    barrier();
    int token = thread() / TILE_ROWS, row = thread() % TILE_ROWS;
    if (token >= x.tokens) return;
    float sum = 0;
    for (int i = 0; i < WARPS; i++) sum += partial[i][token][row];
    give(w, first + token, tile * TILE_ROWS + row, sum);
}

KERNEL void THREADS(BLOCK) multiply1(const Linear* linears, int count, const Input x) { multiply<1, false>(linears, count, x); }
KERNEL void THREADS(BLOCK) multiply2(const Linear* linears, int count, const Input x) { multiply<2, false>(linears, count, x); }
KERNEL void THREADS(BLOCK) multiply4(const Linear* linears, int count, const Input x) { multiply<4, false>(linears, count, x); }
KERNEL void THREADS(BLOCK) multiply8(const Linear* linears, int count, const Input x) { multiply<8, false>(linears, count, x); }
KERNEL void THREADS(BLOCK) multiply_float1(const Linear* linears, int count, const Input x) { multiply<1, true>(linears, count, x); }
KERNEL void THREADS(BLOCK) multiply_float4(const Linear* linears, int count, const Input x) { multiply<4, true>(linears, count, x); }
