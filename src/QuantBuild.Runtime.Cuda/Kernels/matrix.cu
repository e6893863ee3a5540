// Products of many tokens with quantized weights, on tensor cores: integers of eight bits, whose sums over a segment are exact, times both scales in float32. A warp has 64 rows and 32 tokens; some
// warps are a group, whose inputs come slice by slice to shared memory while earlier ones are multiplied. Where there are too few rows and tokens for all multiprocessors, a block has several groups
// with the same rows and tokens, which take turns at the slices. Outliers are left out.
#include "linear.h"

#define THREADS_OF_BLOCK 256
#define WARP_ROWS 64
#define WARP_TOKENS 32
#define ROW_BLOCKS (WARP_ROWS / 32)    // a lane has four rows of each, side by side
#define ROW_TILES (WARP_ROWS / 16)     // of an mma
#define TOKEN_TILES (WARP_TOKENS / 8)  // of an mma

// A slice is as many whole segments as 128 inputs have, but no more than four. LLM.int8() has no shorter ones.
#define SLICE_CHUNKS 4
#if FORMAT == INT8ROW
#define SLICE_SEGMENTS 1
#else
#define SLICE_SEGMENTS 4
#endif
#define STAGES 3 // slices of a group in shared memory: one that is multiplied, and two on their way
#define TILE_BYTES (SLICE_CHUNKS * CHUNK_BYTES) // of a tile in a slice
#define TOKEN_BYTES (SLICE_CHUNKS * CHUNK)

// What a byte of scales stands for, in front of the ring.
#if FORMAT == CODEBOOK4
#define MAP_ENTRIES 256
#else
#define MAP_ENTRIES 0
#endif

// As a float, 12,582,912 and an integer that is added to the bits: a conversion without an instruction of its own. Sums of a segment are below 2^22: 128 products of 127 and 255.
#define FLOAT_BITS 0x4b400000
#define FLOAT_BASE 12582912.0f

#define GLOBAL __attribute__((address_space(1)))

typedef float Floats4 __attribute__((ext_vector_type(4)));
typedef u32 Words4 __attribute__((ext_vector_type(4)));

#define HAS_ZEROS (FORMAT != CODEBOOK4 && FORMAT != INT8ROW)

// Reads of memory that the compiler cannot tell from shared memory: the pointer was in memory itself.
template <typename T>
DEVICE T global(const T* p) { return *(const GLOBAL T*)p; }

// All of 16 bytes of shared memory at once, whatever is used of them.
DEVICE Words4 shared16(const void* p) { return *(const volatile __attribute__((address_space(3))) Words4*)p; }

// Where 16 bytes of a tile lie in shared memory, counted in 16s, so that lanes that read together are in different banks: of eight bits, even vectors before odd ones.
DEVICE int place_of(int piece)
{
#if WORDS == 8
    return (piece & ~15) | (piece & 2) << 2 | (piece & 12) >> 1 | (piece & 1);
#else
    return piece;
#endif
}

// By what bits a row of a tile is numbered otherwise: see multiply_chunks.
DEVICE int swapped(int tile) { return WORDS == 8 ? (tile & 1) * 2 : 0; }

// What a row has for a segment, as it lies in memory: asked for long before it is needed.
struct Asked
{
#if FORMAT == CODEBOOK4
    u32 byte;
    float maximum;
#elif FORMAT == INT8ROW
    float scale;
#else
    u16 scale;
    int zero;
#endif
};

DEVICE Asked ask(const Linear& w, int row, int half)
{
    Asked asked;
#if FORMAT == CODEBOOK4
    s64 block = ((s64)row * w.inputs + half * (CHUNK / 2)) >> w.shift;
    asked.byte = w.map ? global((const u8*)w.scales + block) : 0;
    asked.maximum = !w.map ? global((const float*)w.scales + block) : w.nested ? global(w.nested + (block >> 8)) : 1;
#elif FORMAT == INT8ROW
    asked.scale = global((const float*)w.scales + row);
#else
    s64 place = (s64)(row / TILE_ROWS) * w.groups * TILE_ROWS + row % TILE_ROWS + group_of(w, half);
    asked.scale = global((const u16*)w.scales + place);
    asked.zero = w.zeros ? global(w.zeros + place) : w.zero;
#endif
    return asked;
}

