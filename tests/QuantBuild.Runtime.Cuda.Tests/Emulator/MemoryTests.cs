using QuantBuild.Cuda.Emulator;

namespace QuantBuild.Runtime.Cuda.Tests.Emulator;

public sealed class MemoryTests
{
    /// <summary>Each thread reads at <c>from + thread × step</c> and writes at <c>to + thread × step</c>.</summary>
    private static string Copy(string load, string store, string type = "u32") => Driver.Header + $$"""
        .visible .entry copy(.param .u64 to, .param .u64 from, .param .u32 step)
        {
            .reg .b32 %r<8>; .reg .b64 %a<8>;
            mov.u32 %r0, %tid.x;
            ld.param.u64 %a0, [to];
            ld.param.u64 %a1, [from];
            ld.param.u32 %r1, [step];
            mul.lo.u32 %r2, %r0, %r1;
            cvt.u64.u32 %a2, %r2;
            add.s64 %a3, %a0, %a2;
            add.s64 %a4, %a1, %a2;
            {{load}}.{{type}} %r3, [%a4];
            {{store}}.{{type}} [%a3], %r3;
            ret;
        }
        """;

    [Theory]
    [InlineData(4)]
    [InlineData(0)]
    [InlineData(8)]
    public void Lanes_load_and_store_neighbouring_single_and_scattered_numbers(int step)
    {
        using Driver driver = new();
        uint[] values = [.. Enumerable.Range(0, 128).Select(i => (uint)(i * 2654435761))];
        nint from = driver.Upload<uint>(values), to = driver.Upload<uint>(new uint[128]);
        driver.Launch(driver.Kernel(driver.Load(Copy("ld.global.nc", "st.global")), "copy"), (1, 1, 1), (45, 1, 1), 0, 0, to, from, step);
        uint[] expected = new uint[128];
        for (int i = 0; i < 45; i++) expected[i * step / 4] = values[i * step / 4];
        Assert.Equal(expected, driver.Download<uint>(to, 128));
        Assert.Empty(driver.Gpu.Violations);
    }

    [Fact]
    public void A_read_beyond_an_allocation_ends_the_launch_and_names_the_instruction_and_the_thread()
    {
        using Driver driver = new();
        nint from = driver.Upload<uint>(new uint[40]), to = driver.Upload<uint>(new uint[64]), kernel = driver.Kernel(driver.Load(Copy("ld.global", "st.global")), "copy");
        Assert.Equal((int)CuResult.IllegalAddress, driver.TryLaunch(kernel, (1, 1, 1), (64, 1, 1), 0, 0, to, from, 4));
        string violation = Assert.Single(driver.Gpu.Violations);
        Assert.Contains("copy, block (0, 0, 0), thread (40, 0, 0): reads 4 bytes", violation);
        Assert.Contains("0 bytes after the end of an allocation of 160 bytes", violation);
        Assert.Contains("ld.global.u32 %r3, [%a4]", violation);
        // The error stays until the context is gone.
        Assert.Equal((int)CuResult.IllegalAddress, driver.Call("cuCtxSynchronize"));
        Assert.Equal((int)CuResult.IllegalAddress, driver.TryLaunch(kernel, (1, 1, 1), (1, 1, 1), 0, 0, to, from, 4));
        Driver.Check(driver.Call("cuDevicePrimaryCtxRelease_v2", 0));
        Assert.Equal(0, driver.Gpu.AllocatedBytes);
        Assert.Equal((int)CuResult.InvalidContext, driver.Call("cuCtxSynchronize"));
    }

    [Fact]
    public void A_write_to_freed_memory_is_found()
    {
        using Driver driver = new();
        nint from = driver.Upload<uint>(new uint[64]), to = driver.Upload<uint>(new uint[64]), kernel = driver.Kernel(driver.Load(Copy("ld.global", "st.global")), "copy");
        driver.Launch(kernel, (1, 1, 1), (64, 1, 1), 0, 0, to, from, 4);
        Driver.Check(driver.Call("cuMemFree_v2", to));
        Assert.Equal((int)CuResult.IllegalAddress, driver.TryLaunch(kernel, (1, 1, 1), (64, 1, 1), 0, 0, to, from, 4));
        Assert.Contains("in memory of 256 bytes that was freed", Assert.Single(driver.Gpu.Violations));
    }

