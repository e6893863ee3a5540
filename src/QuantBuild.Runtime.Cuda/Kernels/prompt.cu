// Attention of many tokens of a text, on tensor cores (Dao et al., 2022; Dao, 2023): a block has up to 64 consecutive tokens of one text and a query head, a warp 16 of them. Pages pass through
// shared memory one after the other, in half precision; scores, maxima, sums and results are float32. What is computed next is copied meanwhile.
#include "pages.h"

#define BLOCK 128
#define WARPS (BLOCK / 32)
#define TOKENS_OF_WARP 16
#define TOKENS (WARPS * TOKENS_OF_WARP)
#define PAD 8 // halves behind a row, so that eight rows lie in different banks
#define LOG2_E 1.4426950408889634f

// Consecutive tokens of one text.
struct Tile
{
    int first;
    int count;
};

DEVICE u32 pack(float low, float high)
{
#if __CUDA_ARCH__ >= 800
    u32 halves;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(halves) : "f"(high), "f"(low));
    return halves;
#else
    return (u32)float_to_half(low) | (u32)float_to_half(high) << 16;
#endif
}

// Weights times the steps of values in bytes are halves: so many times as large, they have all their bits from 6e-8 on, and values up to 8,000 fit.
#define STEPS_UNIT 1024.0f

// Half precision ends at 65504.
DEVICE float within_halves(float x) { return most(-65504.0f, least(65504.0f, x)); }

// c += a b: 16 by 16 times 16 by 8.
DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1)
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    multiply(c, a[0], a[1], b0);
    multiply(c, a[2], a[3], b1);
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

// Two to the power of x.
DEVICE float power(float x) { return __nvvm_ex2_approx_f(x); }

// Keys and values of pages in shared memory. DIM: the head's dimensions, rounded up. STAGES: pages that have room.
template <int DIM, bool BYTES>
struct Pages
{
    // Where there is room for two pages, a page is copied while the one before is computed; else its values while scores are computed, and the next one's keys while values are. Bytes come as
    // they are, the same thread makes them halves, and only their own copy needs room twice. Before compute capability 8.0 copies are waited for anyway.
#if __CUDA_ARCH__ >= 800
    static constexpr int STAGES = BYTES || DIM == 256 ? 1 : 2;
#else
    static constexpr int STAGES = 1;
#endif
    static constexpr int KEY_STRIDE = PAGE + PAD, VALUE_STRIDE = DIM + PAD;
    static constexpr int CHUNKS = DIM * PAGE / 8 / BLOCK;       // 16 bytes each that a thread copies
    static constexpr int BYTE_CHUNKS = DIM * PAGE / 16 / BLOCK; // as many where numbers are bytes

    u16* keys;   // [STAGES, DIM, KEY_STRIDE]
    u16* values; // [STAGES, PAGE, VALUE_STRIDE]
    Bytes16* raw; // [BYTE_CHUNKS, BLOCK]: bytes on their way
    float (*steps)[PAGE]; // of keys and values in bytes

    // Begins to copy the keys of a page.
    MEMBER void copy_keys(const Attention& a, const u8* source, int stage) const
    {
        int own = thread();
        made_anew(own);
#pragma unroll
        for (int r = 0; r < (BYTES ? BYTE_CHUNKS : CHUNKS); r++)
        {
            int n = r * BLOCK + own;
            if (BYTES && n < 2 * a.headDim) copy16(raw + r * BLOCK + own, source + 16 * n);
            else if (!BYTES && n < 4 * a.headDim) copy16(keys + (stage * DIM + n / 4) * KEY_STRIDE + n % 4 * 8, source + 16 * n);
        }

        // The steps behind the keys, and those behind the values.
        int n = thread() % 8;
        if (BYTES && thread() < 16) copy16(steps[thread() / 8] + 4 * n, source + (thread() < 8 ? 0 : a.blockBytes) + PAGE * a.headDim + 16 * n);
    }

