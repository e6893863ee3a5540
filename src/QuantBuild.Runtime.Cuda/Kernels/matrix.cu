// Products of many tokens with quantized weights, on tensor cores: integers of eight bits, whose sums over a segment are exact, times both scales in float32. A block has 128 rows and 64 tokens, a
// warp of it 32 rows (four tiles). Outliers are left out.
#include "linear.h"

#define BLOCK 128
#define ROWS 128
#define TOKENS 64
#define TILES_OF_WARP 4
#define COLUMNS (TOKENS / 8)
#define SEGMENT_BYTES 128
#define PIECES (SEGMENT_BYTES / 16)
#define TOKEN_BYTES (SEGMENT_BYTES + 32) // so that the eighths of eight tokens lie in different banks
#define READS (TOKENS * PIECES / BLOCK)

// As a float, 12,582,912 and an integer that is added to the bits: a conversion without an instruction of its own. Sums of a segment are below 2^22: 128 products of 127 and 255.
#define FLOAT_BITS 0x4b400000
#define FLOAT_BASE 12582912.0f

// What the threads of a block bring of a segment to shared memory.
struct Staged
{
    Bytes16 bytes[READS];
    Segment of;
};

DEVICE Staged read(const Input& x, int first_token, int tokens, int segment)
{
    Staged staged;
    // Whole chunks, also where a segment is half of one.
    int first = segment * x.segmentHalves & ~1, count = least((x.segmentHalves + 1) & ~1, (x.stride >> 4) - first);
#pragma unroll
    for (int n = 0; n < READS; n++)
    {
        int token = (thread() + n * BLOCK) / PIECES, piece = (thread() + n * BLOCK) % PIECES;
        staged.bytes[n] = {0, 0, 0, 0};
        if (token < tokens && piece < count) staged.bytes[n] = read16(x.bytes + (s64)(first_token + token) * x.stride + (first + piece) * 16);
    }

    staged.of = {0, 0};
    if (thread() < tokens) staged.of = x.segments[(s64)(first_token + thread()) * x.segmentCount + segment];
    return staged;
}

KERNEL void THREADS(BLOCK) multiply_matrix(const Linear* linears, int count, const Input x)
{
    SHARED static Bytes16 shared[TOKENS * TOKEN_BYTES / 16];
    SHARED static Segment segments[TOKENS];
    u8* bytes = (u8*)shared;
    int block = block_x();
    const Linear& w = linears[find(linears, count, ROWS, block)];
    int first_token = block_y() * TOKENS, tokens = least(TOKENS, x.tokens - first_token);
    int first_tile = block * (ROWS / TILE_ROWS) + warp() * TILES_OF_WARP, tiles = (w.outputs + TILE_ROWS - 1) / TILE_ROWS;
    int g = lane() >> 2, i = lane() & 3;
    u32 table[4] = {w.tableBytes[0], w.tableBytes[1], w.tableBytes[2], w.tableBytes[3]};
    const u8* weights[TILES_OF_WARP];
    RowScales scales[TILES_OF_WARP];
    float total[TILES_OF_WARP][COLUMNS][2];
#pragma unroll
    for (int t = 0; t < TILES_OF_WARP; t++)
    {
        int tile = least(first_tile + t, tiles - 1);
        weights[t] = w.weight + (s64)tile * w.chunks * CHUNK_BYTES + g * 4;
        scales[t] = scales_of(w, row_with_scale(w, tile * TILE_ROWS + g));
#pragma unroll
        for (int n = 0; n < COLUMNS; n++) total[t][n][0] = total[t][n][1] = 0;
    }

    Staged next = read(x, first_token, tokens, 0);
    for (int segment = 0; segment < x.segmentCount; segment++)
    {
        barrier();
#pragma unroll
        for (int n = 0; n < READS; n++)
        {
            int p = thread() + n * BLOCK;
            *(Bytes16*)(bytes + p / PIECES * TOKEN_BYTES + p % PIECES * 16) = next.bytes[n];
        }

        if (thread() < TOKENS) segments[thread()] = next.of;
        barrier();
        // The next segment is under way while this one is computed.
        if (segment + 1 < x.segmentCount) next = read(x, first_token, tokens, segment + 1);
        int c[TILES_OF_WARP / 2][COLUMNS][4];
#pragma unroll
        for (int m = 0; m < TILES_OF_WARP / 2; m++)
#pragma unroll
            for (int n = 0; n < COLUMNS; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) c[m][n][e] = FLOAT_BITS;
        int half = segment * x.segmentHalves, first = half >> 1, chunks = least((x.segmentHalves + 1) >> 1, w.chunks - first);
        for (int chunk = 0; chunk < chunks; chunk++)
        {
            u32 a[TILES_OF_WARP / 2][4];
#pragma unroll
            for (int t = 0; t < TILES_OF_WARP; t++)
            {
                u32 &even = a[t >> 1][t & 1], &odd = a[t >> 1][2 + (t & 1)];
                unpack(table, read_pair(weights[t] + (s64)(first + chunk) * CHUNK_BYTES, i), i, even, odd);
                // Of a segment that is half a chunk, the other half counts for nothing: its words are those of lanes 2 and 3, or 0 and 1.
                if (x.segmentHalves == 1 && (i >> 1) != (half & 1)) even = odd = 0;
            }

#pragma unroll
            for (int n = 0; n < COLUMNS; n++)
            {
                Bytes8 b = *(const Bytes8*)(bytes + (n * 8 + g) * TOKEN_BYTES + chunk * CHUNK + i * 8);
#pragma unroll
                for (int m = 0; m < TILES_OF_WARP / 2; m++) multiply_chunk(c[m][n], a[m], b.x, b.y);
            }
        }

        int zero[TILES_OF_WARP], group = group_of(w, half);
        float scale[TILES_OF_WARP];
#pragma unroll
        for (int t = 0; t < TILES_OF_WARP; t++) scale[t] = scale_at(w, scales[t], group, half, zero[t]);
#pragma unroll
        for (int n = 0; n < COLUMNS; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
            {
                Segment of = segments[n * 8 + i * 2 + e];
#pragma unroll
                for (int t = 0; t < TILES_OF_WARP; t++)
                {
                    float sum = float_of((u32)(c[t >> 1][n][2 * (t & 1) + e] - zero[t] * of.sum)) - FLOAT_BASE;
                    total[t][n][e] = fused(scale[t] * of.scale, sum, total[t][n][e]);
                }
            }
    }

#pragma unroll
    for (int t = 0; t < TILES_OF_WARP; t++)
#pragma unroll
        for (int n = 0; n < COLUMNS; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
            {
                int token = n * 8 + i * 2 + e;
                if (token < tokens) give(w, first_token + token, (first_tile + t) * TILE_ROWS + g, total[t][n][e]);
            }
}
