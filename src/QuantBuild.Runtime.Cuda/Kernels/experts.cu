// Sends tokens to experts, and brings together what those give.
#include "experts.h"

#define ROUTE_BLOCK 1024
#define BLOCK 256

#define MOST_EXPERTS 1024

// Numbers that a lane reads at a time.
#define TOGETHER 4

struct Routing
{
    const float* scores; // the router's, [tokens, experts]
    int* chosen;         // the experts of each token, by number, [tokens, each]
    float* shares;       // and their shares, [tokens, each]
    int* places;         // and their slots, [tokens, each]
    Slot* slots;         // [tokens * each]
    Run* runs;           // [runCount]
    int tokens;
    int experts;
    int each;            // experts of a token
    int normalizes;      // whether the shares of a token's experts are 1 together
    int runShift;        // log2 of the slots of a run at most
    int runCount;
};

// Larger for a larger score, and never 0. What is not a number comes first, and makes all that is computed with it none.
DEVICE u32 order_of(float score)
{
    if (score != score) return 0xffffffffu;
    // Zero has one sign.
    u32 bits = bits_of(score + 0.0f);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// The experts of largest score of a token, the first among equals, with the softmax of their scores as shares: by a warp, whose lane n has the n-th.
DEVICE void choose(const Routing& r, int token)
{
    const float* scores = r.scores + (s64)token * r.experts;
    u32 taken = 0; // bit n is the expert 32 n + lane
    int expert = r.experts;
    float score = 0;
#pragma unroll 1
    for (int n = 0; n < r.each; n++)
    {
        u32 key = 0;
        int place = r.experts;
#pragma unroll 4
        for (int e = lane(), bit = 0; e < r.experts; e += 32, bit++)
        {
            u32 own = taken >> bit & 1 ? 0 : order_of(scores[e]);
            if (own > key)
            {
                key = own;
                place = e;
            }
        }

        u32 largest = warp_largest(key);
        place = (int)warp_least(key == largest ? (u32)place : 0xffffffffu);
        if (lane() == (place & 31)) taken |= 1u << (place >> 5);
        if (lane() == n)
        {
            expert = place;
            score = scores[place];
        }
    }

    float largest = from_lane(score, 0), all = 0;
    for (int e = lane(); e < r.experts; e += 32) all += exponential(scores[e] - largest);
    float share = lane() < r.each ? exponential(score - largest) : 0;
    share = quotient(share, warp_sum(r.normalizes ? share : all));
    int rank = 0;
    for (int n = 0; n < r.each; n++) rank += __nvvm_shfl_sync_idx_i32(FULL, expert, n, 31) < expert;
    if (lane() >= r.each) return;
    r.chosen[token * r.each + rank] = expert;
    r.shares[token * r.each + rank] = share;
}

// One block for all tokens, of which there are some hundreds at most.
KERNEL void THREADS_BLOCKS(ROUTE_BLOCK, 1) route(const Routing r)
{
    SHARED static int counts[MOST_EXPERTS];
    begin_after_previous();
    for (int token = warp(); token < r.tokens; token += warps()) choose(r, token);
    barrier();

    // A warp has an expert, and sees whose it is.
    int all = r.tokens * r.each;
    for (int expert = warp(); expert < r.experts; expert += warps())
    {
        int count = 0;
#pragma unroll 4
        for (int n = lane(); n < all; n += 32) count += r.chosen[n] == expert;
        count = warp_sum(count);
        if (lane() == 0) counts[expert] = count;
    }

    barrier();
    for (int expert = warp(); expert < r.experts; expert += warps())
    {
        int first = 0, run = 0, size = 1 << r.runShift, count = counts[expert];
        for (int before = lane(); before < expert; before += 32)
        {
            first += counts[before];
            run += (counts[before] + size - 1) >> r.runShift;
        }

        first = warp_sum(first);
        run = warp_sum(run);
        int last = run + ((count + size - 1) >> r.runShift), place = first;
        for (int start = lane(); start - lane() < all && place < first + count; start += TOGETHER * 32)
        {
            // All are read before any is looked at.
            int chosen[TOGETHER];
#pragma unroll
            for (int i = 0; i < TOGETHER; i++) chosen[i] = start + i * 32 < all ? r.chosen[start + i * 32] : -1;
#pragma unroll
            for (int i = 0; i < TOGETHER; i++)
            {
                u32 found = __nvvm_vote_ballot_sync(FULL, chosen[i] == expert);
                if (chosen[i] == expert)
                {
                    int own = place + __builtin_popcount(found & ((1u << lane()) - 1)), n = start + i * 32;
                    r.places[n] = own;
                    r.slots[own] = {n / r.each, expert};
                }

                place += __builtin_popcount(found);
            }
        }

        // Behind the last expert's there may be more runs than there is something for.
        int end = expert == r.experts - 1 ? r.runCount : last;
        for (int n = run + lane(); n < end; n += 32)
        {
            int start = (n - run) << r.runShift;
            r.runs[n] = {expert, first + start, n < last ? least(size, count - start) : 0};
        }
    }
}

struct Mixing
{
    const float* given;  // what experts give, [slots, width]
    const int* places;   // [tokens, each]
    const float* shares; // [tokens, each]
    const float* shared; // what an MLP gives that sees every token, [tokens, width], or null
    const float* gates;  // the number that says its share for each token, or null for all of it
    float* y;            // [tokens, width]
    int each;
    int width;
};

// What the experts of a token give together. A block has some numbers of a token.
KERNEL void THREADS(BLOCK) mix(const Mixing m)
{
    begin_after_previous();
    int token = block_y(), k = block_x() * BLOCK + thread();
    if (k >= m.width) return;
    const int* places = m.places + token * m.each;
    const float* shares = m.shares + token * m.each;
    float sum = 0;
#pragma unroll 8
    for (int n = 0; n < m.each; n++) sum = fused(shares[n], m.given[(s64)places[n] * m.width + k], sum);
    s64 place = (s64)token * m.width + k;
    if (m.shared) sum = fused(m.gates ? sigmoid(m.gates[token]) : 1, m.shared[place], sum);
    m.y[place] = sum;
}