// map: a copy in shared memory of what a byte of scales stands for.
DEVICE float scale_of(const Linear& w, const float* map, const Asked& asked)
{
#if FORMAT == CODEBOOK4
    return (w.map ? fused(map[asked.byte], asked.maximum, w.nested ? w.offset : 0) : asked.maximum) * (1.0f / 127);
#elif FORMAT == INT8ROW
    return asked.scale * (1.0f / 127);
#else
    return half_to_float(asked.scale);
#endif
}

// Some chunks of a segment. weights: the lane's first word in the slice; bytes: its token's first, whose chunks are in an order that the token's last two bits say, for the banks. counts: whether the lane's
// inputs do.
template <int CHUNKS>
DEVICE void multiply_chunks(int (&c)[ROW_TILES][TOKEN_TILES][4], const u32 (&table)[4], const u8* weights, const u8* bytes, int first, bool counts = true)
{
    int g = lane() >> 2;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++)
    {
        u32 a[ROW_TILES][4];
#if WORDS == 8
        // Two rows at a time, which an mma takes as they are; of odd tiles the last two first, so that lanes that read together are in different banks.
#pragma unroll
        for (int m = 0; m < ROW_TILES; m++)
        {
            const u8* p = weights + m / 2 * 4 * TILE_BYTES + (first + chunk) * CHUNK_BYTES + (m % 2 * 8 ^ swapped(g >> 1) * 4);
            Bytes8 even = *(const Bytes8*)p, odd = *(const Bytes8*)(p + CHUNK_BYTES / 2);
            a[m][0] = even.x, a[m][1] = even.y, a[m][2] = odd.x, a[m][3] = odd.y;
        }
#else
#pragma unroll
        for (int block = 0; block < ROW_BLOCKS; block++)
        {
            int i = lane() & 3;
            const u8* p = weights + block * 4 * TILE_BYTES + (first + chunk) * CHUNK_BYTES;
            Bytes16 words = *(const Bytes16*)p;
            u32 firsts[4] = {words.x, words.y, words.z, words.w};
#if WORDS == 3
            words = *(const Bytes16*)(p + (2 - (i >> 1)) * 32);
            u32 seconds[4] = {words.x, words.y, words.z, words.w};
#endif
#pragma unroll
            for (int r = 0; r < 4; r++)
            {
                Pair pair;
                pair.first = firsts[r];
#if WORDS == 3
                pair.second = seconds[r];
#endif
                unpack(table, pair, i, a[block * 2 + r / 2][r & 1], a[block * 2 + r / 2][2 + (r & 1)]);
            }
        }
#endif

#pragma unroll
        for (int n = 0; n < TOKEN_TILES; n++)
        {
            Bytes8 b = *(const Bytes8*)(bytes + n * 8 * TOKEN_BYTES + ((first + chunk) ^ (g & 3)) * CHUNK);
            if (!counts) b.x = b.y = 0;
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++) multiply_chunk(c[m][n], a[m], b.x, b.y);
        }
    }
}

// What the sums of a segment begin with: the zero points' share is taken from it, and the bits of a float are under it.
DEVICE void start(int (&c)[ROW_TILES][TOKEN_TILES][4], const u8* segments, const u8* zeros)
{
#if HAS_ZEROS
    Words4 negated[ROW_BLOCKS];
#pragma unroll
    for (int b = 0; b < ROW_BLOCKS; b++) negated[b] = shared16(zeros + b * 128);
#endif
#pragma unroll
    for (int n = 0; n < TOKEN_TILES; n++)
    {
#if HAS_ZEROS
        Words4 of = shared16(segments + n * 64);
#endif
#pragma unroll
        for (int b = 0; b < ROW_BLOCKS; b++)
        {
#pragma unroll
            for (int r = 0; r < 4; r++)
#pragma unroll
                for (int e = 0; e < 2; e++)
                {
                    int& sum = c[b * 2 + r / 2][n][(r & 1) * 2 + e];
                    sum = FLOAT_BITS;
#if HAS_ZEROS
                    sum += (int)negated[b][r] * (int)of[e * 2 + 1];
#endif
                }
        }
    }
}

