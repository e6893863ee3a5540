// Attention of many tokens of a text, on tensor cores (Dao et al., 2022; Dao, 2023): a block has up to 64 consecutive tokens of one text and a query head, a warp 16 of them. Pages pass through
// shared memory one after the other, in half precision; scores, maxima, sums and results are float32.
#include "pages.h"

#define BLOCK 128
#define WARPS (BLOCK / 32)
#define TOKENS_OF_WARP 16
#define TOKENS (WARPS * TOKENS_OF_WARP)
#define PAD 8 // halves behind a row, so that eight rows lie in different banks

// Consecutive tokens of one text.
struct Tile
{
    int first;
    int count;
};

DEVICE u32 pack(float low, float high)
{
    return (u32)float_to_half(most(-65504.0f, least(65504.0f, low))) | (u32)float_to_half(most(-65504.0f, least(65504.0f, high))) << 16;
}

// c += a b: 16 by 16 times 16 by 8.
DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1)
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
#define PART(x, y, b) \
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};" \
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(x), "r"(y), "r"(b))
    PART(a[0], a[1], b0);
    PART(a[2], a[3], b1);
#undef PART
#endif
}

// 16 rows by 16 columns of a matrix in shared memory, transposed: what two products read as their second factors.
DEVICE void read_transposed(u32 (&b)[4], const u16* matrix, int stride, int row, int column)
{
    int n = lane() >> 3;
    const u16* p = matrix + (row + (n & 1) * 8 + (lane() & 7)) * stride + column + (n >> 1) * 8;
    u32 address = (u32)(u64)(__attribute__((address_space(3))) const u16*)p;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3]) : "r"(address) : "memory");
}

// The largest, or the sum, of a row's scores, of which four lanes have a part each.
DEVICE float row_most(float x)
{
    x = most(x, exchange(x, 1));
    return most(x, exchange(x, 2));
}

DEVICE float row_sum(float x)
{
    x += exchange(x, 1);
    return x + exchange(x, 2);
}

