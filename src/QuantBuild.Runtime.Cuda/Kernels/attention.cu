// softmax(scale q K^T) V over a text's pages, with a running maximum and sum (Milakov and Gimelshein, 2018; Dao et al., 2022). A block has up to eight query heads of one key-value head of one
// token, and a part of the text (flash decoding, Dao et al., 2023): its warps take the part's pages in turn, and put what they found together in the end.
//
// Keys and values are the first factors of products of halves, [tokens, dimensions] and [dimensions, tokens], queries and weights the second ones, of which there are eight. Those are numbers in
// float32: each is the sum of two halves, and so right to 22 bits. A lane reads its numbers as they lie in memory, and the order of what is summed over is the one that makes them factors: of two
// tokens, or dimensions, that lie in two registers, it only has to exchange halves.
//
// What is read next is under way while a page is computed: a warp waits for no more than it needs.
#include "pages.h"

#define BLOCK 128
#define WARPS (BLOCK / 32)
#define QUERIES 8

// Weights are at most 1: halves of so many times them are right to 2^-38.
#define WEIGHTS_UNIT 16384.0f

// A text of so many pages is not divided, and no part of another has fewer than a page for each warp.
#define WHOLE_PAGES (2 * WARPS)

// Pages of a part of a text: as many whether or not others are computed beside it.
DEVICE int pages_of_part(const Attention& a, int pages)
{
    int of_warp = (pages + WARPS * a.mostParts - 1) / (WARPS * a.mostParts);
    return pages <= WHOLE_PAGES ? WHOLE_PAGES : WARPS * of_warp;
}

// The pages that a token sees.
struct Span
{
    int start; // the first token
    int first; // its page
    int pages;
};

DEVICE Span seen(const Attention& a, Row row)
{
    int start = most(0, row.position + 1 - a.window), first = start / PAGE;
    return {start, first, row.position / PAGE + 1 - first};
}

// x as the sum of two halves.
DEVICE void split(float x, u16& high, u16& low)
{
    high = float_to_half(x);
    low = float_to_half(x - half_to_float(high));
}

// The halves of two registers: those in front, and those behind.
DEVICE void interleave(u32 x, u32 y, u32& front, u32& behind)
{
    front = permute(x, y, 0x5410);
    behind = permute(x, y, 0x7632);
}

// The bytes of two registers, as halves: those of each place.
DEVICE void interleave(u32 x, u32 y, u32 (&places)[4])
{
    u32 low = permute(x ^ 0x80808080u, y ^ 0x80808080u, 0x5140), high = permute(x ^ 0x80808080u, y ^ 0x80808080u, 0x7362);
    places[0] = halves_of(low, 0x4140);
    places[1] = halves_of(low, 0x4342);
    places[2] = halves_of(high, 0x4140);
    places[3] = halves_of(high, 0x4342);
}

// WIDTH: dimensions that a warp reads at once. In every function, lane 4g + i has four tokens of a page from 4g on, or eight from 8i on, and queries 2i and 2i + 1, or g.
template <int WIDTH, bool BYTES>
struct Piece
{
    static constexpr int WORDS = WIDTH / (BYTES ? 4 : 2);

    u32 words[WORDS];

    // Dimensions 4n + i of the lane's four tokens. Those that the head has not are multiplied by zero.
    template <bool EIGHTS>
    MEMBER void read_keys(const u8* keys, int first, int headDim)
    {
        int g = lane() >> 2, i = lane() & 3;
        made_anew(headDim);
        keys += (BYTES ? 1 : 2) * (i * PAGE + 4 * g);
#pragma unroll
        for (int n = 0; n < WIDTH / 4; n++)
        {
            int dim = first + 4 * n, clamped = EIGHTS ? least(dim & ~7, headDim - 8) + (dim & 7) : least(dim + i, headDim - 1) - i;
            const u8* place = keys + (BYTES ? 1 : 2) * clamped * PAGE;
            if (BYTES)
            {
                words[n] = *(const u32*)place;
                continue;
            }

            Bytes8 read = *(const Bytes8*)place;
            words[2 * n] = read.x;
            words[2 * n + 1] = read.y;
        }
    }