// Adds the sums of a segment times both scales.
DEVICE void add_scaled(float (&total)[ROW_TILES][TOKEN_TILES][4], const int (&c)[ROW_TILES][TOKEN_TILES][4], const u8* segments, const u8* scales)
{
    Words4 rows[ROW_BLOCKS];
#pragma unroll
    for (int b = 0; b < ROW_BLOCKS; b++) rows[b] = shared16(scales + b * 128);
#pragma unroll
    for (int n = 0; n < TOKEN_TILES; n++)
    {
        Words4 of = shared16(segments + n * 64);
#pragma unroll
        for (int e = 0; e < 2; e++)
        {
#pragma unroll
            for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
                for (int j = 0; j < 2; j++)
                {
                    float& sum = total[m][n][j * 2 + e];
                    sum = fused(float_of(rows[m / 2][m % 2 * 2 + j]) * float_of(of[e * 2]), float_of((u32)c[m][n][j * 2 + e]) - FLOAT_BASE, sum);
                }
        }
    }
}

// Four rows of a token.
DEVICE void give_rows(const Linear& w, int token, int row, Floats4 products)
{
    float* y = w.y + (s64)token * w.yStride + row;
    if (row + 4 > w.outputs || ((u64)y & 15) != 0)
    {
#pragma unroll
        for (int r = 0; r < 4; r++) give(w, token, row + r, products[r]);
        return;
    }

    if (w.bias) products += (Floats4){w.bias[row], w.bias[row + 1], w.bias[row + 2], w.bias[row + 3]};
    GLOBAL Floats4* target = (GLOBAL Floats4*)y;
    *target = w.adds ? *target + w.scale * products : products;
}

// How the work is divided, and what a stage of the ring holds: a slice of a group's rows and tokens. ROW_WARPS by TOKEN_WARPS are a group.
template <int ROW_WARPS, int TOKEN_WARPS>
struct Division
{
    static constexpr int WARPS = ROW_WARPS * TOKEN_WARPS;
    static constexpr int LANES = WARPS * 32;
    static constexpr int ROWS = ROW_WARPS * WARP_ROWS;
    static constexpr int TOKENS = TOKEN_WARPS * WARP_TOKENS;
    static constexpr int TILES_OF_WARP = ROWS / TILE_ROWS / WARPS; // that it brings
    static constexpr int TOKENS_OF_WARP = TOKENS / WARPS;          // likewise
    static constexpr int ASKED = (ROWS * SLICE_SEGMENTS + LANES - 1) / LANES; // scales that a thread brings, at most

    // Offsets in a stage: tiles, bytes of tokens, and for each segment what the tokens have, scales of rows, and their zero points negated.
    static constexpr int BYTES = ROWS / TILE_ROWS * TILE_BYTES;
    static constexpr int SEGMENTS = BYTES + TOKENS * TOKEN_BYTES;
    static constexpr int SCALES = TOKENS * 8; // of a segment
    static constexpr int ZEROS = SCALES + ROWS * 4;
    static constexpr int SEGMENT_BYTES = ZEROS + ROWS * 4;
    int stage_bytes;

    int first_row;
    int first_token;
    int tokens;
    int own;    // warp of the group
    int number; // thread of the group
    int segments_of_slice;
    int chunks_of_slice;
};

// What a thread brings of the next slice, and where it goes in a stage: a warp brings some tiles, and some tokens, eight lanes each.
template <typename D>
struct Next
{
    const u8* weights;
    int tile_bytes;
    int last_tile; // of the linear, from the first one on that the warp brings
    int tile_place;
    const s8* bytes;
    int byte_place;
    int tokens; // from the first one on that the lane brings
    const Segment* segments;
    int segment_tokens; // 1, or 0 for none
    int chunks;         // from this slice on
    int count;          // segments from this slice on
    int half;           // its first half chunk
};

template <typename D>
DEVICE Next<D> first_slice(const D& d, const Linear& w, const Input& x, int slice)
{
    Next<D> next;
    int tile = d.first_row / TILE_ROWS + d.own * D::TILES_OF_WARP;
    next.tile_bytes = w.chunks * CHUNK_BYTES;
    next.weights = w.weight + (s64)tile * next.tile_bytes + slice * d.chunks_of_slice * CHUNK_BYTES + lane() * 16;
    next.last_tile = (w.outputs + TILE_ROWS - 1) / TILE_ROWS - 1 - tile;
    next.tile_place = d.own * D::TILES_OF_WARP * TILE_BYTES;

    int token = d.own * D::TOKENS_OF_WARP + (lane() >> 3), piece = lane() & 7;
    next.bytes = x.bytes + (s64)(d.first_token + token) * x.stride + slice * d.chunks_of_slice * CHUNK + piece * 16;
    next.byte_place = D::BYTES + token * TOKEN_BYTES + (piece >> 1 ^ (token & 3)) * CHUNK + (piece & 1) * 16;
    next.tokens = d.tokens - token;

    token = d.number % D::TOKENS;
    next.segments = x.segments + (s64)(d.first_token + token) * x.segmentCount + slice * d.segments_of_slice + d.number / D::TOKENS;
    next.segment_tokens = token < d.tokens;
    next.chunks = w.chunks - slice * d.chunks_of_slice;
    next.count = x.segmentCount - slice * d.segments_of_slice;
    next.half = slice * d.chunks_of_slice * 2;
    return next;
}

