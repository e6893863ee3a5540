// Linears with quantized weights. FORMAT says how they are packed; each format is compiled by itself, and a program loads those that its artifact has.
#pragma once
#include "experts.h"
#include "segment.h"

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

// A weight [outputs, inputs], and where its products go. In memory, not among a kernel's parameters: one that is chosen by a number would be copied to every thread's own.
struct Linear
{
    const u8* weight;    // tiles
    const void* scales;  // halves [tiles, groups, 8]; absolute maxima of blocks, F32 or U8; of rows, F32 [tiles, 8]
    const u8* zeros;     // [tiles, groups, 8], or null where every zero point is `zero`
    const float* nested; // maxima of the maxima, or null where scales are F32
    const float* map;    // what a byte of scales stands for, [256]; null where scales are F32
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
    const s8* bytes;         // [tokens, stride]; for codebooks, see looked_up
    const Segment* segments; // [tokens, segmentCount]
    const float* floats;     // [tokens, stride], where the linear reads floats
    const int* outliers;     // how many each token has, [tokens]; null where there can be none
    const int* places;       // their inputs [tokens, stride]
    const float* values;     // and values
    const Run* runs;         // of experts, whose linears lie one expert after the other; else null
    int tokens;
    int stride;              // inputs, rounded up to whole chunks
    int segmentCount;
    int segmentHalves;       // half chunks of a segment, at most 8; one only where a segment is half a chunk
};

// What a lane reads of a row in a chunk: words 2 i and 2 i + 1, four weights each.
struct Pair
{
    u32 first;
#if FORMAT == INT3 || FORMAT == INT8 || FORMAT == INT8ROW
    u32 second;
#endif
};

// p: the row's word in the first vector of the chunk, in memory or, for stored_pair, in shared memory.
template <u32 (*READ)(const void*)>
DEVICE Pair pair_at(const u8* p, int i)
{
    Pair pair;
#if FORMAT == INT2
    pair.first = READ(p + (i >> 1) * 32);
#elif FORMAT == INT3
    pair.first = READ(p + (i >> 1) * 32);
    pair.second = READ(p + 64);
#elif FORMAT == INT4 || FORMAT == CODEBOOK4
    pair.first = READ(p + i * 32);
#else
    pair.first = READ(p + i * 64);
    pair.second = READ(p + i * 64 + 32);
#endif
    return pair;
}

DEVICE Pair read_pair(const u8* p, int i) { return pair_at<read_once>(p, i); }
DEVICE Pair stored_pair(const u8* p, int i) { return pair_at<read_word>(p, i); }

// The bytes that eight indices stand for. They lie in the order of the indices in their word: even and odd ones in turn, four to a word; so do the activations of such a linear.
DEVICE void looked_up(const u32 (&table)[4], u32 indices, u32& even, u32& odd)
{
    // prmt chooses among eight bytes by three bits: of both halves of the table, and then between them by the fourth bit.
    u32 low = indices & 0x77777777u, half = 0x32103210u | ((indices & 0x88888888u) >> 1);
    even = permute(permute(table[0], table[1], low), permute(table[2], table[3], low), half);
    odd = permute(permute(table[0], table[1], low >> 16), permute(table[2], table[3], low >> 16), half >> 16);
}

DEVICE void unpack(const u32 (&table)[4], const Pair& pair, int i, u32& even, u32& odd)
{
#if FORMAT == INT2
    u32 v = pair.first >> ((i & 1) * 4);
    even = v & 0x03030303u;
    odd = (v >> 2) & 0x03030303u;
#elif FORMAT == INT3
    u32 v = pair.first >> ((i & 1) * 4), third = pair.second >> (2 * i);
    even = (v & 0x03030303u) | ((third << 2) & 0x04040404u);
    odd = ((v >> 2) & 0x03030303u) | ((third << 1) & 0x04040404u);
#elif FORMAT == INT4
    even = pair.first & 0x0f0f0f0fu;
    odd = (pair.first >> 4) & 0x0f0f0f0fu;
#elif FORMAT == CODEBOOK4
    looked_up(table, pair.first, even, odd);
#else
    even = pair.first;
    odd = pair.second;
#endif
}