    // Eight dimensions of the lane's eight tokens, those from 64c + 8g on or, where the head ends before, its last: of a narrower head some that lie in front of it, too. What the lane has not asked
    // for is computed, and not given. EIGHTS: whether the head's width is a multiple of eight; else it is one of two.
    template <bool EIGHTS>
    MEMBER void read_values(const u8* values, int first, int headDim)
    {
        int g = lane() >> 2, i = lane() & 3, row = (BYTES ? 1 : 2) * headDim;
        made_anew(headDim);
        values += 8 * i * row;
#pragma unroll
        for (int c = 0; c < WIDTH / 64; c++)
        {
            const u8* place = values + (BYTES ? 1 : 2) * least(first + 64 * c + 8 * g, headDim - 8);
#pragma unroll
            for (int n = 0; n < 8; n++, place += row)
            {
                u32* w = words + (c * 8 + n) * (BYTES ? 2 : 4);
                if (EIGHTS && BYTES)
                {
                    Bytes8 read = *(const Bytes8*)place;
                    w[0] = read.x;
                    w[1] = read.y;
                }
                else if (EIGHTS)
                {
                    Bytes16 read = read16(place);
                    w[0] = read.x;
                    w[1] = read.y;
                    w[2] = read.z;
                    w[3] = read.w;
                }
                else
                {
#pragma unroll
                    for (int pair = 0; pair < 4; pair++)
                    {
                        if (!BYTES) w[pair] = ((const u32*)place)[pair];
                        else if (pair % 2 == 0) w[pair / 2] = ((const u16*)place)[pair];
                        else w[pair / 2] |= (u32)((const u16*)place)[pair] << 16;
                    }
                }
            }
        }
    }

    // Adds the products of keys and queries: scores[t][.][e] is of token 4g + 2t + e / 2 and query 2i + e % 2, once with the queries' first halves and once with their second.
    MEMBER void score(const Bytes8* queries, float (&scores)[2][2][4]) const
    {
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++)
        {
            Bytes8 query = queries[n * 32 + lane()];
            u32 keys[4];
            if (BYTES)
            {
                interleave(words[2 * n], words[2 * n + 1], keys);
            }
            else
            {
                interleave(words[4 * n], words[4 * n + 2], keys[0], keys[1]);
                interleave(words[4 * n + 1], words[4 * n + 3], keys[2], keys[3]);
            }

#pragma unroll
            for (int t = 0; t < 2; t++)
            {
                multiply(scores[t][0], keys[2 * t], keys[2 * t + 1], query.x);
                multiply(scores[t][1], keys[2 * t], keys[2 * t + 1], query.y);
            }
        }
    }

    // Adds the products of values and weights: results[4c + d][e] is of the dimension 2d + e / 2 of those that were read, and query 2i + e % 2.
    MEMBER void weigh(const Bytes16& high, const Bytes16& low, float (*results)[4]) const
    {
        u32 weights[4][2] = {{high.x, low.x}, {high.y, low.y}, {high.z, low.z}, {high.w, low.w}};
#pragma unroll
        for (int c = 0; c < WIDTH / 64; c++)
#pragma unroll
            for (int n = 0; n < 4; n++)
            {
                const u32* w = words + (c * 8 + 2 * n) * (BYTES ? 2 : 4);
                u32 values[8];
#pragma unroll
                for (int d = 0; d < 4; d++)
                {
                    if (!BYTES) interleave(w[d], w[4 + d], values[2 * d], values[2 * d + 1]);
                    else if (d % 2 == 0) interleave(w[d / 2], w[2 + d / 2], *(u32(*)[4])(values + 2 * d));
                }

#pragma unroll
                for (int half = 0; half < 2; half++)
#pragma unroll
                    for (int d = 0; d < 4; d++) multiply(results[4 * c + d], values[2 * d], values[2 * d + 1], weights[n][half]);
            }
    }
};