// Asks for the scales of the next slice.
template <typename D>
DEVICE void ask_scales(const D& d, const Next<D>& next, const Linear& w, const Input& x, Asked (&asked)[D::ASKED])
{
#pragma unroll
    for (int n = 0; n < D::ASKED; n++)
    {
        int row = (d.number + n * D::LANES) % D::ROWS, s = (d.number + n * D::LANES) / D::ROWS;
        if (s < d.segments_of_slice) asked[n] = ask(w, row_with_scale(w, d.first_row + row), next.half + least(s, next.count - 1) * x.segmentHalves);
    }
}

// Brings the next slice, without waiting. The one behind it is some slices further on.
template <typename D>
DEVICE void bring(const D& d, Next<D>& next, const Input& x, int slices, u8* stage)
{
    int chunks = least(d.chunks_of_slice, next.chunks);
    u8* to = stage + next.tile_place;
#pragma unroll
    for (int p = 0; p < TILE_BYTES; p += 512)
    {
        if (lane() * 16 + p < chunks * CHUNK_BYTES)
        {
            // Of tiles that are not there, the last one is brought.
#pragma unroll
            for (int n = 0; n < D::TILES_OF_WARP; n++) copy16(to + place_of(lane() + p / 16) * 16 + n * TILE_BYTES, next.weights + least(n, next.last_tile) * next.tile_bytes + p);
        }
    }

    int tokens = (lane() & 7) < chunks * 2 ? next.tokens : 0;
    to = stage + next.byte_place;
    const s8* bytes = next.bytes;
#pragma unroll
    for (int n = 0; n < D::TOKENS_OF_WARP; n += 4)
    {
        if (n < tokens) copy16(to + n * TOKEN_BYTES, bytes);
        bytes += 4 * x.stride;
    }

    int segments = next.segment_tokens ? least(d.segments_of_slice, next.count) - d.number / D::TOKENS : 0;
    to = stage + D::SEGMENTS + d.number / D::TOKENS * D::SEGMENT_BYTES + d.number % D::TOKENS * 8;
#pragma unroll
    for (int n = 0; n < SLICE_SEGMENTS * D::TOKENS; n += D::LANES)
    {
        if (n / D::TOKENS < segments) copy8(to + n / D::TOKENS * D::SEGMENT_BYTES, next.segments + n / D::TOKENS);
    }

    next.weights += slices * d.chunks_of_slice * CHUNK_BYTES;
    next.bytes += slices * d.chunks_of_slice * CHUNK;
    next.segments += slices * d.segments_of_slice;
    next.chunks -= slices * d.chunks_of_slice;
    next.count -= slices * d.segments_of_slice;
    next.half += slices * d.chunks_of_slice * 2;
}

// Tokens that are not there are zero in every stage.
template <typename D>
DEVICE void clear_rest(const D& d, u8* ring)
{
#pragma unroll 1
    for (int n = 0; n < STAGES; n++)
    {
        u8* stage = ring + n * d.stage_bytes;
#pragma unroll 1
        for (int p = d.number; p < (D::TOKENS - d.tokens) * (TOKEN_BYTES / 16); p += D::LANES) ((Bytes16*)(stage + D::BYTES + d.tokens * TOKEN_BYTES))[p] = {0, 0, 0, 0};
#pragma unroll 1
        for (int token = d.tokens + d.number; token < D::TOKENS; token += D::LANES)
        {
#pragma unroll 1
            for (int s = 0; s < d.segments_of_slice; s++) *(Segment*)(stage + D::SEGMENTS + s * D::SEGMENT_BYTES + token * 8) = {0, 0};
        }
    }
}

