// What the choice of a token needs of a row of logits: the largest of them, in order, and what all the others weigh together.
#include "device.h"

// A block has a row.
#define BLOCK 1024

// Entries of a list: more than are above the bound but by a rare chance.
#define LIST 1024

// Of the greatest logits of each thread, so many come before the bound.
#define LEAST 512

// Logits that a thread reads at a time.
#define TOGETHER 8

// What is done to a row of logits before anything is read of it, and where it is.
struct Change
{
    double repetition; // of RepetitionPenalty
    float scale;       // log2(e) / temperature
    int row;           // of logits
    int first;         // in words: the mask, if there is one; tokens with what is added to each; tokens that are repeated; tokens with what is taken from each
    int masked;        // words of the mask, a bit for each token that may come; 0 for none
    int biased;        // how many tokens
    int repeated;
    int lowered;
};

struct Entry
{
    float logit;
    int token;
};

// Larger logits first, and of equals the smaller token.
struct Largest
{
    int count;   // of logits above the bound; where it is greater than LIST, the list is not whole
    float bound; // all others are at most this
    float rest;  // the sum of e^((x - largest) / temperature) of all others: no number where some logit is none
    Entry entries[LIST];
};

// Greater for what comes first.
DEVICE u64 key_of(float logit, int token)
{
    // -0 is equal to 0.
    u32 bits = bits_of(logit + 0.0f);
    return (u64)(bits & 0x80000000u ? ~bits : bits | 0x80000000u) << 32 | (u32)~token;
}

DEVICE float logit_of(u64 key)
{
    u32 bits = (u32)(key >> 32);
    return float_of(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

// Greatest first (Batcher 1968); all of the block sees it.
DEVICE void sort(u64* keys)
{
#pragma unroll 1
    for (int run = 2; run <= LIST; run *= 2)
    {
#pragma unroll 1
        for (int distance = run / 2; distance > 0; distance /= 2)
        {
            barrier();
            int other = thread() ^ distance;
            if (other < thread()) continue;
            u64 a = keys[thread()], b = keys[other];
            if ((a < b) == ((thread() & run) == 0))
            {
                keys[thread()] = b;
                keys[other] = a;
            }
        }
    }

    barrier();
}

// A thread's next logits: read before any is looked at, so that it waits once for all of them. What lies behind the row is negative infinity.
DEVICE void read(float (&x)[TOGETHER], const float* logits, int start, int width)
{
#pragma unroll
    for (int i = 0; i < TOGETHER; i++) x[i] = logits[least(start + i * BLOCK, width - 1)];
#pragma unroll
    for (int i = 0; i < TOGETHER; i++)
    {
        if (start + i * BLOCK >= width) x[i] = -__builtin_inff();
    }
}

// Changes rows of logits [rows, width], and lists what is largest in each.
KERNEL void THREADS(BLOCK) list_largest(float* logits, const Change* changes, const u32* words, Largest* lists, int width)
{
    SHARED static u64 keys[LIST];
    SHARED static float room[32];
    SHARED static int count;
    const Change* change = changes + block_x();
    Largest* list = lists + block_x();
    logits += (s64)change->row * width;

    // Each token is in each of these at most once.
    const u32* mask = words + change->first;
    const u32* next = mask + change->masked;
    for (int i = thread(); i < change->biased; i += BLOCK) logits[next[2 * i]] += float_of(next[2 * i + 1]);
    next += 2 * change->biased;
    barrier();
    double repetition = change->repetition;
    for (int i = thread(); i < change->repeated; i += BLOCK)
    {
        float x = logits[next[i]];
        logits[next[i]] = (float)(x < 0 ? x * repetition : x / repetition);
    }

    next += change->repeated;
    barrier();
    for (int i = thread(); i < change->lowered; i += BLOCK) logits[next[2 * i]] -= float_of(next[2 * i + 1]);
    barrier();

    // At least n logits are as large as the n-th of the threads' greatest; not many more are, since tokens that lie side by side belong to different threads.
    float largest = -__builtin_inff();
    for (int start = thread(); start < width; start += TOGETHER * BLOCK)
    {
        float x[TOGETHER];
        read(x, logits, start, width);
        if (change->masked)
        {
            u32 word[TOGETHER];
#pragma unroll
            for (int i = 0; i < TOGETHER; i++) word[i] = mask[least(start + i * BLOCK, width - 1) / 32];
#pragma unroll
            for (int i = 0; i < TOGETHER; i++)
            {
                int k = start + i * BLOCK;
                if (k >= width || word[i] >> (k % 32) & 1) continue;
                x[i] = -__builtin_inff();
                logits[k] = x[i];
            }
        }

#pragma unroll
        for (int i = 0; i < TOGETHER; i++)
        {
            if (x[i] > largest) largest = x[i];
        }
    }

    keys[thread()] = key_of(largest, 0);
    if (thread() == 0) count = 0;
    sort(keys);
    largest = logit_of(keys[0]);
    float bound = logit_of(keys[LEAST]);
    barrier();
    keys[thread()] = 0;
    barrier();

    float rest = 0, scale = change->scale;
    for (int start = thread(); start < width; start += TOGETHER * BLOCK)
    {
        float x[TOGETHER];
        read(x, logits, start, width);
#pragma unroll
        for (int i = 0; i < TOGETHER; i++)
        {
            if (x[i] > bound)
            {
                int place = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
                if (place < LIST) keys[place] = key_of(x[i], start + i * BLOCK);
            }
            else
            {
                rest += __nvvm_ex2_approx_f((x[i] - largest) * scale);
            }
        }
    }

    // Has barriers: afterwards all entries are there.
    rest = block_sum(rest, room);
    sort(keys);
    Entry entry = {logit_of(keys[thread()]), (int)~(u32)keys[thread()]};
    list->entries[thread()] = entry;
    if (thread() != 0) return;
    list->count = count;
    list->bound = bound;
    list->rest = rest;
}