    // Begins to copy the values of a page.
    MEMBER void copy_values(const Attention& a, const u8* source, int stage) const
    {
        int own = thread();
        made_anew(own);
        source += a.blockBytes;
        if (BYTES)
        {
#pragma unroll
            for (int r = 0; r < BYTE_CHUNKS; r++)
            {
                int n = r * BLOCK + own;
                if (n < 2 * a.headDim) copy16(raw + r * BLOCK + own, source + 16 * n);
            }

            return;
        }

        u16* to = values + stage * PAGE * VALUE_STRIDE;
        if (a.headDim % 8 == 0)
        {
#pragma unroll
            for (int r = 0; r < CHUNKS; r++)
            {
                int n = r * BLOCK + own, slot = n / (DIM / 8), dim = n % (DIM / 8) * 8;
                if (dim < a.headDim) copy16(to + slot * VALUE_STRIDE + dim, source + 2 * (slot * a.headDim + dim));
            }

            return;
        }

        // Two numbers at a time: a head may have any even width.
        for (int n = thread(); n < PAGE * DIM / 2; n += BLOCK)
        {
            int slot = n / (DIM / 2), dim = n % (DIM / 2) * 2;
            if (dim < a.headDim) *(u32*)(to + slot * VALUE_STRIDE + dim) = *(const u32*)(source + 2 * (slot * a.headDim + dim));
        }
    }

    // The thread's bytes of keys that have come, as halves: exactly.
    MEMBER void convert_keys(int headDim) const
    {
        int own = thread();
        made_anew(own);
#pragma unroll
        for (int r = 0; r < BYTE_CHUNKS; r++)
        {
            int n = r * BLOCK + own;
            if (n < 2 * headDim) put(raw[r * BLOCK + own], keys + n / 2 * KEY_STRIDE + n % 2 * 16);
        }
    }

    MEMBER void convert_values(int headDim) const
    {
        int own = thread();
        made_anew(own);
        for (int r = 0; r < BYTE_CHUNKS; r++)
        {
            int n = r * BLOCK + own;
            if (n >= 2 * headDim) continue;
            int slot = 16 * n / headDim, dim = 16 * n % headDim;
            if (headDim % 16 == 0)
            {
                put(raw[r * BLOCK + own], values + slot * VALUE_STRIDE + dim);
                continue;
            }

            // Sixteen bytes go on in the next row, or the one behind.
            for (int e = 0; e < 16; e += 2, dim += 2)
            {
                for (; dim >= headDim; dim -= headDim) slot++;
                u32 two = *(const u16*)((const u8*)(raw + r * BLOCK + own) + e);
                *(u32*)(values + slot * VALUE_STRIDE + dim) = halves_of(two ^ 0x8080u, 0x4140);
            }
        }
    }

    // Sixteen bytes as halves.
    MEMBER static void put(const Bytes16& bytes, u16* to)
    {
        u32 x = bytes.x ^ 0x80808080u, y = bytes.y ^ 0x80808080u, z = bytes.z ^ 0x80808080u, w = bytes.w ^ 0x80808080u;
        ((Bytes16*)to)[0] = {halves_of(x, 0x4140), halves_of(x, 0x4342), halves_of(y, 0x4140), halves_of(y, 0x4342)};
        ((Bytes16*)to)[1] = {halves_of(z, 0x4140), halves_of(z, 0x4342), halves_of(w, 0x4140), halves_of(w, 0x4342)};
    }
};