template <typename D>
DEVICE void put_scales(const D& d, const Linear& w, const float* map, const Asked (&asked)[D::ASKED], u8* stage)
{
#pragma unroll
    for (int n = 0; n < D::ASKED; n++)
    {
        int row = (d.number + n * D::LANES) % D::ROWS, s = (d.number + n * D::LANES) / D::ROWS;
        if (s >= d.segments_of_slice) continue;
        u8* to = stage + D::SEGMENTS + s * D::SEGMENT_BYTES + (row ^ swapped(row / TILE_ROWS)) * 4;
        *(float*)(to + D::SCALES) = scale_of(w, map, asked[n]);
#if HAS_ZEROS
        *(int*)(to + D::ZEROS) = -asked[n].zero;
#endif
    }
}

template <int ROW_WARPS, int TOKEN_WARPS>
DEVICE void multiply_tiles(const Linear* linears, int linear_count, Input x)
{
    typedef Division<ROW_WARPS, TOKEN_WARPS> D;
    extern SHARED Bytes16 shared[];
    int block = block_y(), first_row = x.runs ? enter_run(linears, linear_count, x) : 0;
    if (first_row < 0) return;
    Linear w = linears[find(linears, linear_count, D::ROWS, block)];
    // Another expert may have more rows.
    if (block * D::ROWS >= w.outputs) return;
    w.y += (s64)first_row * w.yStride;
    int group = warp() / D::WARPS, groups = warps() / D::WARPS, halves = x.segmentHalves;
    D d;
    d.first_row = block * D::ROWS;
    d.first_token = block_x() * D::TOKENS;
    d.tokens = least(D::TOKENS, x.tokens - d.first_token);
    d.own = warp() % D::WARPS;
    d.number = thread() % D::LANES;
    d.segments_of_slice = least(SLICE_SEGMENTS, 8 / halves);
    d.chunks_of_slice = d.segments_of_slice * halves / 2;
    d.stage_bytes = D::SEGMENTS + d.segments_of_slice * D::SEGMENT_BYTES;
    float* map = (float*)shared;
#if FORMAT == CODEBOOK4
    if (w.map)
    {
        for (int n = thread(); n < MAP_ENTRIES; n += threads()) map[n] = w.map[n];
    }

    barrier();
#endif
    u8* ring = (u8*)(map + MAP_ENTRIES) + group * STAGES * d.stage_bytes;
    clear_rest(d, ring);

    // The groups take turns at the slices.
    int slices = (x.segmentCount + d.segments_of_slice - 1) / d.segments_of_slice, rounds = (slices + groups - 1) / groups;
    Next<D> next = first_slice(d, w, x, group);
    Asked asked[D::ASKED];
#pragma unroll 1
    for (int n = 0; n < STAGES - 1; n++)
    {
        if (next.count > 0)
        {
            ask_scales(d, next, w, x, asked);
            bring(d, next, x, groups, ring + n * d.stage_bytes);
            put_scales(d, w, map, asked, ring + n * d.stage_bytes);
        }

        end_group();
    }

    u32 table[4];
#if FORMAT == CODEBOOK4
    // What the compiler knows to be the same for all lanes it keeps in registers of another kind, from which every use would copy it: so it is not to know. The last lane is before no other.
    u32 nothing = __nvvm_read_ptx_sreg_lanemask_lt() >> 31;
#pragma unroll
    for (int k = 0; k < 4; k++) table[k] = w.tableBytes[k] | nothing;
#endif
    float total[ROW_TILES][TOKEN_TILES][4];
#pragma unroll
    for (int m = 0; m < ROW_TILES; m++)
#pragma unroll
        for (int n = 0; n < TOKEN_TILES; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) total[m][n][e] = 0;

    // Where a lane reads in a stage. Of a tile it has four rows at a time, half a vector; four tiles are 32 rows.
    int g = lane() >> 2, i = lane() & 3, warp_row = d.own / TOKEN_WARPS * WARP_ROWS, warp_token = d.own % TOKEN_WARPS * WARP_TOKENS;
    int weights = (warp_row / TILE_ROWS + (g >> 1)) * TILE_BYTES + (g & 1) * 16 + (WORDS < 4 ? i >> 1 : i) * 32;
    int bytes = D::BYTES + (warp_token + g) * TOKEN_BYTES + i * 8, segments = D::SEGMENTS + (warp_token + i * 2) * 8, row = D::SEGMENTS + (warp_row + g * 4) * 4;
    int now = 0, last = (STAGES - 1) * d.stage_bytes, left = x.segmentCount - group * d.segments_of_slice, chunks_left = w.chunks - group * d.chunks_of_slice;
    for (int round = 0; round < rounds; round++)
    {
        wait_groups<STAGES - 2>();
        barrier();
        // Nobody reads the stage of the round before any more.
        bool goes_on = next.count > 0;
        if (goes_on)
        {
            ask_scales(d, next, w, x, asked);
            bring(d, next, x, groups, ring + last);
        }

        end_group();
        const u8* stage = ring + now;
        int count = least(d.segments_of_slice, left);
        for (int s = 0; s < count; s++)
        {
            const u8 *of = stage + segments + s * D::SEGMENT_BYTES, *scales = stage + row + D::SCALES + s * D::SEGMENT_BYTES;
            int c[ROW_TILES][TOKEN_TILES][4];
            start(c, of, scales + D::ZEROS - D::SCALES);
            int half = s * halves, first = half >> 1, chunks = least((halves + 1) >> 1, chunks_left - first);
            if (D::WARPS == 8 && chunks == 4)
            {
                multiply_chunks<4>(c, table, stage + weights, stage + bytes, 0);
                chunks = 0;
            }

#pragma unroll 1
            for (; chunks > 1; chunks -= 2, first += 2) multiply_chunks<2>(c, table, stage + weights, stage + bytes, first);
            // Of a segment that is half a chunk, the other half counts for nothing: its words are those of lanes 2 and 3, or 0 and 1.
            if (chunks == 1) multiply_chunks<1>(c, table, stage + weights, stage + bytes, first, halves > 1 || (i >> 1) == (half & 1));
            add_scaled(total, c, of, scales);
        }

        if (goes_on) put_scales(d, w, map, asked, ring + last);
        last = now;
        now = now == (STAGES - 1) * d.stage_bytes ? 0 : now + d.stage_bytes;
        left -= groups * d.segments_of_slice;
        chunks_left -= groups * d.chunks_of_slice;
    }

    // All is brought together in shared memory: sums of the groups, always added in the same order, and rows of a token side by side.
    constexpr int STRIDE = D::ROWS / 4 + 1;
    static_assert(STAGES * (D::SEGMENTS + D::SEGMENT_BYTES) >= D::TOKENS * STRIDE * 16, "the ring has room for the sums");
    Floats4* sums = (Floats4*)shared;
    barrier();
#pragma unroll
    for (int n = 0; n < TOKEN_TILES; n++)
#pragma unroll
        for (int e = 0; e < 2; e++)
#pragma unroll
            for (int b = 0; b < ROW_BLOCKS; b++)
                sums[(group * D::TOKENS + warp_token + n * 8 + i * 2 + e) * STRIDE + warp_row / 4 + b * 8 + g]
                    = (Floats4){total[2 * b][n][e], total[2 * b][n][2 + e], total[2 * b + 1][n][e], total[2 * b + 1][n][2 + e]};
    barrier();
#pragma unroll 1
    for (int p = thread(); p < d.tokens * (D::ROWS / 4); p += threads())
    {
        int token = p / (D::ROWS / 4), quad = p % (D::ROWS / 4);
        Floats4 sum = sums[token * STRIDE + quad];
#pragma unroll 1
        for (int k = 1; k < groups; k++) sum += sums[(k * D::TOKENS + token) * STRIDE + quad];
        if (swapped(quad / 2)) sum = sum.zwxy;
        give_rows(w, d.first_token + token, d.first_row + quad * 4, sum);
    }
}

// Devices before compute capability 8.0 have too little shared memory for the largest.
#if __CUDA_ARCH__ >= 800
KERNEL void THREADS(THREADS_OF_BLOCK) multiply_128x128(const Linear* linears, int count, const Input x) { multiply_tiles<2, 4>(linears, count, x); }
#endif
KERNEL void THREADS(THREADS_OF_BLOCK) multiply_64x64(const Linear* linears, int count, const Input x) { multiply_tiles<1, 2>(linears, count, x); }
KERNEL void THREADS(THREADS_OF_BLOCK) multiply_64x32(const Linear* linears, int count, const Input x) { multiply_tiles<1, 1>(linears, count, x); }
