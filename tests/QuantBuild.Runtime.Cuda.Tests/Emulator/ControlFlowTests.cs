using QuantBuild.Cuda.Emulator;

namespace QuantBuild.Runtime.Cuda.Tests.Emulator;

public sealed class ControlFlowTests : IDisposable
{
    private readonly Driver _driver = new();
    private readonly uint[] _lanes = [.. Enumerable.Range(0, 64).Select(i => (uint)i)];

    [Fact]
    public void Nested_branches_take_each_lane_its_own_way()
    {
        uint[] actual = _driver.Warp("""
            setp.lt.u32 %p0, %x, 16;
            @%p0 bra A;
            setp.lt.u32 %p1, %x, 24;
            @!%p1 bra C;
            mov.u32 %d, 2;
            bra.uni E;
            C: add.u32 %d, %x, 100;
            bra E;
            A: and.b32 %t1, %x, 1;
            setp.eq.u32 %p2, %t1, 0;
            @%p2 mov.u32 %d, 7;
            @!%p2 mov.u32 %d, 8;
            E: add.u32 %d, %d, 1000;
            """, _lanes);
        for (uint i = 0; i < actual.Length; i++) Assert.Equal((i < 16 ? (i % 2 == 0 ? 7u : 8) : i < 24 ? 2 : i + 100) + 1000, actual[i]);
    }

    [Fact]
    public void A_loop_runs_as_often_as_each_lane_wants()
    {
        uint[] actual = _driver.Warp("""
            mov.u32 %t1, 0;
            L: setp.ge.u32 %p0, %t1, %x;
            @%p0 bra D;
            mad.lo.u32 %d, %t1, %t1, %d;
            add.u32 %t1, %t1, 1;
            bra.uni L;
            D: add.u32 %d, %d, 1;
            """, _lanes);
        for (uint i = 0; i < actual.Length; i++) Assert.Equal((uint)Enumerable.Range(0, (int)i).Sum(k => k * k) + 1, actual[i]);
    }

    [Fact]
    public void A_lane_that_returns_early_leaves_the_others_running()
    {
        string ptx = Driver.Header + """
            .visible .entry k(.param .u64 d)
            {
                .reg .b32 %t<4>; .reg .b64 %a<4>; .reg .pred %p;
                mov.u32 %t0, %tid.x;
                ld.param.u64 %a0, [d];
                setp.gt.u32 %p, %t0, 9;
                @%p ret;
                bar.sync 0;
                mul.wide.u32 %a1, %t0, 4;
                add.s64 %a1, %a0, %a1;
                st.global.u32 [%a1], %t0;
                exit;
            }
            """;
        nint d = _driver.Upload<uint>(new uint[64]);
        _driver.Launch(_driver.Kernel(_driver.Load(ptx), "k"), (1, 1, 1), (64, 1, 1), 0, 0, d);
        Assert.Equal([.. _lanes.Select(i => i < 10 ? i : 0)], _driver.Download<uint>(d, 64));
        Assert.Empty(_driver.Gpu.Violations);
    }

    [Fact]
    public void An_indexed_branch_takes_each_lane_to_its_target()
    {
        uint[] actual = _driver.Warp("""
            and.b32 %t1, %x, 3;
            T: .branchtargets A, B, C, B;
            brx.idx %t1, T;
            A: mov.u32 %d, 10; bra E;
            B: mov.u32 %d, 20; bra E;
            C: mov.u32 %d, 30;
            E: add.u32 %d, %d, %x;
            """, _lanes);
        for (uint i = 0; i < actual.Length; i++) Assert.Equal(new uint[] { 10, 20, 30, 20 }[i % 4] + i, actual[i]);
    }

    [Fact]
    public void Lanes_that_diverged_meet_at_a_shuffle_that_names_them_all()
    {
        // The odd lanes make a detour behind the shuffle's place in the text.
        uint[] actual = _driver.Warp("""
            and.b32 %t1, %x, 1;
            setp.ne.u32 %p0, %t1, 0;
            mov.u32 %t2, %x;
            @%p0 bra FAR;
            BACK: shfl.sync.bfly.b32 %d, %t2, 1, 31, -1;
            bra.uni END;
            FAR: add.u32 %t2, %t2, 1000;
            bra BACK;
            END:
            """, _lanes);
        for (uint i = 0; i < actual.Length; i++) Assert.Equal(i % 2 == 0 ? i + 1 + 1000 : i - 1, actual[i]);
        Assert.Empty(_driver.Gpu.Violations);
    }

    [Fact]
    public void A_device_function_is_called_with_parameters_and_returns_its_result()
    {
        string ptx = Driver.Header + """
            .func (.param .b32 r) square_plus(.param .b32 a, .param .b32 b)
            {
                .reg .b32 %r<4>; .reg .pred %p;
                ld.param.b32 %r1, [a];
                ld.param.b32 %r2, [b];
                setp.gt.u32 %p, %r1, 20;
                @%p bra BIG;
                mad.lo.u32 %r3, %r1, %r1, %r2;
                st.param.b32 [r], %r3;
                ret;
                BIG: st.param.b32 [r+0], %r2;
                ret;
            }
            .visible .entry k(.param .u64 d)
            {
                .reg .b32 %r<8>; .reg .b64 %a<4>;
                mov.u32 %r1, %tid.x;
                { .param .b32 p0; st.param.b32 [p0+0], %r1; .param .b32 p1; st.param.b32 [p1+0], 5; .param .b32 v; call.uni (v), square_plus, (p0, p1); ld.param.b32 %r2, [v+0]; }
                { .param .b32 p0; st.param.b32 [p0+0], %r2; .param .b32 p1; st.param.b32 [p1+0], 6; .param .b32 v; call.uni (v), square_plus, (p0, p1); ld.param.b32 %r3, [v+0]; }
                ld.param.u64 %a0, [d];
                mad.wide.u32 %a1, %r1, 4, %a0;
                st.global.u32 [%a1], %r3;
                ret;
            }
            """;
        nint d = _driver.Allocate(256);
        _driver.Launch(_driver.Kernel(_driver.Load(ptx), "k"), (1, 1, 1), (64, 1, 1), 0, 0, d);
        uint Function(uint a, uint b) => a > 20 ? b : (a * a) + b;
        Assert.Equal([.. _lanes.Select(i => Function(Function(i, 5), 6))], _driver.Download<uint>(d, 64));
    }

