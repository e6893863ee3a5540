// Linears with quantized weights. FORMAT says how they are packed; each format is compiled by itself, and a program loads those that its artifact has.
#pragma once
#include "device.h"

#define INT2 2
#define INT3 3
#define INT4 4
#define INT8 8
#define CODEBOOK4 16
#define INT8ROW 17

// Rows of a tile and inputs of a chunk, as PackedTiles packs them: a chunk is some vectors of 32 bytes, and word r of a vector belongs to row r.
#define TILE_ROWS 8
#define CHUNK 32

#if FORMAT == INT8 || FORMAT == INT8ROW
#define WORDS 8
#elif FORMAT == CODEBOOK4
#define WORDS 4
#else
#define WORDS FORMAT
#endif

#define CHUNK_BYTES (WORDS * 32)

#if FORMAT == CODEBOOK4 || FORMAT == INT8ROW
#define DOT dot_signed
#else
#define DOT dot_unsigned
#endif

// A weight [outputs, inputs], and where its products go. In memory, not among a kernel's parameters: one that is chosen by a number would be copied to every thread's own.
struct Linear
{
    const u8* weight;    // tiles
    const void* scales;  // halves [tiles, groups, 8]; absolute maxima of blocks, F32 or U8; of rows, F32 [tiles, 8]
    const u8* zeros;     // [tiles, groups, 8], or null where every zero point is `zero`
    const float* nested; // maxima of the maxima, or null where scales are F32
    const float* map;    // what a byte of scales stands for, [256]
    const float* table;  // the codebook, [16]
    const float* bias;   // [outputs], or null
    float* y;            // [tokens, yStride]
    float offset;        // added to each nested maximum
    float scale;         // what products are multiplied by before they are added to y
    int outputs;
    int inputs;
    int chunks;          // of a row
    int groups;          // of a row
    u32 perGroup;        // reciprocal of the half chunks of a group
    int zero;
    int shift;           // log2 of a block's weights
    int yStride;
    int adds;            // whether products are added to y, which is the residual stream; else they are y
    u32 tableBytes[4];   // the codebook times 127, rounded
};

// The input of some tokens, in bytes: x = scale * q for each segment of inputs.
struct Input
{
    const s8* bytes;       // [tokens, stride]
    const float* scales;   // [tokens, segments]
    const int* sums;       // of each half chunk, [tokens, stride / 16]
    const float* floats;   // [tokens, stride], where the linear reads floats
    const int* outliers;   // how many each token has, [tokens]; null where there can be none
    const int* places;     // their inputs [tokens, stride]
    const float* values;   // and values
    int tokens;
    int stride;            // inputs, rounded up to whole chunks
    int segments;
    int segmentHalves;     // half chunks of a segment; one only where a segment is half a chunk
    u32 perSegment;        // its reciprocal
};

DEVICE u32 looked_up(const Linear& w, u32 nibbles)
{
    // prmt chooses among eight bytes by three bits: both halves of the table, then one of them by the fourth bit.
    u32 n = nibbles & 0x07070707u;
    u32 selector = (n & 0xf) | ((n >> 4) & 0xf0) | ((n >> 8) & 0xf00) | ((n >> 12) & 0xf000);
    u32 low = permute(w.tableBytes[0], w.tableBytes[1], selector);
    u32 high = permute(w.tableBytes[2], w.tableBytes[3], selector);
    // A byte of ones where the fourth bit is set.
    u32 mask = ((nibbles >> 3) & 0x01010101u) * 0xffu;
    return (low & ~mask) | (high & mask);
}

// Words j = 2 i and 2 i + 1 of a row in a chunk, four weights each. p: the row's word in the first vector.
DEVICE void unpack_pair(const Linear& w, const u8* p, int i, u32& even, u32& odd)
{
#if FORMAT == INT2
    u32 v = read_once(p + (i >> 1) * 32) >> ((i & 1) * 4);
    even = v & 0x03030303u;
    odd = (v >> 2) & 0x03030303u;
#elif FORMAT == INT3
    u32 v = read_once(p + (i >> 1) * 32) >> ((i & 1) * 4);
    u32 third = read_once(p + 64) >> (2 * i);
    even = (v & 0x03030303u) | ((third << 2) & 0x04040404u);
    odd = ((v >> 2) & 0x03030303u) | ((third << 1) & 0x04040404u);
#elif FORMAT == INT4
    u32 v = read_once(p + i * 32);
    even = v & 0x0f0f0f0fu;
    odd = (v >> 4) & 0x0f0f0f0fu;
#elif FORMAT == CODEBOOK4
    u32 v = read_once(p + i * 32);
    even = looked_up(w, v & 0x0f0f0f0fu);
    odd = looked_up(w, (v >> 4) & 0x0f0f0f0fu);
#else
    even = read_once(p + i * 64);
    odd = read_once(p + i * 64 + 32);
#endif
}

// The scale and the zero point of a row's half chunk.
DEVICE float scale_of(const Linear& w, int row, int half, int& zero)
{
#if FORMAT == CODEBOOK4
    zero = 0;
    s64 block = ((s64)row * w.inputs + (s64)half * (CHUNK / 2)) >> w.shift;
    float absmax = w.nested ? fused(w.map[((const u8*)w.scales)[block]], w.nested[block >> 8], w.offset) : ((const float*)w.scales)[block];
    return absmax * (1.0f / 127);
#elif FORMAT == INT8ROW
    zero = 0;
    return ((const float*)w.scales)[row] * (1.0f / 127);
#else
    // Inputs that only fill the last chunk belong to no group.
    int group = least(w.groups - 1, divided(half, w.perGroup));
    s64 place = ((s64)(row / TILE_ROWS) * w.groups + group) * TILE_ROWS + row % TILE_ROWS;
    zero = w.zeros ? w.zeros[place] : w.zero;
    return half_to_float(((const u16*)w.scales)[place]);
#endif
}

// Rows that only fill the last tile have no scales of blocks.
DEVICE int row_with_scale(const Linear& w, int row) { return least(row, w.outputs - 1); }

DEVICE void give(const Linear& w, int token, int row, float product)
{
    if (row >= w.outputs) return;
    if (w.bias) product += w.bias[row];
    float* y = w.y + (s64)token * w.yStride + row;
    *y = w.adds ? *y + w.scale * product : product;
}
