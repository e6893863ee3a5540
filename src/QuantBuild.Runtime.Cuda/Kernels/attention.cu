// softmax(scale q K^T) V over a text's pages, with a running maximum and sum (Milakov and Gimelshein, 2018; Dao et al., 2022). A block has some query heads of one key-value head of one
// token, and a part of the text (flash decoding, Dao et al., 2023): its warps take the part's pages in turn, and put what they found together in the end.
#include "pages.h"

#define BLOCK 128
#define WARPS (BLOCK / 32)

// QUERIES: query heads that read a page together. DIMS: dimensions of a lane.
template <int QUERIES, int DIMS, bool BYTES>
DEVICE void attend(const Attention& a)
{
    SHARED static float query[QUERIES][DIMS * 32];
    SHARED static float weights[WARPS][QUERIES][PAGE];
    SHARED static float found[WARPS][QUERIES][DIMS * 32];
    SHARED static float maxima[WARPS][QUERIES];
    SHARED static float sums[WARPS][QUERIES];
    int group = a.heads / a.kvHeads, groups = (group + QUERIES - 1) / QUERIES;
    int head = block_x() / groups, first = block_x() % groups * QUERIES, count = least(QUERIES, group - first);
    int token = block_y(), part = block_z(), parts = blocks_z();
    Row row = a.rows[token];
    int length = row.position + 1, start = most(0, length - a.window), first_page = start / PAGE, page_count = (length + PAGE - 1) / PAGE - first_page;
    int per_part = (page_count + parts - 1) / parts, from = first_page + part * per_part, to = least(from + per_part, first_page + page_count);
    s64 query_place = (s64)token * a.heads * a.headDim + (s64)(head * group + first) * a.headDim;
    for (int n = thread(); n < QUERIES * DIMS * 32; n += BLOCK)
    {
        int q = n / (DIMS * 32), k = n % (DIMS * 32);
        query[q][k] = q < count && k < a.headDim ? a.queries[query_place + q * a.headDim + k] : 0;
    }

    barrier();
    float maximum[QUERIES], sum[QUERIES], result[QUERIES][DIMS], slope[QUERIES];
#pragma unroll
    for (int q = 0; q < QUERIES; q++)
    {
        maximum[q] = -__builtin_inff();
        sum[q] = 0;
        slope[q] = a.slopes && q < count ? a.slopes[head * group + first + q] : 0;
#pragma unroll
        for (int d = 0; d < DIMS; d++) result[q][d] = 0;
    }

    for (int page = from + warp(); page < to; page += WARPS)
    {
        const u8* keys = (const u8*)a.pages[row.pages + page] + a.layerOffset + 2ll * head * a.blockBytes;
        const u8* values = keys + a.blockBytes;
        // A lane has a token of the page.
        int position = page * PAGE + lane();
        bool seen = position < length && position >= start;
        float score[QUERIES];
#pragma unroll
        for (int q = 0; q < QUERIES; q++) score[q] = 0;
        for (int k = 0; k < a.headDim; k++)
        {
            float key = BYTES ? (float)((const s8*)keys)[k * PAGE + lane()] : half_to_float(((const u16*)keys)[k * PAGE + lane()]);
#pragma unroll
            for (int q = 0; q < QUERIES; q++) score[q] = fused(query[q][k], key, score[q]);
        }

        float step = BYTES ? ((const float*)(keys + PAGE * a.headDim))[lane()] : 1;
        float value_step = BYTES ? ((const float*)(values + PAGE * a.headDim))[lane()] : 1;
#pragma unroll
        for (int q = 0; q < QUERIES; q++)
        {
            float s = score[q] * step * a.scale;
            if (a.cap != 0) s = capped(s, a.cap);
            s = fused(slope[q], (float)(position - row.position), s);
            if (!seen) s = -__builtin_inff();
            float largest = most(maximum[q], warp_most(s));
            // A page whose tokens are all out of sight has none.
            float shift = largest == -__builtin_inff() ? 0 : largest;
            float past = exponential(maximum[q] - shift), weight = exponential(s - shift);
            maximum[q] = largest;
            sum[q] = fused(sum[q], past, warp_sum(weight));
#pragma unroll
            for (int d = 0; d < DIMS; d++) result[q][d] *= past;
            weights[warp()][q][lane()] = weight * value_step;
        }

        __nvvm_bar_warp_sync(FULL);
        int tokens = least(PAGE, length - page * PAGE);
        for (int t = most(0, start - page * PAGE); t < tokens; t++)
        {
#pragma unroll
            for (int d = 0; d < DIMS; d++)
            {
                int k = d * 32 + lane();
                if (k >= a.headDim) continue;
                float value = BYTES ? (float)((const s8*)values)[t * a.headDim + k] : half_to_float(((const u16*)values)[t * a.headDim + k]);
#pragma unroll
                for (int q = 0; q < QUERIES; q++) result[q][d] = fused(weights[warp()][q][t], value, result[q][d]);
            }
        }

        __nvvm_bar_warp_sync(FULL);
    }

#pragma unroll
    for (int q = 0; q < QUERIES; q++)
    {
        if (lane() == 0)
        {
            maxima[warp()][q] = maximum[q];
            sums[warp()][q] = sum[q];
        }

#pragma unroll
        for (int d = 0; d < DIMS; d++) found[warp()][q][d * 32 + lane()] = result[q][d];
    }

    barrier();
    for (int n = thread(); n < count * DIMS * 32; n += BLOCK)
    {
        int q = n / (DIMS * 32), k = n % (DIMS * 32);
        if (k >= a.headDim) continue;
        float largest = -__builtin_inff(), total = 0, value = 0;
        for (int w = 0; w < WARPS; w++) largest = most(largest, maxima[w][q]);
        for (int w = 0; w < WARPS; w++)
        {
            if (maxima[w][q] == -__builtin_inff()) continue;
            float share = exponential(maxima[w][q] - largest);
            total = fused(sums[w][q], share, total);
            value = fused(found[w][q][k], share, value);
        }

        if (parts == 1)
        {
            a.results[query_place + q * a.headDim + k] = quotient(value, with_sink(a, head * group + first + q, largest, total));
            continue;
        }

        float* partial = a.partial + (((s64)token * a.heads + head * group + first + q) * parts + part) * (a.headDim + 2);
        partial[k] = value;
        if (k == 0)
        {
            partial[a.headDim] = largest;
            partial[a.headDim + 1] = total;
        }
    }
}