template <int DIM> // the head's dimensions, rounded up
DEVICE void attend(const Attention& a, const Tile* tiles)
{
    SHARED static __attribute__((aligned(16))) u16 keys[DIM * (PAGE + PAD)];
    SHARED static __attribute__((aligned(16))) u16 values[PAGE * (DIM + PAD)];
    SHARED static float key_steps[PAGE], value_steps[PAGE]; // of keys and values in bytes
    int head = block_x(), kv_head = head / (a.heads / a.kvHeads);
    Tile tile = tiles[block_y()];
    int g = lane() >> 2, i = lane() & 3;
    int token[2], position[2];
#pragma unroll
    for (int part = 0; part < 2; part++)
    {
        // Tokens that are not there are computed as the last one, and not given.
        token[part] = tile.first + least(tile.count - 1, warp() * TOKENS_OF_WARP + part * 8 + g);
        position[part] = a.rows[token[part]].position;
    }

    u32 query[DIM / 16][4];
#pragma unroll
    for (int k = 0; k < DIM / 16; k++)
#pragma unroll
        for (int e = 0; e < 4; e++)
        {
            int dim = k * 16 + (e >> 1) * 8 + 2 * i;
            const float* q = a.queries + ((s64)token[e & 1] * a.heads + head) * a.headDim;
            query[k][e] = pack(dim < a.headDim ? q[dim] : 0, dim + 1 < a.headDim ? q[dim + 1] : 0);
        }

    float result[DIM / 8][4], maximum[2] = {-__builtin_inff(), -__builtin_inff()}, sum[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < DIM / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) result[n][e] = 0;

    float slope = a.slopes ? a.slopes[head] : 0;
    Row first = a.rows[tile.first];
    int from = most(0, first.position + 1 - a.window) / PAGE, to = (first.position + tile.count - 1) / PAGE;
    for (int page = from; page <= to; page++)
    {
        const u8* source = (const u8*)a.pages[first.pages + page] + a.layerOffset + 2ll * kv_head * a.blockBytes;
        barrier();
        if (a.bytes)
        {
            // Bytes are halves exactly; their steps are multiplied in float32.
            if (thread() < PAGE)
            {
                key_steps[thread()] = ((const float*)(source + PAGE * a.headDim))[thread()];
                value_steps[thread()] = ((const float*)(source + a.blockBytes + PAGE * a.headDim))[thread()];
            }

            for (int n = thread(); n < DIM * PAGE; n += BLOCK)
            {
                int dim = n / PAGE, slot = n % PAGE;
                keys[dim * (PAGE + PAD) + slot] = dim < a.headDim ? float_to_half((float)((const s8*)source)[n]) : 0;
            }

            for (int n = thread(); n < PAGE * DIM; n += BLOCK)
            {
                int slot = n / DIM, dim = n % DIM;
                values[slot * (DIM + PAD) + dim] = dim < a.headDim ? float_to_half((float)((const s8*)source)[a.blockBytes + slot * a.headDim + dim]) : 0;
            }
        }
        else
        {
            // Two numbers at a time: a head may have any even width.
            for (int n = thread(); n < DIM * PAGE / 2; n += BLOCK)
            {
                int dim = n / (PAGE / 2), slot = n % (PAGE / 2) * 2;
                *(u32*)(keys + dim * (PAGE + PAD) + slot) = dim < a.headDim ? ((const u32*)source)[n] : 0;
            }

            for (int n = thread(); n < PAGE * DIM / 2; n += BLOCK)
            {
                int slot = n / (DIM / 2), dim = n % (DIM / 2) * 2;
                *(u32*)(values + slot * (DIM + PAD) + dim) = dim < a.headDim ? ((const u32*)(source + a.blockBytes))[(slot * a.headDim + dim) / 2] : 0;
            }
        }

        barrier();
        float score[PAGE / 8][4];
#pragma unroll
        for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) score[n][e] = 0;
#pragma unroll
        for (int k = 0; k < DIM / 16; k++)
#pragma unroll
            for (int n = 0; n < PAGE / 16; n++)
            {
                u32 b[4];
                read_transposed(b, keys, PAGE + PAD, k * 16, n * 16);
                multiply(score[2 * n], query[k], b[0], b[1]);
                multiply(score[2 * n + 1], query[k], b[2], b[3]);
            }

        float largest[2] = {maximum[0], maximum[1]};
#pragma unroll
        for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
            {
                float s = score[n][e] * a.scale;
                if (a.bytes) s *= key_steps[n * 8 + 2 * i + (e & 1)];
                if (a.cap != 0) s = capped(s, a.cap);
                int place = page * PAGE + n * 8 + 2 * i + (e & 1), own = position[e >> 1];
                s = fused(slope, (float)(place - own), s);
                if (place > own || own - place >= a.window) s = -__builtin_inff();
                score[n][e] = s;
                largest[e >> 1] = most(largest[e >> 1], s);
            }

        float past[2];
#pragma unroll
        for (int part = 0; part < 2; part++)
        {
            largest[part] = row_most(largest[part]);
            // A page whose tokens are all out of sight has none.
            float shift = largest[part] == -__builtin_inff() ? 0 : largest[part];
            past[part] = exponential(maximum[part] - shift);
            maximum[part] = largest[part];
            float added = 0;
#pragma unroll
            for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
                for (int e = 0; e < 2; e++)
                {
                    float weight = exponential(score[n][2 * part + e] - shift);
                    score[n][2 * part + e] = a.bytes ? weight * value_steps[n * 8 + 2 * i + e] : weight;
                    added += weight;
                }

            sum[part] = fused(sum[part], past[part], row_sum(added));
        }

#pragma unroll
        for (int n = 0; n < DIM / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) result[n][e] *= past[e >> 1];
#pragma unroll
        for (int k = 0; k < PAGE / 16; k++)
        {
            // The results of one product are the first factors of the next as they lie in the lanes.
            u32 weights[4] = {
                pack(score[2 * k][0], score[2 * k][1]), pack(score[2 * k][2], score[2 * k][3]),
                pack(score[2 * k + 1][0], score[2 * k + 1][1]), pack(score[2 * k + 1][2], score[2 * k + 1][3])};
#pragma unroll
            for (int n = 0; n < DIM / 16; n++)
            {
                u32 b[4];
                read_transposed(b, values, DIM + PAD, k * 16, n * 16);
                multiply(result[2 * n], weights, b[0], b[1]);
                multiply(result[2 * n + 1], weights, b[2], b[3]);
            }
        }
    }

#pragma unroll
    for (int part = 0; part < 2; part++)
    {
        if (warp() * TOKENS_OF_WARP + part * 8 + g >= tile.count) continue;
        float share = quotient(1, with_sink(a, head, maximum[part], sum[part]));
        float* target = a.results + ((s64)token[part] * a.heads + head) * a.headDim;
#pragma unroll
        for (int n = 0; n < DIM / 8; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
            {
                int dim = n * 8 + 2 * i + e;
                if (dim < a.headDim) target[dim] = result[n][2 * part + e] * share;
            }
    }
}

KERNEL void THREADS(BLOCK) attend_prompt_64(const Attention a, const Tile* tiles) { attend<64>(a, tiles); }
KERNEL void THREADS(BLOCK) attend_prompt_128(const Attention a, const Tile* tiles) { attend<128>(a, tiles); }
KERNEL void THREADS(BLOCK) attend_prompt_256(const Attention a, const Tile* tiles) { attend<256>(a, tiles); }