template <int DIM, bool BYTES>
DEVICE void attend(const Attention& a, const Tile* tiles)
{
    using Shared = Pages<DIM, BYTES>;
    constexpr int STAGES = Shared::STAGES;
    SHARED static __attribute__((aligned(16))) u16 keys[STAGES * DIM * Shared::KEY_STRIDE];
    SHARED static __attribute__((aligned(16))) u16 values[STAGES * PAGE * Shared::VALUE_STRIDE];
    SHARED static Bytes16 raw[BYTES ? Shared::BYTE_CHUNKS * BLOCK : 1];
    SHARED static __attribute__((aligned(16))) float steps[2][PAGE];
    Shared pages = {keys, values, raw, steps};
    int head = block_x(), kv_head = head / (a.heads / a.kvHeads);
    // The last tokens of a text, which see most, first: no block should be left to the end that takes long.
    Tile tile = tiles[blocks_y() - 1 - block_y()];
    Row first = a.rows[tile.first];
    int from = most(0, first.position + 1 - a.window) / PAGE, to = (first.position + tile.count - 1) / PAGE;
    const u64* table = a.pages + first.pages;
    u64 next = table[from];
    pages.copy_keys(a, keys_of(a, next, kv_head), 0);
    if (STAGES == 2) pages.copy_values(a, keys_of(a, next, kv_head), 0);
    end_group();

    // What the head has not is zero. Nothing is copied there.
    for (int n = thread(); n < STAGES * (DIM - a.headDim) * Shared::KEY_STRIDE; n += BLOCK)
    {
        int rest = DIM - a.headDim, row = n / Shared::KEY_STRIDE;
        keys[(row / rest * DIM + a.headDim + row % rest) * Shared::KEY_STRIDE + n % Shared::KEY_STRIDE] = 0;
    }

    for (int n = thread(); n < STAGES * PAGE * (DIM - a.headDim); n += BLOCK)
    {
        int rest = DIM - a.headDim;
        values[n / rest * Shared::VALUE_STRIDE + a.headDim + n % rest] = 0;
    }

    int g = lane() >> 2, i = lane() & 3;
    int token[2], position[2];
#pragma unroll
    for (int part = 0; part < 2; part++)
    {
        // Tokens that are not there are computed as the last one, and not given.
        int place = least(tile.count - 1, warp() * TOKENS_OF_WARP + part * 8 + g);
        token[part] = tile.first + place;
        position[part] = first.position + place;
    }

    u32 query[DIM / 16][4];
#pragma unroll
    for (int k = 0; k < DIM / 16; k++)
#pragma unroll
        for (int e = 0; e < 4; e++)
        {
            int dim = k * 16 + (e >> 1) * 8 + 2 * i;
            const float* q = a.queries + ((s64)token[e & 1] * a.heads + head) * a.headDim;
            query[k][e] = pack(within_halves(dim < a.headDim ? q[dim] : 0), within_halves(dim + 1 < a.headDim ? q[dim + 1] : 0));
        }

    // Scores are powers of two here, so that a weight takes a multiplication less.
    float result[DIM / 8][4], maximum[2] = {-__builtin_inff(), -__builtin_inff()}, sum[2] = {0, 0};
    float scale = a.scale * LOG2_E, slope = a.slopes ? a.slopes[head] * LOG2_E : 0;
#pragma unroll
    for (int n = 0; n < DIM / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) result[n][e] = 0;
    for (int page = from; page <= to; page++)
    {
        const u8* source = keys_of(a, next, kv_head);
        if (page < to) next = table[page + 1];
        int stage = STAGES == 2 ? (page - from) & 1 : 0;
        const u16* own_keys = keys + stage * DIM * Shared::KEY_STRIDE;
        const u16* own_values = values + stage * PAGE * Shared::VALUE_STRIDE;
        wait_groups<0>();
        if (BYTES) pages.convert_keys(a.headDim);
        // All have come, and nobody needs what was there before.
        barrier();
        if (STAGES == 1)
        {
            pages.copy_values(a, source, 0);
        }
        else if (page < to)
        {
            pages.copy_keys(a, keys_of(a, next, kv_head), stage ^ 1);
            pages.copy_values(a, keys_of(a, next, kv_head), stage ^ 1);
        }

        end_group();
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
                read_transposed(b, own_keys, Shared::KEY_STRIDE, k * 16, n * 16);
                multiply(score[2 * n], query[k], b[0], b[1]);
                multiply(score[2 * n + 1], query[k], b[2], b[3]);
            }

#pragma unroll
        for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) score[n][e] *= BYTES ? scale * steps[0][n * 8 + 2 * i + (e & 1)] : scale;
        if (a.cap != 0)
        {
#pragma unroll
            for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) score[n][e] = capped(score[n][e], a.cap * LOG2_E);
        }

        // Where all tokens of the page are seen by the whole tile, nothing is asked of a score.
        int last = first.position + tile.count - 1;
        if (slope != 0 || page * PAGE + PAGE - 1 > first.position || last - page * PAGE >= a.window)
        {
#pragma unroll
            for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                {
                    int place = page * PAGE + n * 8 + 2 * i + (e & 1), own = position[e >> 1];
                    score[n][e] = place > own || own - place >= a.window ? -__builtin_inff() : fused(slope, (float)(place - own), score[n][e]);
                }
        }

        float past[2];
