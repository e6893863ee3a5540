// Keys and values of texts, as KvPages lays them out, and attention over them.
#pragma once
#include "device.h"

// A function of a struct.
#define MEMBER inline __attribute__((device, always_inline))

// Tokens of a page.
#define PAGE 32

// A token of a pass.
struct Row
{
    int position;
    int pages; // where its text's pages begin in the table
};

struct Attention
{
    const float* queries; // [tokens, heads * headDim]
    float* results;       // [tokens, heads * headDim]
    float* partial;       // [tokens, heads, parts, headDim + 2]: unnormed result, maximum, sum
    const Row* rows;
    const u64* pages;
    const float* sinks;   // [heads], scores beside those of the tokens; null where there are none
    const float* slopes;  // [heads], what a score falls by for each token between; null for nothing
    s64 layerOffset;
    int blockBytes;
    float scale;
    float cap;            // of scores; 0 for none
    int heads;
    int kvHeads;
    int headDim;
    int window;           // tokens that are seen at most
    int bytes;
    int mostParts;        // that a text is divided into; 1 where none is
};

// The keys and values of a head in a page: the keys [headDim, PAGE], the values a block behind them, [PAGE, headDim]; bytes are followed by the steps of the tokens.
DEVICE const u8* keys_of(const Attention& a, u64 page, int head)
{
    return (const u8*)(__attribute__((address_space(1))) const u8*)page + a.layerOffset + 2ll * head * a.blockBytes;
}

// What is computed from this number is computed anew each time: there are no registers to keep addresses in.
DEVICE void made_anew(int& x) { asm volatile("" : "+r"(x)); }

// Two of four bytes as halves, by the nibbles of those in the selector: the bytes' first bits are turned. 1024 + 128 + b as a half is 0x64 and, behind it, b with its first bit turned.
DEVICE u32 halves_of(u32 bytes, u32 selector)
{
    u32 halves = permute(bytes, 0x64646464u, selector);
    asm("sub.f16x2 %0, %0, %1;" : "+r"(halves) : "r"(0x64806480u));
    return halves;
}

// c += a b: 16 by 8 times 8 by 8.
DEVICE void multiply(float (&c)[4], u32 a0, u32 a1, u32 b)
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(b));
}

// The sum of a head's weights with that of its own score.
DEVICE float with_sink(const Attention& a, int head, float maximum, float sum)
{
    return a.sinks ? sum + exponential(a.sinks[head] - maximum) : sum;
}

// The quotients are right to two units in the last place.
DEVICE float capped(float score, float cap)
{
    return cap * (2 * __nvvm_div_approx_f(1, 1 + exponential(__nvvm_div_approx_f(-2 * score, cap))) - 1);
}