// The largest, or the sum, over the lanes that have the same queries.
DEVICE float tokens_most(float x)
{
    for (int lanes = 16; lanes > 2; lanes >>= 1) x = most(x, exchange(x, lanes));
    return x;
}

DEVICE float tokens_sum(float x)
{
    for (int lanes = 16; lanes > 2; lanes >>= 1) x += exchange(x, lanes);
    return x;
}

DEVICE void four(const void* p, float (&x)[4])
{
    Bytes16 read = read16(p);
    x[0] = float_of(read.x);
    x[1] = float_of(read.y);
    x[2] = float_of(read.z);
    x[3] = float_of(read.w);
}

// The power of two at or below x > 0, and what it is multiplied by to be 1.
DEVICE float power(float x) { return float_of(bits_of(x) & 0x7f800000u); }
DEVICE float inverse_power(float x) { return float_of((254u << 23) - (bits_of(x) & 0x7f800000u)); }

// DIM: the head's dimensions, rounded up.
template <int DIM, int PIECES, bool BYTES, bool EIGHTS>
DEVICE void attend(const Attention& a)
{
    // A page is read in pieces, as large as registers have room for two of: those are under way, but not where a head's width takes narrow reads.
    constexpr int WIDTH = DIM / PIECES;
    SHARED static __attribute__((aligned(16))) u8 room[WARPS * QUERIES * DIM * 4];
    SHARED static __attribute__((aligned(16))) u16 weights[WARPS][2][QUERIES * PAGE];
    SHARED static float units[QUERIES];
    SHARED static float maxima[WARPS][QUERIES];
    SHARED static float sums[WARPS][QUERIES];
    begin_after_previous();
    int group = a.heads / a.kvHeads, groups = (group + QUERIES - 1) / QUERIES;
    int head = block_x() / groups, first_query = head * group + block_x() % groups * QUERIES, count = least(QUERIES, (head + 1) * group - first_query);
    int token = block_y(), part = block_z(), g = lane() >> 2, i = lane() & 3;
    Row row = a.rows[token];
    Span span = seen(a, row);
    int of_part = pages_of_part(a, span.pages), from = span.first + part * of_part, to = least(from + of_part, span.first + span.pages);
    if (from >= to) return;
    const u64* pages = a.pages + row.pages;
    int page = from + warp();
    u64 here = page < to ? pages[page] : 0, next = page + WARPS < to ? pages[page + WARPS] : 0;
    Piece<WIDTH, BYTES> pieces[2];
    float key_steps[4], value_steps[4];

    // Piece n of a page, those of keys before those of values.
    auto read = [&](u64 page, int n)
    {
        // Nothing is read before its time.
        if (!EIGHTS) __nvvm_bar_warp_sync(FULL);
        const u8* keys = keys_of(a, page, head);
        const u8* values = keys + a.blockBytes;
        if (BYTES && n == 0) four(keys + PAGE * a.headDim + 16 * g, key_steps);
        if (BYTES && n == 1) four(values + PAGE * a.headDim + 16 * g, value_steps);
        if (n < PIECES) pieces[n % 2].template read_keys<EIGHTS>(keys, n * WIDTH, a.headDim);
        else pieces[n % 2].template read_values<EIGHTS>(values, (n - PIECES) * WIDTH, a.headDim);
    };
    if (EIGHTS && page < to)
    {
        read(here, 0);
        read(here, 1);
    }

    // Queries as two halves each, once they are no larger than 2: in the order in which lanes multiply them, [dimensions / 8, queries, 4, halves, dimensions n and n + 4].
    u16* queries = (u16*)room;
    s64 query_place = ((s64)token * a.heads + first_query) * a.headDim;
    for (int q = warp(); q < QUERIES; q += WARPS)
    {
        float x[DIM / 32], largest = 0;
#pragma unroll
        for (int n = 0; n < DIM / 32; n++)
        {
            int k = n * 32 + lane();
            x[n] = q < count && k < a.headDim ? a.queries[query_place + q * a.headDim + k] : 0;
            largest = most(largest, magnitude(x[n]));
        }

        largest = most(0x1p-126f, least(0x1p126f, warp_most(largest)));
        if (lane() == 0) units[q] = power(largest) * a.scale;
#pragma unroll
        for (int n = 0; n < DIM / 32; n++)
        {
            int k = n * 32 + lane();
            u16* place = queries + ((k / 8 * QUERIES + q) * 4 + k % 4) * 4 + k % 8 / 4;
            split(x[n] * inverse_power(largest), place[0], place[2]);
        }
    }

    barrier();
    float maximum[2], sum[2] = {0, 0}, unit[2], slope[2], value_unit = 0, results[DIM / 16][4];
#pragma unroll
    for (int k = 0; k < 2; k++)
    {
        int q = 2 * i + k;
        maximum[k] = -__builtin_inff();
        unit[k] = units[q];
        slope[k] = a.slopes && q < count ? a.slopes[first_query + q] : 0;
    }

#pragma unroll
    for (int n = 0; n < DIM / 16; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) results[n][e] = 0;
    for (; page < to; page += WARPS)
    {
        bool more = page + WARPS < to;
        u64 behind = page + 2 * WARPS < to ? pages[page + 2 * WARPS] : 0;
        float scores[2][2][4] = {}, step[4], score[2][4];
        // Once a piece is computed, the one after the next takes its place.
        auto go_on = [&](int n)
        {
            if (!EIGHTS) return;
            if (n + 2 < 2 * PIECES) read(here, n + 2);
            else if (more) read(next, n + 2 - 2 * PIECES);
        };
#pragma unroll
        for (int n = 0; n < PIECES; n++)
        {
            if (!EIGHTS) read(here, n);
#pragma unroll
            for (int t = 0; n == 0 && t < 4; t++) step[t] = BYTES ? key_steps[t] : 1;
            pieces[n % 2].score((const Bytes8*)queries + n * WIDTH / 8 * 32, scores);
            go_on(n);
        }

#pragma unroll
        for (int k = 0; k < 2; k++)
#pragma unroll
            for (int t = 0; t < 4; t++)
            {
                int e = t % 2 * 2 + k;
                score[k][t] = (scores[t / 2][0][e] + scores[t / 2][1][e]) * unit[k];
                if (BYTES) score[k][t] *= step[t];
            }

        if (a.cap != 0)
        {
#pragma unroll
            for (int k = 0; k < 2; k++)
#pragma unroll
                for (int t = 0; t < 4; t++) score[k][t] = capped(score[k][t], a.cap);
        }

        float largest[2] = {maximum[0], maximum[1]};
        bool visible[4];
#pragma unroll
        for (int t = 0; t < 4; t++)
        {
            int position = page * PAGE + 4 * g + t;
            visible[t] = position <= row.position && position >= span.start;
#pragma unroll
            for (int k = 0; k < 2; k++)
            {
                score[k][t] = visible[t] ? fused(slope[k], (float)(position - row.position), score[k][t]) : -__builtin_inff();
                largest[k] = most(largest[k], score[k][t]);
            }
        }

        // Weights of bytes have the steps in them, as parts of the power of two at or below the largest so far.
        float past[2], factor[4], rest = 1;
        if (BYTES)
        {
            float largest_step = 0;
#pragma unroll
            for (int t = 0; t < 4; t++)
            {
                factor[t] = visible[t] ? value_steps[t] : 0;
                largest_step = most(largest_step, factor[t]);
            }

            float larger = most(value_unit, power(tokens_most(largest_step)));
            rest = value_unit * inverse_power(larger);
            value_unit = larger;
#pragma unroll
            for (int t = 0; t < 4; t++) factor[t] *= inverse_power(larger);
        }

#pragma unroll
        for (int k = 0; k < 2; k++)
        {
            largest[k] = tokens_most(largest[k]);
            // A page whose tokens are all out of sight has none.
            float shift = largest[k] == -__builtin_inff() ? 0 : largest[k];
            past[k] = exponential(maximum[k] - shift);
            maximum[k] = largest[k];
            sum[k] *= past[k];
            u16 high[4], low[4];
#pragma unroll
            for (int t = 0; t < 4; t++)
            {
                float weight = exponential(score[k][t] - shift);
                sum[k] += weight;
                weight *= WEIGHTS_UNIT;
                split(BYTES ? weight * factor[t] : weight, high[t], low[t]);
            }

            // [queries, tokens], eight tokens at a time in an order that keeps the queries of four lanes in different banks.
            int place = (2 * i + k) * PAGE + ((g >> 1) ^ i) * 8 + g % 2 * 4;
            *(Bytes8*)(weights[warp()][0] + place) = {(u32)high[0] | (u32)high[1] << 16, (u32)high[2] | (u32)high[3] << 16};
            *(Bytes8*)(weights[warp()][1] + place) = {(u32)low[0] | (u32)low[1] << 16, (u32)low[2] | (u32)low[3] << 16};
            past[k] *= rest;
        }

        __nvvm_bar_warp_sync(FULL);
        int place = g * PAGE + ((g >> 1) ^ i) * 8;
        Bytes16 high = read16(weights[warp()][0] + place), low = read16(weights[warp()][1] + place);
#pragma unroll
        for (int n = 0; n < DIM / 16; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) results[n][e] *= past[e % 2];
#pragma unroll
        for (int n = PIECES; n < 2 * PIECES; n++)
        {
            if (!EIGHTS) read(here, n);
            pieces[n % 2].weigh(high, low, results + (n - PIECES) * WIDTH / 16);
            go_on(n);
        }

        __nvvm_bar_warp_sync(FULL);
        here = next;
        next = behind;
    }

    // The queries are not needed any more.
    barrier();
    float* found = (float*)room;
#pragma unroll
    for (int k = 0; k < 2; k++)
    {
        int q = 2 * i + k;
        sum[k] = tokens_sum(sum[k]);
        if (q >= count) continue;
        if (g == 0)
        {
            maxima[warp()][q] = maximum[k];
            sums[warp()][q] = sum[k];
        }

        float result_unit = BYTES ? value_unit / WEIGHTS_UNIT : 1 / WEIGHTS_UNIT;
#pragma unroll
        for (int n = 0; n < DIM / 16; n++)
#pragma unroll
            for (int e = 0; e < 2; e++)
            {
                int wanted = n / 4 * 64 + 8 * g, dim = least(wanted, a.headDim - 8) + n % 4 * 2 + e;
                if (dim >= wanted) found[(warp() * QUERIES + q) * DIM + dim] = results[n][2 * e + k] * result_unit;
            }
    }

    barrier();
    for (int n = thread(); n < count * DIM; n += BLOCK)
    {
        int q = n / DIM, k = n % DIM;
        if (k >= a.headDim) continue;
        float largest = -__builtin_inff(), total = 0, value = 0;
#pragma unroll
        for (int w = 0; w < WARPS; w++) largest = most(largest, maxima[w][q]);
#pragma unroll
        for (int w = 0; w < WARPS; w++)
        {
            float share = maxima[w][q] == -__builtin_inff() ? 0 : exponential(maxima[w][q] - largest);
            total = fused(sums[w][q], share, total);
            value = fused(found[(w * QUERIES + q) * DIM + k], share, value);
        }

        if (of_part >= span.pages)
        {
            a.results[query_place + q * a.headDim + k] = quotient(value, with_sink(a, first_query + q, largest, total));
            continue;
        }

        float* partial = a.partial + (((s64)token * a.heads + first_query + q) * blocks_z() + part) * (a.headDim + 2);
        partial[k] = value;
        if (k == 0)
        {
            partial[a.headDim] = largest;
            partial[a.headDim + 1] = total;
        }
    }
}