    [Fact]
    public void An_address_that_is_no_multiple_of_the_size_is_found()
    {
        using Driver driver = new();
        nint from = driver.Upload<uint>(new uint[64]), to = driver.Upload<uint>(new uint[64]);
        Assert.Equal((int)CuResult.MisalignedAddress, driver.TryLaunch(driver.Kernel(driver.Load(Copy("ld.global", "st.global")), "copy"), (1, 1, 1), (4, 1, 1), 0, 0, to, from, 6));
        Assert.Contains("thread (1, 0, 0)", Assert.Single(driver.Gpu.Violations));
    }

    [Fact]
    public void An_address_in_the_host_is_none_of_the_devices_unless_it_is_pinned()
    {
        using Driver driver = new();
        nint to = driver.Upload<uint>(new uint[64]);
        string ptx = Copy("ld.global", "st.global");
        unsafe
        {
            uint[] values = [.. Enumerable.Range(0, 64).Select(i => (uint)i)];
            fixed (uint* host = values)
            {
                Driver.Check(driver.Call("cuMemHostRegister_v2", (nint)host, 256, 0));
                driver.Launch(driver.Kernel(driver.Load(ptx), "copy"), (1, 1, 1), (64, 1, 1), 0, 0, to, (nint)host, 4);
                Assert.Equal(values, driver.Download<uint>(to, 64));
                Driver.Check(driver.Call("cuMemHostUnregister", (nint)host));
                Assert.Equal((int)CuResult.IllegalAddress, driver.TryLaunch(driver.Kernel(driver.Load(ptx), "copy"), (1, 1, 1), (64, 1, 1), 0, 0, to, (nint)host, 4));
                Assert.Contains("never allocated", Assert.Single(driver.Gpu.Violations));
            }
        }
    }

    [Fact]
    public void Reading_what_nobody_wrote_is_a_violation_where_asked()
    {
        using Driver driver = new(new() { CheckUninitialised = true });
        nint from = driver.Allocate(256), to = driver.Allocate(256);
        Driver.Check(driver.Call("cuMemsetD32Async", from, 7, 32, 0));
        nint kernel = driver.Kernel(driver.Load(Copy("ld.global", "st.global")), "copy");
        driver.Launch(kernel, (1, 1, 1), (32, 1, 1), 0, 0, to, from, 4);
        Assert.Empty(driver.Gpu.Violations);
        driver.Launch(kernel, (1, 1, 1), (33, 1, 1), 0, 0, to, from, 4);
        Assert.Contains("thread (32, 0, 0): reads device memory", Assert.Single(driver.Gpu.Violations));
    }

    [Theory]
    [InlineData("u8", 0xFFu)]
    [InlineData("s8", 0xFFFF_FFFFu)]
    [InlineData("u16", 0x80FFu)]
    [InlineData("s16", 0xFFFF_80FFu)]
    public void Narrow_numbers_are_widened_by_zeros_or_their_sign(string type, uint expected)
    {
        using Driver driver = new();
        nint data = driver.Upload<ushort>([0x80FF, 0, 0, 0]);
        nint d = driver.Allocate(256);
        string ptx = Driver.Header + $$"""
            .visible .entry k(.param .u64 d, .param .u64 s)
            {
                .reg .b32 %r<4>; .reg .b64 %a<4>;
                ld.param.u64 %a0, [d]; ld.param.u64 %a1, [s];
                ld.{{type}} %r0, [%a1];
                ld.global.{{type}} %a2, [%a1];
                st.u32 [%a0], %r0;
                st.global.u64 [%a0+8], %a2;
                ret;
            }
            """;
        driver.Launch(driver.Kernel(driver.Load(ptx), "k"), (1, 1, 1), (1, 1, 1), 0, 0, d, data);
        ulong[] actual = driver.Download<ulong>(d, 2);
        Assert.Equal(expected, (uint)actual[0]);
        Assert.Equal(type[0] == 's' ? (ulong)(int)expected : expected, actual[1]);
    }

    [Fact]
    public void Vectors_move_in_one_piece_and_must_be_aligned_as_one()
    {
        using Driver driver = new();
        float[] values = [.. Enumerable.Range(0, 128).Select(i => (float)i)];
        nint from = driver.Upload<float>(values), to = driver.Upload<float>(new float[128]);
        string ptx = Driver.Header + """
            .visible .entry k(.param .u64 d, .param .u64 s)
            {
                .reg .b32 %r<4>; .reg .f32 %f<8>; .reg .b64 %a<6>;
                mov.u32 %r0, %tid.x;
                ld.param.u64 %a0, [d]; ld.param.u64 %a1, [s];
                mad.wide.u32 %a2, %r0, 16, %a0;
                mad.wide.u32 %a3, %r0, 16, %a1;
                ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%a3];
                st.global.v2.f32 [%a2], {%f3, %f2};
                st.global.v2.f32 [%a2+8], {%f1, %f0};
                ret;
            }
            """;
        nint kernel = driver.Kernel(driver.Load(ptx), "k");
        driver.Launch(kernel, (1, 1, 1), (32, 1, 1), 0, 0, to, from);
        Assert.Equal([.. Enumerable.Range(0, 128).Select(i => values[(i & ~3) + 3 - (i & 3)])], driver.Download<float>(to, 128));
        Assert.Equal((int)CuResult.MisalignedAddress, driver.TryLaunch(kernel, (1, 1, 1), (1, 1, 1), 0, 0, to, from + 8));
    }