#pragma unroll
        for (int part = 0; part < 2; part++)
        {
            float largest = maximum[part];
#pragma unroll
            for (int n = 0; n < PAGE / 8; n++) largest = most(largest, most(score[n][2 * part], score[n][2 * part + 1]));
            largest = row_most(largest);
            // A page whose tokens are all out of sight has none.
            float shift = largest == -__builtin_inff() ? 0 : largest;
            past[part] = power(maximum[part] - shift);
            maximum[part] = largest;
            sum[part] *= past[part];
#pragma unroll
            for (int n = 0; n < PAGE / 8; n++)
#pragma unroll
                for (int e = 0; e < 2; e++)
                {
                    float weight = power(score[n][2 * part + e] - shift);
                    score[n][2 * part + e] = BYTES ? within_halves(weight * STEPS_UNIT * steps[1][n * 8 + 2 * i + e]) : weight;
                    sum[part] += weight;
                }
        }

        if (__nvvm_vote_any_sync(FULL, past[0] != 1 || past[1] != 1))
        {
#pragma unroll
            for (int n = 0; n < DIM / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) result[n][e] *= past[e >> 1];
        }

        if (STAGES == 1)
        {
            wait_groups<0>();
            if (BYTES) pages.convert_values(a.headDim);
            barrier();
            if (page < to) pages.copy_keys(a, keys_of(a, next, kv_head), 0);
            end_group();
        }

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
                read_transposed(b, own_values, Shared::VALUE_STRIDE, k * 16, n * 16);
                multiply(result[2 * n], weights, b[0], b[1]);
                multiply(result[2 * n + 1], weights, b[2], b[3]);
            }
        }
    }

#pragma unroll
    for (int part = 0; part < 2; part++)
    {
        float total = row_sum(sum[part]);
        if (warp() * TOKENS_OF_WARP + part * 8 + g >= tile.count) continue;
        float share = quotient(BYTES ? 1 / STEPS_UNIT : 1, with_sink(a, head, maximum[part] / LOG2_E, total));
        float* target = a.results + ((s64)token[part] * a.heads + head) * a.headDim;
#pragma unroll
        for (int n = 0; n < DIM / 8; n++)
        {
            int dim = n * 8 + 2 * i;
            if (dim < a.headDim) *(Bytes8*)(target + dim) = {bits_of(result[n][2 * part] * share), bits_of(result[n][2 * part + 1] * share)};
        }
    }
}

KERNEL void THREADS(BLOCK) attend_prompt_f16_64(const Attention a, const Tile* tiles) { attend<64, false>(a, tiles); }
KERNEL void THREADS(BLOCK) attend_prompt_f16_128(const Attention a, const Tile* tiles) { attend<128, false>(a, tiles); }
KERNEL void THREADS(BLOCK) attend_prompt_f16_256(const Attention a, const Tile* tiles) { attend<256, false>(a, tiles); }
KERNEL void THREADS(BLOCK) attend_prompt_s8_64(const Attention a, const Tile* tiles) { attend<64, true>(a, tiles); }
KERNEL void THREADS(BLOCK) attend_prompt_s8_128(const Attention a, const Tile* tiles) { attend<128, true>(a, tiles); }
KERNEL void THREADS(BLOCK) attend_prompt_s8_256(const Attention a, const Tile* tiles) { attend<256, true>(a, tiles); }