KERNEL void THREADS(BLOCK) attend_f16_64(const Attention a) { attend<64, 1, false, true>(a); }
KERNEL void THREADS(BLOCK) attend_f16_128(const Attention a) { attend<128, 1, false, true>(a); }
KERNEL void THREADS(BLOCK) attend_f16_256(const Attention a) { attend<256, 4, false, true>(a); }
KERNEL void THREADS(BLOCK) attend_f16_any(const Attention a) { attend<256, 4, false, false>(a); }
KERNEL void THREADS(BLOCK) attend_s8_64(const Attention a) { attend<64, 1, true, true>(a); }
KERNEL void THREADS(BLOCK) attend_s8_128(const Attention a) { attend<128, 1, true, true>(a); }
KERNEL void THREADS(BLOCK) attend_s8_256(const Attention a) { attend<256, 2, true, true>(a); }
KERNEL void THREADS(BLOCK) attend_s8_any(const Attention a) { attend<256, 4, true, false>(a); }

#define JOIN_BLOCK 256
#define JOIN_WARPS (JOIN_BLOCK / 32)
#define MOST_PARTS 64
#define PARTS_OF_LANE (MOST_PARTS / 32)

// Puts the parts of a text together: a block has a query head of a token, a warp every eighth part. Everything is read at once.
KERNEL void THREADS(JOIN_BLOCK) join_parts(const Attention a, int parts)
{
    SHARED static float found[JOIN_WARPS][128];
    begin_after_previous();
    int head = block_x(), token = block_y();
    Row row = a.rows[token];
    Span span = seen(a, row);
    int of_part = pages_of_part(a, span.pages), count = (span.pages + of_part - 1) / of_part;
    if (count == 1) return;
    const float* partial = a.partial + ((s64)token * a.heads + head) * parts * (a.headDim + 2);
    float maxima[PARTS_OF_LANE], sums[PARTS_OF_LANE], shares[PARTS_OF_LANE], largest = -__builtin_inff(), total = 0;
#pragma unroll
    for (int n = 0; n < PARTS_OF_LANE; n++)
    {
        int p = n * 32 + lane();
        maxima[n] = p < count ? partial[p * (a.headDim + 2) + a.headDim] : -__builtin_inff();
        sums[n] = p < count ? partial[p * (a.headDim + 2) + a.headDim + 1] : 0;
    }

    for (int first = 0; first < a.headDim; first += 128)
    {
        float values[MOST_PARTS / JOIN_WARPS][4];
#pragma unroll
        for (int n = 0; n < MOST_PARTS / JOIN_WARPS; n++)
#pragma unroll
            for (int d = 0; d < 4; d++)
            {
                int p = n * JOIN_WARPS + warp(), k = first + 32 * d + lane();
                values[n][d] = p < count && k < a.headDim ? partial[p * (a.headDim + 2) + k] : 0;
            }

        if (first == 0)
        {
#pragma unroll
            for (int n = 0; n < PARTS_OF_LANE; n++) largest = most(largest, maxima[n]);
            largest = warp_most(largest);
#pragma unroll
            for (int n = 0; n < PARTS_OF_LANE; n++)
            {
                shares[n] = maxima[n] == -__builtin_inff() ? 0 : exponential(maxima[n] - largest);
                total = fused(sums[n], shares[n], total);
            }

            total = with_sink(a, head, largest, warp_sum(total));
        }

        float sum[4] = {};
#pragma unroll
        for (int n = 0; n < MOST_PARTS / JOIN_WARPS; n++)
        {
            float share = from_lane(shares[n * JOIN_WARPS / 32], n * JOIN_WARPS % 32 + warp());
#pragma unroll
            for (int d = 0; d < 4; d++) sum[d] = fused(values[n][d], share, sum[d]);
        }

        barrier();
#pragma unroll
        for (int d = 0; d < 4; d++) found[warp()][32 * d + lane()] = sum[d];
        barrier();
        int k = first + thread();
        if (thread() >= 128 || k >= a.headDim) continue;
        float value = 0;
#pragma unroll
        for (int w = 0; w < JOIN_WARPS; w++) value += found[w][thread()];
        a.results[((s64)token * a.heads + head) * a.headDim + k] = quotient(value, total);
    }
}
