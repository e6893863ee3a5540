// Products of tokens with weights that are numbers: F32, F16 or BF16. A warp has a row, and takes sixteen bytes of it at a time for each lane.
#include "experts.h"

#define BLOCK 256

struct F32
{
    static const int size = 4;
    DEVICE float number(const u8* p) { return *(const float*)p; }
    DEVICE float of_word(u32 word, int) { return float_of(word); }
};

struct F16
{
    static const int size = 2;
    DEVICE float number(const u8* p) { return half_to_float(*(const u16*)p); }
    DEVICE float of_word(u32 word, int which) { return half_to_float((u16)(word >> (16 * which))); }
};

struct BF16
{
    static const int size = 2;
    DEVICE float number(const u8* p) { return float_of((u32) * (const u16*)p << 16); }
    DEVICE float of_word(u32 word, int which) { return float_of(which ? word & 0xffff0000u : word << 16); }
};

struct FloatLinear
{
    const u8* weight;  // [outputs, inputs]
    const float* bias; // [outputs], or null
    const float* x;    // [tokens, xStride]
    float* y;          // [tokens, yStride]
    float scale;
    int outputs;
    int inputs;
    int tokens;
    int xStride;
    int yStride;
    int adds;
};

template <typename T, int TOKENS>
DEVICE void multiply(const FloatLinear& w)
{
    begin_after_previous();
    const int numbers = 16 / T::size;
    int row = block_x() * (BLOCK / 32) + warp(), first = block_y() * TOKENS, tokens = least(TOKENS, w.tokens - first);
    if (row >= w.outputs) return;
    const u8* start = w.weight + (s64)row * w.inputs * T::size;
    const float* x = w.x + (s64)first * w.xStride;
    float sums[TOKENS];
#pragma unroll
    for (int t = 0; t < TOKENS; t++) sums[t] = 0;
    // Rows whose width is odd do not begin at multiples of sixteen bytes.
    int whole = ((s64)start & 15) == 0 && (w.inputs * T::size) % 16 == 0 ? w.inputs : 0;
    for (int k = lane() * numbers; k < whole; k += 32 * numbers)
    {
        Bytes16 bytes = read16(start + (s64)k * T::size);
        u32 words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
        float weights[numbers];
#pragma unroll
        for (int i = 0; i < numbers; i++) weights[i] = T::of_word(words[i * T::size / 4], i * T::size % 4 / 2);
#pragma unroll
        for (int t = 0; t < TOKENS; t++)
        {
            // Of tokens that are not there the last one is computed, and not given. Four numbers at a time: one by one they would take longer than the weights.
            const float* own = x + (s64)least(t, tokens - 1) * w.xStride + k;
#pragma unroll
            for (int i = 0; i < numbers; i += 4)
            {
                Bytes16 four = read16(own + i);
                sums[t] = fused(weights[i], float_of(four.x), sums[t]);
                sums[t] = fused(weights[i + 1], float_of(four.y), sums[t]);
                sums[t] = fused(weights[i + 2], float_of(four.z), sums[t]);
                sums[t] = fused(weights[i + 3], float_of(four.w), sums[t]);
            }
        }
    }

    for (int k = whole + lane(); k < w.inputs; k += 32)
    {
        float weight = T::number(start + (s64)k * T::size);
#pragma unroll
        for (int t = 0; t < TOKENS; t++) sums[t] = fused(weight, t < tokens ? x[(s64)t * w.xStride + k] : 0, sums[t]);
    }

#pragma unroll
    for (int t = 0; t < TOKENS; t++)
    {
        float sum = warp_sum(sums[t]);
        if (lane() != 0 || t >= tokens) continue;
        if (w.bias) sum += w.bias[row];
        float* y = w.y + (s64)(first + t) * w.yStride + row;
        *y = w.adds ? *y + w.scale * sum : sum;
    }
}

KERNEL void THREADS(BLOCK) multiply_f32_1(const FloatLinear w) { multiply<F32, 1>(w); }
KERNEL void THREADS_BLOCKS(BLOCK, 2) multiply_f32_8(const FloatLinear w) { multiply<F32, 8>(w); }
KERNEL void THREADS(BLOCK) multiply_f16_1(const FloatLinear w) { multiply<F16, 1>(w); }
KERNEL void THREADS_BLOCKS(BLOCK, 2) multiply_f16_8(const FloatLinear w) { multiply<F16, 8>(w); }
KERNEL void THREADS(BLOCK) multiply_bf16_1(const FloatLinear w) { multiply<BF16, 1>(w); }
KERNEL void THREADS_BLOCKS(BLOCK, 2) multiply_bf16_8(const FloatLinear w) { multiply<BF16, 8>(w); }

// The same of an expert: linears are those of all, and the tokens the block's run.
template <typename T>
DEVICE void multiply_run(const FloatLinear* linears, const float* x, int xStride, const Run* runs)
{
    after_previous();
    Run run = runs[block_z()];
    FloatLinear w = linears[run.expert];
    w.x = x + (s64)run.first * xStride;
    w.xStride = xStride;
    w.y += (s64)run.first * w.yStride;
    w.tokens = run.count;
    if ((int)block_y() * 8 < run.count) multiply<T, 8>(w);
}

KERNEL void THREADS_BLOCKS(BLOCK, 2) multiply_f32_runs(const FloatLinear* linears, const float* x, int xStride, const Run* runs) { multiply_run<F32>(linears, x, xStride, runs); }
KERNEL void THREADS_BLOCKS(BLOCK, 2) multiply_f16_runs(const FloatLinear* linears, const float* x, int xStride, const Run* runs) { multiply_run<F16>(linears, x, xStride, runs); }
KERNEL void THREADS_BLOCKS(BLOCK, 2) multiply_bf16_runs(const FloatLinear* linears, const float* x, int xStride, const Run* runs) { multiply_run<BF16>(linears, x, xStride, runs); }