    /// <summary>Each of 64 threads leaves its number in shared memory and reads its mirror image's.</summary>
    private static string Mirror(string barrier, int bytes = 256) => Driver.Header + $$"""
        .visible .entry k(.param .u64 d)
        {
            .shared .align 4 .b8 tile[{{bytes}}];
            .reg .b32 %r<8>; .reg .b64 %a<8>;
            mov.u32 %r0, %tid.x;
            mov.u64 %a0, tile;
            mad.wide.u32 %a1, %r0, 4, %a0;
            st.shared.u32 [%a1], %r0;
            {{barrier}}
            sub.u32 %r1, 63, %r0;
            mad.wide.u32 %a2, %r1, 4, %a0;
            cvta.shared.u64 %a3, %a2;
            ld.u32 %r2, [%a3];
            ld.param.u64 %a4, [d];
            mad.wide.u32 %a5, %r0, 4, %a4;
            st.global.u32 [%a5], %r2;
            ret;
        }
        """;

    [Fact]
    public void A_barrier_shows_each_warp_what_the_others_wrote()
    {
        using Driver driver = new(new() { CheckRaces = true, CheckUninitialised = true });
        nint d = driver.Allocate(256);
        driver.Launch(driver.Kernel(driver.Load(Mirror("bar.sync 0;")), "k"), (3, 1, 1), (64, 1, 1), 0, 0, d);
        Assert.Equal([.. Enumerable.Range(0, 64).Select(i => 63 - i)], driver.Download<int>(d, 64));
        Assert.Empty(driver.Gpu.Violations);
    }

    [Fact]
    public void A_missing_barrier_is_a_race()
    {
        using Driver driver = new(new() { CheckRaces = true });
        driver.Launch(driver.Kernel(driver.Load(Mirror("")), "k"), (1, 1, 1), (64, 1, 1), 0, 0, driver.Allocate(256));
        Assert.Contains(driver.Gpu.Violations, v => v.Contains("races with warp 0, which read shared memory", StringComparison.Ordinal));
    }

    [Fact]
    public void A_barrier_of_some_warps_orders_those_alone()
    {
        using Driver driver = new(new() { CheckRaces = true });
        // Both warps meet at barrier 3 with the count of the block.
        driver.Launch(driver.Kernel(driver.Load(Mirror("barrier.sync 3, 64;")), "k"), (1, 1, 1), (64, 1, 1), 0, 0, driver.Allocate(256));
        Assert.Empty(driver.Gpu.Violations);
        // Each warp meets itself: the other's numbers may not be there.
        driver.Launch(driver.Kernel(driver.Load(Mirror("shr.u32 %r3, %r0, 5; add.u32 %r3, %r3, 1; bar.sync %r3, 32;")), "k"), (1, 1, 1), (64, 1, 1), 0, 0, driver.Allocate(256));
        Assert.NotEmpty(driver.Gpu.Violations);
    }

    [Fact]
    public void Shared_memory_ends_where_it_was_declared_to()
    {
        using Driver driver = new();
        Assert.Equal((int)CuResult.IllegalAddress, driver.TryLaunch(driver.Kernel(driver.Load(Mirror("bar.sync 0;", 252)), "k"), (1, 1, 1), (64, 1, 1), 0, 0, driver.Allocate(256)));
        Assert.Contains("thread (63, 0, 0): address 0xfc, 4 bytes, is out of the shared memory of 252 bytes", Assert.Single(driver.Gpu.Violations));
    }