KERNEL void THREADS(BLOCK) attend1_f16_64(const Attention a) { attend<1, 2, false>(a); }
KERNEL void THREADS(BLOCK) attend1_f16_128(const Attention a) { attend<1, 4, false>(a); }
KERNEL void THREADS(BLOCK) attend1_f16_256(const Attention a) { attend<1, 8, false>(a); }
KERNEL void THREADS(BLOCK) attend1_s8_64(const Attention a) { attend<1, 2, true>(a); }
KERNEL void THREADS(BLOCK) attend1_s8_128(const Attention a) { attend<1, 4, true>(a); }
KERNEL void THREADS(BLOCK) attend1_s8_256(const Attention a) { attend<1, 8, true>(a); }
KERNEL void THREADS(BLOCK) attend4_f16_64(const Attention a) { attend<4, 2, false>(a); }
KERNEL void THREADS(BLOCK) attend4_f16_128(const Attention a) { attend<4, 4, false>(a); }
KERNEL void THREADS(BLOCK) attend4_f16_256(const Attention a) { attend<4, 8, false>(a); }
KERNEL void THREADS(BLOCK) attend4_s8_64(const Attention a) { attend<4, 2, true>(a); }
KERNEL void THREADS(BLOCK) attend4_s8_128(const Attention a) { attend<4, 4, true>(a); }
KERNEL void THREADS(BLOCK) attend4_s8_256(const Attention a) { attend<4, 8, true>(a); }

// Puts the parts of a text together: a warp has a query head.
KERNEL void THREADS(BLOCK) join_parts(const Attention a, int parts)
{
    int head = block_x() * WARPS + warp(), token = block_y();
    if (head >= a.heads) return;
    const float* partial = a.partial + ((s64)token * a.heads + head) * parts * (a.headDim + 2);
    float largest = -__builtin_inff(), total = 0;
    for (int p = 0; p < parts; p++) largest = most(largest, partial[p * (a.headDim + 2) + a.headDim]);
    for (int p = 0; p < parts; p++)
    {
        float maximum = partial[p * (a.headDim + 2) + a.headDim];
        if (maximum != -__builtin_inff()) total = fused(partial[p * (a.headDim + 2) + a.headDim + 1], exponential(maximum - largest), total);
    }

    total = with_sink(a, head, largest, total);
    for (int k = lane(); k < a.headDim; k += 32)
    {
        float value = 0;
        for (int p = 0; p < parts; p++)
        {
            float maximum = partial[p * (a.headDim + 2) + a.headDim];
            if (maximum != -__builtin_inff()) value = fused(partial[p * (a.headDim + 2) + k], exponential(maximum - largest), value);
        }

        a.results[((s64)token * a.heads + head) * a.headDim + k] = quotient(value, total);
    }
}