// 16 rows (two tiles) by 8 tokens by a chunk, on tensor cores. Within a chunk the order of inputs is free, as long as weights and activations share it: lane 4 g + i has the words 2 i and 2 i + 1 of
// row g, which are one word of a packed vector as it lies in memory, and the same eight bytes of the activations. c: rows g and g + 8, tokens 2 i and 2 i + 1.
DEVICE void multiply_chunk(int (&c)[4], const u32 (&a)[4], u32 b0, u32 b1)
{
#if FORMAT == CODEBOOK4 || FORMAT == INT8ROW
#define WEIGHT_TYPE "s8"
#else
#define WEIGHT_TYPE "u8"
#endif
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

#if FORMAT == CODEBOOK4
// The absolute maximum of a block.
DEVICE float maximum_of(const Linear& w, s64 block)
{
    if (!w.map) return ((const float*)w.scales)[block];
    float mapped = w.map[((const u8*)w.scales)[block]];
    return w.nested ? mapped * w.nested[block >> 8] + w.offset : mapped;
}
#endif

// Where a row's scales and zero points are: found once, so that little is left to do for each segment.
struct RowScales
{
#if FORMAT == CODEBOOK4
    s64 first; // of the flattened weight
#elif FORMAT == INT8ROW
    float scale;
#else
    const u16* scales;
    const u8* zeros;
#endif
};

DEVICE RowScales scales_of(const Linear& w, int row)
{
    RowScales scales;
#if FORMAT == CODEBOOK4
    scales.first = (s64)row * w.inputs;
#elif FORMAT == INT8ROW
    scales.scale = ((const float*)w.scales)[row] * (1.0f / 127);
#else
    s64 place = (s64)(row / TILE_ROWS) * w.groups * TILE_ROWS + row % TILE_ROWS;
    scales.scales = (const u16*)w.scales + place;
    scales.zeros = w.zeros ? w.zeros + place : 0;
#endif
    return scales;
}

// The group of a half chunk. Inputs that only fill the last chunk belong to none.
DEVICE int group_of(const Linear& w, int half)
{
#if FORMAT == CODEBOOK4 || FORMAT == INT8ROW
    return 0;
#else
    return least(w.groups - 1, divided(half, w.perGroup)) * TILE_ROWS;
#endif
}

// The scale and the zero point of a row's half chunk.
DEVICE float scale_at(const Linear& w, const RowScales& row, int group, int half, int& zero)
{
#if FORMAT == CODEBOOK4
    zero = 0;
    return maximum_of(w, (row.first + half * (CHUNK / 2)) >> w.shift) * (1.0f / 127);
#elif FORMAT == INT8ROW
    zero = 0;
    return row.scale;
#else
    zero = row.zeros ? row.zeros[group] : w.zero;
    return half_to_float(row.scales[group]);
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

// What the outliers of a token add to a row: each is a number that was not rounded.
DEVICE float outlier_sum(const Linear& w, const Input& x, int token, int row)
{
    float sum = 0;
#if FORMAT == INT8ROW
    if (!x.outliers) return 0;
    float scale = ((const float*)w.scales)[row] * (1.0f / 127);
    for (int o = 0; o < x.outliers[token]; o++)
    {
        int k = x.places[(s64)token * x.stride + o];
        const u8* p = w.weight + ((s64)(row / TILE_ROWS) * w.chunks + k / CHUNK) * CHUNK_BYTES + (k % CHUNK) / 4 * 32 + row % TILE_ROWS * 4 + k % 4;
        sum = fused(x.values[(s64)token * x.stride + o] * scale, (float)*(const s8*)p, sum);
    }
#endif
    return sum;
}

// Makes linears and input those of a block's run. Gives the run's first row, or -1 where it has none.
DEVICE int enter_run(const Linear*& linears, int count, Input& x)
{
    // Runs are made by the kernels before.
    after_previous();
    Run run = x.runs[block_z()];
    if (run.count == 0) return -1;
    linears += run.expert * count;
    s64 numbers = (s64)run.first * x.stride;
    x.bytes += numbers;
    x.segments += (s64)run.first * x.segmentCount;
    x.floats += numbers;
    if (x.outliers) x.outliers += run.first;
    x.places += numbers;
    x.values += numbers;
    x.tokens = run.count;
    return run.first;
}

// The linear that a block works at, when each has a block for so many rows; the block becomes one of that linear's.
DEVICE int find(const Linear* linears, int count, int rows, int& block)
{
    int which = 0;
    for (; which < count - 1; which++)
    {
        int blocks = (linears[which].outputs + rows - 1) / rows;
        if (block < blocks) break;
        block -= blocks;
    }

    return which;
}
