// What a kernel needs of CUDA C++: clang compiles these files with no toolkit, so the few intrinsics that they use are named here.
#pragma once

typedef unsigned char u8;
typedef signed char s8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

#define KERNEL extern "C" __attribute__((global))
#define DEVICE static inline __attribute__((device, always_inline))
#define SHARED __attribute__((shared))

// A kernel of so many threads a block: the compiler may use as many registers as that leaves. Of some kernels so many blocks are to be on a processor at a time.
#define THREADS(n) __attribute__((launch_bounds(n)))
#define THREADS_BLOCKS(n, blocks) __attribute__((launch_bounds(n, blocks)))

#define FULL 0xffffffffu

struct alignas(16) Bytes16 { u32 x, y, z, w; };
struct alignas(8) Bytes8 { u32 x, y; };

DEVICE int thread() { return __nvvm_read_ptx_sreg_tid_x(); }
DEVICE int threads() { return __nvvm_read_ptx_sreg_ntid_x(); }
DEVICE int lane() { return thread() & 31; }
DEVICE int warp() { return thread() >> 5; }
DEVICE int warps() { return threads() >> 5; }
DEVICE int block_x() { return __nvvm_read_ptx_sreg_ctaid_x(); }
DEVICE int block_y() { return __nvvm_read_ptx_sreg_ctaid_y(); }
DEVICE int block_z() { return __nvvm_read_ptx_sreg_ctaid_z(); }
DEVICE int blocks_x() { return __nvvm_read_ptx_sreg_nctaid_x(); }
DEVICE int blocks_y() { return __nvvm_read_ptx_sreg_nctaid_y(); }
DEVICE int blocks_z() { return __nvvm_read_ptx_sreg_nctaid_z(); }
DEVICE void barrier() { __syncthreads(); }

// From compute capability 9.0 on, a kernel's blocks may begin while those of the kernel before still run (programmatic dependent launch, PTX ISA 7.8): weights, which nothing writes, can be on
// their way by then. Everything else that is read or written waits until the kernel before is done, and with it all before it: each kernel of such a module has to.
DEVICE void after_previous()
{
#if CAPABILITY >= 90
    asm volatile("griddepcontrol.wait;" : : : "memory");
#endif
}

// Once all blocks of this kernel are this far, those of the next one may begin.
DEVICE void let_next_begin()
{
#if CAPABILITY >= 90
    asm volatile("griddepcontrol.launch_dependents;" : : : "memory");
#endif
}

// Of kernels that have nothing to do before.
DEVICE void begin_after_previous()
{
    let_next_begin();
    after_previous();
}

DEVICE int least(int a, int b) { return a < b ? a : b; }
DEVICE int most(int a, int b) { return a > b ? a : b; }
DEVICE float least(float a, float b) { return __nvvm_fmin_f(a, b); }
DEVICE float most(float a, float b) { return __nvvm_fmax_f(a, b); }
DEVICE float magnitude(float x) { return __nvvm_fabs_f(x); }
DEVICE float fused(float a, float b, float c) { return __nvvm_fma_rn_f(a, b, c); }
DEVICE float quotient(float a, float b) { return __nvvm_div_rn_f(a, b); }
DEVICE float root(float x) { return __nvvm_sqrt_rn_f(x); }
DEVICE int nearest(float x) { return __nvvm_f2i_rn(x); } // half to even

// e^x: two units in the last place of 2^y, and what rounding x log2(e) adds.
DEVICE float exponential(float x) { return __nvvm_ex2_approx_f(x * 1.4426950408889634f); }

DEVICE float sigmoid(float x) { return quotient(1, 1 + exponential(-x)); }

DEVICE float float_of(u32 bits) { return __builtin_bit_cast(float, bits); }
DEVICE u32 bits_of(float x) { return __builtin_bit_cast(u32, x); }

DEVICE float half_to_float(u16 h)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

DEVICE u16 float_to_half(float f)
{
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

// Four bytes out of the eight of two words, by a nibble for each.
DEVICE u32 permute(u32 a, u32 b, u32 selector)
{
    u32 result;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(selector));
    return result;
}

