// Products of many tokens with quantized weights, on tensor cores: integers of eight bits, whose sums over a segment are exact, times both scales in float32.
//
// A warp has 32 rows (four tiles) and 64 tokens. Within a chunk the order of inputs is free, as long as weights and activations share it: lane 4 g + i takes the words 2 i and 2 i + 1 of
// row g, which is a word of a packed vector as it lies in memory, and the same eight bytes of the activations.
#include "linear.h"

#define MATRIX_THREADS 128
#define MATRIX_ROWS 128
#define MATRIX_TOKENS 64
#define MATRIX_STEP 128            // inputs that are staged at most
#define TOKEN_BYTES (MATRIX_STEP + 32) // eight tokens' eighths lie in different banks

#if FORMAT == CODEBOOK4 || FORMAT == INT8ROW
#define WEIGHT_TYPE "s8"
#else
#define WEIGHT_TYPE "u8"
#endif

// 16 rows (two tiles) by 8 tokens by a chunk.
DEVICE void multiply_chunk(int (&c)[4], const u32 (&a)[4], u32 b0, u32 b1)
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32." WEIGHT_TYPE ".s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
#define PART(x, y, weight, activation) \
    asm("mma.sync.aligned.m8n8k16.row.col.s32." WEIGHT_TYPE ".s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};" : "+r"(x), "+r"(y) : "r"(weight), "r"(activation))
    PART(c[0], c[1], a[0], b0);
    PART(c[0], c[1], a[2], b1);
    PART(c[2], c[3], a[1], b0);
    PART(c[2], c[3], a[3], b1);
#undef PART
#endif
}

KERNEL void THREADS(MATRIX_THREADS) multiply_matrix(const Linear* linears, int count, const Input x)
{
    SHARED static u8 staged[MATRIX_TOKENS * TOKEN_BYTES];
    SHARED static float token_scales[MATRIX_TOKENS];
    SHARED static int token_sums[MATRIX_TOKENS];
    int block = block_x(), which = 0;
    for (; which < count - 1; which++)
    {
        int blocks = (linears[which].outputs + MATRIX_ROWS - 1) / MATRIX_ROWS;
        if (block < blocks) break;
        block -= blocks;
    }

    const Linear& w = linears[which];
    int first_token = block_y() * MATRIX_TOKENS, tokens = least(MATRIX_TOKENS, x.tokens - first_token);
    int first_tile = block * (MATRIX_ROWS / TILE_ROWS) + warp() * 4, tiles = (w.outputs + TILE_ROWS - 1) / TILE_ROWS;
    int g = lane() >> 2, i = lane() & 3;
    float total[2][MATRIX_TOKENS / 8][4];
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int n = 0; n < MATRIX_TOKENS / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) total[m][n][e] = 0;

    // A segment at a time: its inputs share a scale of each token, and of each row.
    for (int segment = 0; segment < x.segments; segment++)
    {
        int start = segment * x.segmentHalves, end = least(start + x.segmentHalves, 2 * w.chunks);
        for (int from = start; from < end; from += MATRIX_STEP / 16)
        {
            int to = least(from + MATRIX_STEP / 16, end), pieces = to - from;
            barrier();
            for (int p = thread(); p < MATRIX_TOKENS * pieces; p += MATRIX_THREADS)
            {
                int token = p / pieces, piece = p % pieces;
                Bytes16 bytes = {0, 0, 0, 0};
                if (token < tokens) bytes = read16(x.bytes + (s64)(first_token + token) * x.stride + (from + piece) * 16);
                *(Bytes16*)(staged + token * TOKEN_BYTES + piece * 16 + (from & 1) * 16) = bytes;
            }

            if (thread() < MATRIX_TOKENS)
            {
                int token = thread(), sum = 0;
                float scale = 0;
                if (token < tokens)
                {
                    const int* sums = x.sums + (s64)(first_token + token) * (x.stride >> 4);
                    for (int half = from; half < to; half++) sum += sums[half];
                    scale = x.scales[(s64)(first_token + token) * x.segments + segment];
                }

                token_sums[token] = sum;
                token_scales[token] = scale;
            }

            barrier();
            int c[2][MATRIX_TOKENS / 8][4];
#pragma unroll
            for (int m = 0; m < 2; m++)
#pragma unroll
                for (int n = 0; n < MATRIX_TOKENS / 8; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) c[m][n][e] = 0;
            for (int chunk = from >> 1; chunk < (to + 1) >> 1; chunk++)
            {
                u32 a[2][4];
#pragma unroll
                for (int m = 0; m < 2; m++)
#pragma unroll
                    for (int part = 0; part < 2; part++)
                    {
                        int tile = least(first_tile + 2 * m + part, tiles - 1);
                        unpack_pair(w, w.weight + ((s64)tile * w.chunks + chunk) * CHUNK_BYTES + g * 4, i, a[m][part], a[m][2 + part]);
                        // Of a segment that is half a chunk, the other half counts for nothing: its words are those of lanes 2 and 3, or 0 and 1.
                        if (x.segmentHalves == 1 && (i >> 1) != (from & 1)) a[m][part] = a[m][2 + part] = 0;
                    }

                int place = (chunk - (from >> 1)) * CHUNK + i * 8;
#pragma unroll
                for (int n = 0; n < MATRIX_TOKENS / 8; n++)
                {
                    Bytes8 b = *(const Bytes8*)(staged + (n * 8 + g) * TOKEN_BYTES + place);
                    multiply_chunk(c[0][n], a[0], b.x, b.y);
                    multiply_chunk(c[1][n], a[1], b.x, b.y);
                }
            }

#pragma unroll
            for (int m = 0; m < 2; m++)
#pragma unroll
                for (int part = 0; part < 2; part++)
                {
                    int zero, row = row_with_scale(w, (first_tile + 2 * m + part) * TILE_ROWS + g);
                    float scale = scale_of(w, row, from, zero);
#pragma unroll
                    for (int n = 0; n < MATRIX_TOKENS / 8; n++)
#pragma unroll
                        for (int e = 0; e < 2; e++)
                        {
                            int token = n * 8 + i * 2 + e;
                            float& sum = total[m][n][2 * part + e];
                            sum = fused(scale * token_scales[token], (float)(c[m][n][2 * part + e] - zero * token_sums[token]), sum);
                        }
                }
        }
    }

#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int part = 0; part < 2; part++)
        {
            int tile = first_tile + 2 * m + part, row = tile * TILE_ROWS + g;
            if (tile >= tiles) continue;
#pragma unroll
            for (int n = 0; n < MATRIX_TOKENS / 8; n++)
#pragma unroll
                for (int e = 0; e < 2; e++)
                {
                    int token = n * 8 + i * 2 + e;
                    if (token >= tokens) continue;
                    float product = total[m][n][2 * part + e];
#if FORMAT == INT8ROW
                    if (x.outliers)
                    {
                        s64 t = first_token + token;
                        float scale = ((const float*)w.scales)[row] * (1.0f / 127);
                        for (int o = 0; o < x.outliers[t]; o++)
                        {
                            int k = x.places[t * x.stride + o];
                            const u8* p = w.weight + ((s64)tile * w.chunks + k / CHUNK) * CHUNK_BYTES + (k % CHUNK) / 4 * 32 + g * 4 + k % 4;
                            product = fused(x.values[t * x.stride + o] * scale, (float)*(const s8*)p, product);
                        }
                    }
#endif
                    give(w, first_token + token, row, product);
                }
        }
}
