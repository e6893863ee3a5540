// Keys and values of texts, as KvPages lays them out, and attention over them.
#pragma once
#include "device.h"

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
};

// The sum of a head's weights with that of its own score.
DEVICE float with_sink(const Attention& a, int head, float maximum, float sum)
{
    return a.sinks ? sum + exponential(a.sinks[head] - maximum) : sum;
}

DEVICE float capped(float score, float cap)
{
    return cap * (2 * quotient(1, 1 + exponential(quotient(-2 * score, cap))) - 1);
}