    [Fact]
    public void Dynamic_shared_memory_follows_the_static_and_is_as_large_as_the_launch_says()
    {
        using Driver driver = new();
        string ptx = Driver.Header + """
            .extern .shared .align 16 .b8 dynamic[];
            .visible .entry k(.param .u64 d)
            {
                .shared .align 4 .b8 fixed[20];
                .reg .b32 %r<8>; .reg .b64 %a<8>;
                mov.u32 %r0, %tid.x;
                mov.u32 %r1, dynamic;
                shl.b32 %r2, %r0, 2;
                add.u32 %r3, %r1, %r2;
                st.shared.u32 [%r3], %r0;
                st.shared.u32 [fixed+16], %r1;
                ld.shared.u32 %r4, [fixed+16];
                ld.shared.u32 %r5, [%r3];
                add.u32 %r4, %r4, %r5;
                ld.param.u64 %a0, [d];
                mad.wide.u32 %a1, %r0, 4, %a0;
                st.global.u32 [%a1], %r4;
                ret;
            }
            """;
        nint d = driver.Allocate(128), kernel = driver.Kernel(driver.Load(ptx), "k");
        driver.Launch(kernel, (1, 1, 1), (32, 1, 1), 128, 0, d);
        Assert.Equal([.. Enumerable.Range(0, 32).Select(i => 32 + i)], driver.Download<int>(d, 32));
        Assert.Equal((int)CuResult.IllegalAddress, driver.TryLaunch(kernel, (1, 1, 1), (32, 1, 1), 124, 0, d));
    }

    [Fact]
    public void Local_memory_is_each_lanes_own()
    {
        using Driver driver = new();
        uint[] actual = driver.Warp("""
            .local .align 4 .b8 depot[32];
            mov.u64 %a2, depot;
            cvta.local.u64 %a3, %a2;
            st.local.u32 [%a2+4], %x;
            and.b32 %t1, %x, 7;
            mad.wide.u32 %a4, %t1, 4, %a3;
            st.u32 [%a4], 77;
            ld.local.u32 %d, [%a2+4];
            isspacep.local %p0, %a4;
            @!%p0 mov.u32 %d, 999;
            isspacep.global %p0, %a4;
            @%p0 mov.u32 %d, 998;
            isspacep.global %p0, %a1;
            @!%p0 mov.u32 %d, 997;
            """, [.. Enumerable.Range(0, 32).Select(i => (uint)i)]);
        Assert.Equal([.. Enumerable.Range(0, 32).Select(i => i % 8 == 1 ? 77 : (uint)i)], actual);
    }

    [Fact]
    public void Variables_of_a_module_hold_their_initial_values_and_each_others_addresses()
    {
        using Driver driver = new();
        string ptx = Driver.Header + """
            .visible .const .align 4 .f32 table[3] = {1.5, 0f40000000, -3.0};
            .visible .global .align 8 .u64 pointer[2] = {0, generic(table)+4};
            .visible .global .align 4 .u32 counter = 7;
            .visible .entry k(.param .u64 d)
            {
                .reg .f32 %f<4>; .reg .b32 %r<4>; .reg .b64 %a<8>;
                ld.param.u64 %a0, [d];
                ld.global.u64 %a1, [pointer+8];
                ld.f32 %f0, [%a1];
                ld.const.f32 %f1, [table+8];
                st.global.v2.f32 [%a0], {%f0, %f1};
                ld.global.u32 %r0, [counter];
                add.u32 %r0, %r0, 1;
                st.global.u32 [counter], %r0;
                ret;
            }
            """;
        nint module = driver.Load(ptx), d = driver.Allocate(8);
        driver.Launch(driver.Kernel(module, "k"), (1, 1, 1), (1, 1, 1), 0, 0, d);
        Assert.Equal([2, -3], driver.Download<float>(d, 2));
        unsafe
        {
            nint address, bytes;
            fixed (byte* name = "counter\0"u8) Driver.Check(driver.Call("cuModuleGetGlobal_v2", (nint)(&address), (nint)(&bytes), module, (nint)name));
            Assert.Equal(4, bytes);
            Assert.Equal([8], driver.Download<int>(address, 1));
        }
    }