    [Fact]
    public void Every_thread_of_a_grid_knows_its_place()
    {
        string ptx = Driver.Header + """
            .visible .entry k(.param .u64 d)
            {
                .reg .b32 %r<20>; .reg .b64 %a<4>;
                mov.u32 %r0, %tid.x; mov.u32 %r1, %tid.y; mov.u32 %r2, %tid.z;
                mov.u32 %r3, %ntid.x; mov.u32 %r4, %ntid.y; mov.u32 %r5, %ntid.z;
                mov.u32 %r6, %ctaid.x; mov.u32 %r7, %ctaid.y; mov.u32 %r8, %ctaid.z;
                mov.u32 %r9, %nctaid.x; mov.u32 %r10, %nctaid.y;
                mad.lo.u32 %r11, %r8, %r10, %r7;
                mad.lo.u32 %r11, %r11, %r9, %r6;
                mad.lo.u32 %r12, %r2, %r4, %r1;
                mad.lo.u32 %r12, %r12, %r3, %r0;
                mul.lo.u32 %r13, %r3, %r4;
                mul.lo.u32 %r13, %r13, %r5;
                mad.lo.u32 %r11, %r11, %r13, %r12;
                ld.param.u64 %a0, [d];
                mad.wide.u32 %a1, %r11, 4, %a0;
                mov.u32 %r14, %laneid;
                mad.lo.u32 %r14, %r11, 100, %r14;
                st.global.u32 [%a1], %r14;
                ret;
            }
            """;
        const int threads = 7 * 3 * 2, blocks = 3 * 5 * 2;
        nint d = _driver.Allocate(threads * blocks * 4);
        _driver.Launch(_driver.Kernel(_driver.Load(ptx), "k"), (3, 5, 2), (7, 3, 2), 0, 0, d);
        Assert.Equal([.. Enumerable.Range(0, threads * blocks).Select(i => (i * 100) + (i % threads % 32))], _driver.Download<int>(d, threads * blocks));
        // The same kernel in grids of other shapes.
        nint kernel = _driver.Kernel(_driver.Load(ptx), "k");
        foreach ((int, int, int) grid in ((int, int, int)[])[(30, 1, 1), (2, 3, 5), (1, 30, 1)])
        {
            Driver.Check(_driver.Call("cuMemsetD8Async", d, 0, threads * blocks * 4, 0));
            _driver.Launch(kernel, grid, (7, 3, 2), 0, 0, d);
            Assert.Equal([.. Enumerable.Range(0, threads * blocks).Select(i => (i * 100) + (i % threads % 32))], _driver.Download<int>(d, threads * blocks));
        }
    }

    [Fact]
    public void A_barrier_counts_the_threads_whose_predicate_held()
    {
        uint[] actual = _driver.Warp("""
            and.b32 %t1, %x, 3;
            setp.eq.u32 %p0, %t1, 0;
            barrier.red.popc.u32 %t2, 0, %p0;
            bar.red.and.pred %p1, 0, %p0;
            bar.red.or.pred %p2, 0, %p0;
            bar.red.and.pred %p3, 1, 64, 1;
            selp.u32 %t3, 100, 0, %p1; selp.u32 %t4, 200, 0, %p2; selp.u32 %t5, 1000, 0, %p3;
            add.u32 %d, %t2, %t3; add.u32 %d, %d, %t4; add.u32 %d, %d, %t5;
            """, _lanes);
        Assert.All(actual, a => Assert.Equal(1216u, a));
    }

    [Fact]
    public void A_barrier_that_some_threads_never_reach_is_named()
    {
        string ptx = Driver.Header + """
            .visible .entry k()
            {
                .reg .b32 %r<4>; .reg .pred %p;
                mov.u32 %r0, %tid.x;
                setp.lt.u32 %p, %r0, 32;
                @%p bra A;
                bar.sync 1, 64;
                ret;
                A: bar.sync 2, 64;
                ret;
            }
            """;
        Assert.Equal((int)CuResult.LaunchFailed, _driver.TryLaunch(_driver.Kernel(_driver.Load(ptx), "k"), (1, 1, 1), (64, 1, 1), 0, 0));
        string violation = Assert.Single(_driver.Gpu.Violations);
        Assert.Contains("barrier 1", violation);
        Assert.Contains("barrier 2", violation);
    }

    [Fact]
    public void A_kernel_without_an_end_is_ended()
    {
        using Driver driver = new(new() { MaxLaneInstructions = 1_000_000 });
        nint kernel = driver.Kernel(driver.Load(Driver.Header + ".visible .entry k() { L: bra L; }"), "k");
        Assert.Equal((int)CuResult.LaunchTimeout, driver.TryLaunch(kernel, (1, 1, 1), (32, 1, 1), 0, 0));
    }

    public void Dispose() => _driver.Dispose();
}