DEVICE u32 high_product(u32 a, u32 b)
{
    u32 result;
    asm("mul.hi.u32 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

// What no kernel writes while it runs, such as weights.
DEVICE u32 read_once(const void* p) { return __nvvm_ldg_ui((const u32*)p); }
DEVICE u32 read_word(const void* p) { return *(const u32*)p; }
DEVICE Bytes16 read16(const void* p) { return *(const Bytes16*)p; }

// Copies 8 or 16 bytes to shared memory, aligned alike, without waiting for them: the copies up to an end of a group are there once no more than so many groups behind it are under way. They are
// there for the thread that copied; the others need a barrier. Before compute capability 8.0 it waits.
DEVICE void copy8(void* shared, const void* global)
{
#if __CUDA_ARCH__ >= 800
    u32 to = (u32)(u64)(__attribute__((address_space(3))) void*)shared;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" : : "r"(to), "l"((__attribute__((address_space(1))) const void*)global) : "memory");
#else
    *(Bytes8*)shared = *(const Bytes8*)global;
#endif
}

DEVICE void copy16(void* shared, const void* global)
{
#if __CUDA_ARCH__ >= 800
    u32 to = (u32)(u64)(__attribute__((address_space(3))) void*)shared;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(to), "l"((__attribute__((address_space(1))) const void*)global) : "memory");
#else
    *(Bytes16*)shared = read16(global);
#endif
}

DEVICE void end_group()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" : : : "memory");
#endif
}

template <int UNDER_WAY>
DEVICE void wait_groups()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" : : "n"(UNDER_WAY) : "memory");
#endif
}

DEVICE float exchange(float x, int lanes) { return float_of(__nvvm_shfl_sync_bfly_i32(FULL, bits_of(x), lanes, 31)); }
DEVICE float from_lane(float x, int source) { return float_of(__nvvm_shfl_sync_idx_i32(FULL, bits_of(x), source, 31)); }

DEVICE float warp_sum(float x)
{
    for (int lanes = 16; lanes > 0; lanes >>= 1) x += exchange(x, lanes);
    return x;
}

DEVICE int warp_sum(int x)
{
    for (int lanes = 16; lanes > 0; lanes >>= 1) x += __nvvm_shfl_sync_bfly_i32(FULL, x, lanes, 31);
    return x;
}

DEVICE float warp_most(float x)
{
    for (int lanes = 16; lanes > 0; lanes >>= 1) x = most(x, exchange(x, lanes));
    return x;
}

// The largest, and the least, of a warp.
DEVICE u32 warp_largest(u32 x)
{
#if CAPABILITY >= 80
    asm volatile("redux.sync.max.u32 %0, %0, 0xffffffff;" : "+r"(x));
#else
    for (int lanes = 16; lanes > 0; lanes >>= 1)
    {
        u32 other = __nvvm_shfl_sync_bfly_i32(FULL, x, lanes, 31);
        x = other > x ? other : x;
    }
#endif
    return x;
}

DEVICE u32 warp_least(u32 x) { return ~warp_largest(~x); }

// The sum over a block, for all of its threads; room for a float a warp.
DEVICE float block_sum(float x, float* room)
{
    x = warp_sum(x);
    barrier();
    if (lane() == 0) room[warp()] = x;
    barrier();
    return warp_sum(lane() < warps() ? room[lane()] : 0);
}

// The same of the largest of numbers that are not negative.
DEVICE float block_most(float x, float* room)
{
    x = warp_most(x);
    barrier();
    if (lane() == 0) room[warp()] = x;
    barrier();
    return warp_most(lane() < warps() ? room[lane()] : 0);
}

// n / d for n * d < 2^32, by a multiplication: reciprocal is 2^32 / d rounded up, or 0 where d is 1.
DEVICE int divided(int n, u32 reciprocal) { return reciprocal == 0 ? n : (int)high_product((u32)n, reciprocal); }