    [Fact]
    public void Atomic_updates_of_all_blocks_and_lanes_count()
    {
        using Driver driver = new(new() { CheckRaces = true });
        string ptx = Driver.Header + """
            .visible .entry k(.param .u64 d)
            {
                .shared .align 4 .b8 sum[4];
                .reg .b32 %r<8>; .reg .f32 %f<4>; .reg .b64 %a<4>; .reg .pred %p<4>;
                ld.param.u64 %a0, [d];
                mov.u32 %r0, %tid.x;
                setp.ne.u32 %p0, %r0, 0;
                @%p0 bra ZEROED;
                st.shared.u32 [sum], 0;
                ZEROED: bar.sync 0;
                red.shared.add.u32 [sum], %r0;
                atom.global.add.u32 %r1, [%a0], 1;
                red.global.add.f32 [%a0+4], 0f3F000000;
                atom.global.max.u32 %r2, [%a0+8], %r1;
                atom.global.cas.b32 %r3, [%a0+12], 5, %r0;
                bar.sync 0;
                @%p0 ret;
                ld.shared.u32 %r4, [sum];
                red.global.add.u32 [%a0+16], %r4;
                ret;
            }
            """;
        nint d = driver.Upload<uint>([0, 0, 0, 5, 0]);
        driver.Launch(driver.Kernel(driver.Load(ptx), "k"), (40, 1, 1), (96, 1, 1), 0, 0, d);
        uint[] actual = driver.Download<uint>(d, 5);
        Assert.Equal(40 * 96u, actual[0]);
        Assert.Equal(40 * 96 / 2f, BitConverter.UInt32BitsToSingle(actual[1]));
        Assert.Equal((40 * 96u) - 1, actual[2]);
        Assert.NotEqual(5u, actual[3]);
        Assert.Equal(40u * (95 * 96 / 2), actual[4]);
        Assert.Empty(driver.Gpu.Violations);
    }

    /// <summary>Copies 128 bytes to shared memory without a register between, and reads them after <paramref name="wait"/>.</summary>
    private static string AsyncCopy(string wait, string size = "16, %r5") => Driver.Header + $$"""
        .visible .entry k(.param .u64 d, .param .u64 s, .param .u32 size)
        {
            .shared .align 16 .b8 tile[128];
            .reg .b32 %r<8>; .reg .b64 %a<8>; .reg .pred %p;
            ld.param.u64 %a0, [d]; ld.param.u64 %a1, [s]; ld.param.u32 %r5, [size];
            mov.u32 %r0, %tid.x;
            mov.u32 %r1, tile;
            shl.b32 %r2, %r0, 4;
            add.u32 %r3, %r1, %r2;
            shl.b32 %r6, %r0, 2;
            add.u32 %r6, %r6, %r1;
            mov.u32 %r7, 9;
            st.shared.u32 [%r6], %r7;
            bar.warp.sync -1;
            mad.wide.u32 %a2, %r0, 16, %a1;
            setp.gt.u32 %p, %r0, 7;
            @%p bra SKIP;
            cp.async.cg.shared.global [%r3], [%a2], {{size}};
            SKIP: cp.async.commit_group;
            {{wait}}
            bar.sync 0;
            ld.shared.u32 %r4, [%r6];
            mad.wide.u32 %a3, %r0, 4, %a0;
            st.global.u32 [%a3], %r4;
            ret;
        }
        """;

    [Fact]
    public void An_asynchronous_copy_is_there_after_waiting_and_not_before()
    {
        using Driver driver = new();
        int[] values = [.. Enumerable.Range(100, 32)];
        nint s = driver.Upload<int>(values), d = driver.Allocate(128);
        void Run(string wait, int size) => driver.Launch(driver.Kernel(driver.Load(AsyncCopy(wait)), "k"), (1, 1, 1), (32, 1, 1), 0, 0, d, s, size);
        Run("cp.async.wait_group 0;", 16);
        Assert.Equal(values, driver.Download<int>(d, 32));
        Run("cp.async.wait_all;", 16);
        Assert.Equal(values, driver.Download<int>(d, 32));
        Run("cp.async.wait_group 1;", 16);
        Assert.Equal(Enumerable.Repeat(9, 32), driver.Download<int>(d, 32));
        Run("cp.async.wait_group 0;", 4);
        Assert.Equal([.. values.Select((v, i) => i % 4 == 0 ? v : 0)], driver.Download<int>(d, 32));
        Assert.Empty(driver.Gpu.Violations);
    }

    [Fact]
    public void An_asynchronous_copy_of_no_bytes_reads_nothing_and_one_beyond_the_end_is_found()
    {
        using Driver driver = new();
        nint s = driver.Upload<int>(new int[28]), d = driver.Allocate(128), kernel = driver.Kernel(driver.Load(AsyncCopy("cp.async.wait_all;")), "k");
        driver.Launch(kernel, (1, 1, 1), (32, 1, 1), 0, 0, d, s, 0);
        Assert.Equal(new int[32], driver.Download<int>(d, 32));
        Assert.Equal((int)CuResult.IllegalAddress, driver.TryLaunch(kernel, (1, 1, 1), (32, 1, 1), 0, 0, d, s, 16));
        Assert.Contains("thread (7, 0, 0)", Assert.Single(driver.Gpu.Violations));
    }
}
