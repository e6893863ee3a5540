using QuantBuild.Cuda.Emulator;

namespace QuantBuild.Runtime.Cuda.Tests.Emulator;

public sealed class WarpTests : IDisposable
{
    private readonly Driver _driver = new();
    private readonly uint[] _lanes = [.. Enumerable.Range(0, 32).Select(i => (uint)i)];

    [Theory]
    [InlineData("up", 3, 0)]
    [InlineData("down", 5, 31)]
    [InlineData("bfly", 16, 31)]
    [InlineData("idx", 7, 31)]
    [InlineData("up", 3, 0x1800)]
    [InlineData("down", 2, 0x181F)]
    [InlineData("idx", 9, 0x181F)]
    [InlineData("bfly", 4, 0x1C1F)]
    public void A_shuffle_reads_the_lane_that_its_mode_names_within_its_segment(string mode, int count, int clamp)
    {
        uint[] actual = _driver.Warp($"mad.lo.u32 %t1, %x, %x, 50; shfl.sync.{mode}.b32 %t2|%p0, %t1, {count}, {clamp}, 0xffffffff; selp.u32 %t3, 0x10000, 0, %p0; or.b32 %d, %t2, %t3;", _lanes);
        // The width of a segment, as CUDA's __shfl_sync has it.
        int width = 32 - ((clamp >> 8) & 31);
        for (int lane = 0; lane < 32; lane++)
        {
            int start = lane / width * width;
            int source = mode switch { "up" => lane - count, "down" => lane + count, "bfly" => lane ^ count, _ => start + (count % width) };
            bool inside = mode == "up" ? source >= start : source < start + width;
            if (!inside) source = lane;
            Assert.Equal((uint)((source * source) + 50) | (inside ? 0x10000u : 0), actual[lane]);
        }
    }

    [Fact]
    public void A_shuffle_from_a_lane_that_is_not_there_is_found()
    {
        Assert.Equal((int)CuResult.LaunchFailed, _driver.TryLaunch(
            _driver.Kernel(_driver.Load(Driver.Header + ".visible .entry k() { .reg .b32 %r<2>; mov.u32 %r0, %tid.x; shfl.sync.bfly.b32 %r1, %r0, 16, 31, -1; ret; }"), "k"), (1, 1, 1), (24, 1, 1), 0, 0));
        Assert.Contains("reads lane 24, which is not there", Assert.Single(_driver.Gpu.Violations));
    }

    [Fact]
    public void A_lane_that_runs_an_instruction_without_being_named_is_found()
    {
        Assert.Equal((int)CuResult.LaunchFailed, _driver.TryLaunch(
            _driver.Kernel(_driver.Load(Driver.Header + ".visible .entry k() { .reg .b32 %r<2>; mov.u32 %r0, %tid.x; shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xffff; ret; }"), "k"), (1, 1, 1), (32, 1, 1), 0, 0));
        Assert.Contains("names 0x0000ffff", Assert.Single(_driver.Gpu.Violations));
    }

    [Fact]
    public void Half_warps_may_shuffle_among_themselves_with_a_mask_each()
    {
        uint[] actual = _driver.Warp("setp.lt.u32 %p0, %x, 16; selp.b32 %t1, 0xffff, 0xffff0000, %p0; shfl.sync.idx.b32 %d, %x, 3, 0x100f, %t1;", _lanes);
        Assert.Equal([.. _lanes.Select(l => l < 16 ? 3u : 19)], actual);
    }

    [Fact]
    public void Votes_see_all_lanes_that_run()
    {
        uint[] actual = _driver.Warp("""
            setp.gt.u32 %p0, %x, 20;
            vote.sync.ballot.b32 %t1, %p0, -1;
            vote.sync.any.pred %p1, %p0, -1;
            vote.sync.all.pred %p2, !%p0, -1;
            selp.u32 %t2, 1, 0, %p1; selp.u32 %t3, 2, 0, %p2;
            or.b32 %d, %t1, %t2; or.b32 %d, %d, %t3;
            setp.lt.u32 %p3, %x, 5;
            @%p3 activemask.b32 %d;
            """, _lanes);
        Assert.Equal([.. _lanes.Select(l => l < 5 ? 31u : 0xFFE0_0001)], actual);
    }

    [Fact]
    public void Lanes_with_the_same_value_find_each_other()
    {
        uint[] actual = _driver.Warp("rem.u32 %t1, %x, 5; match.any.sync.b32 %d, %t1, -1;", _lanes);
        foreach (uint lane in _lanes) Assert.Equal(_lanes.Where(l => l % 5 == lane % 5).Aggregate(0u, (m, l) => m | (1u << (int)l)), actual[lane]);
        Assert.Equal([.. _lanes.Select(_ => uint.MaxValue)], _driver.Warp("match.all.sync.b32 %d|%p0, 7, -1; @!%p0 mov.u32 %d, 1;", _lanes));
    }

    [Fact]
    public void A_reduction_covers_the_warp()
    {
        uint[] values = [.. _lanes.Select(l => (l * 2654435761u) ^ 12345)];
        Assert.All(_driver.Warp("redux.sync.add.s32 %d, %x, -1;", values), v => Assert.Equal(values.Aggregate((a, b) => a + b), v));
        Assert.All(_driver.Warp("redux.sync.min.s32 %d, %x, -1;", values), v => Assert.Equal((uint)values.Min(x => (int)x), v));
        Assert.All(_driver.Warp("redux.sync.max.u32 %d, %x, -1;", values), v => Assert.Equal(values.Max(), v));
        Assert.All(_driver.Warp("redux.sync.xor.b32 %d, %x, -1;", values), v => Assert.Equal(values.Aggregate((a, b) => a ^ b), v));
    }

    // Matrices.

    private static double[] Random(int seed, int count, Func<float, float> round)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (double)round((random.NextSingle() - 0.5f) * 4))];
    }

    private static float RoundBrain(float x) => BitConverter.UInt32BitsToSingle((BitConverter.SingleToUInt32Bits(x) + 0x7FFF + ((BitConverter.SingleToUInt32Bits(x) >> 16) & 1)) & 0xFFFF_0000);

    /// <summary>
    /// A kernel that fills the fragments by the tables of the PTX ISA, one element at a time: element i of A, B or C in a lane is read from the matrix in memory at the row and column that the tables give.
    /// </summary>
    public static TheoryData<string, int, int, string, string> FloatShapes { get; } = new()
    {
        { "m16n8k16", 16, 16, "f16", "f32" },
        { "m16n8k8", 16, 8, "f16", "f32" },
        { "m16n8k16", 16, 16, "bf16", "f32" },
        { "m16n8k8", 16, 8, "bf16", "f32" },
        { "m16n8k16", 16, 16, "f16", "f16" },
        { "m16n8k8", 16, 8, "f16", "f16" },
    };

    [Theory]
    [MemberData(nameof(FloatShapes))]
    public void A_product_of_fragments_is_the_product_of_the_matrices(string shape, int m, int k, string type, string accumulator)
    {
        Func<float, float> round = type == "f16" ? x => (float)(Half)x : RoundBrain;
        double[] a = Random(1, m * k, round), b = Random(2, k * 8, round), c = Random(3, m * 8, x => (float)(Half)x);
        ushort Bits(double x) => type == "f16" ? BitConverter.HalfToUInt16Bits((Half)x) : (ushort)(BitConverter.SingleToUInt32Bits((float)x) >> 16);
        int aRegisters = k / 4, bRegisters = k / 8, cRegisters = accumulator == "f32" ? 4 : 2;
        uint[] registers = new uint[32 * (aRegisters + bRegisters + cRegisters)];
        for (int lane = 0; lane < 32; lane++)
        {
            int group = lane >> 2, thread = lane % 4;
            uint[] mine = new uint[aRegisters + bRegisters + cRegisters];
            for (int i = 0; i < 2 * aRegisters; i++)
            {
                int row = i is 0 or 1 or 4 or 5 ? group : group + 8, column = (thread * 2) + (i & 1) + (i >= 4 ? 8 : 0);
                mine[i / 2] |= (uint)Bits(a[(row * k) + column]) << (16 * (i & 1));
            }
            for (int i = 0; i < 2 * bRegisters; i++)
            {
                int row = (thread * 2) + (i & 1) + (i >= 2 ? 8 : 0);
                mine[aRegisters + (i / 2)] |= (uint)Bits(b[(row * 8) + group]) << (16 * (i & 1));
            }
            for (int i = 0; i < 4; i++)
            {
                double value = c[((i < 2 ? group : group + 8) * 8) + (thread * 2) + (i & 1)];
                if (accumulator == "f32") mine[aRegisters + bRegisters + i] = BitConverter.SingleToUInt32Bits((float)value);
                else mine[aRegisters + bRegisters + (i / 2)] |= (uint)BitConverter.HalfToUInt16Bits((Half)value) << (16 * (i & 1));
            }
            mine.CopyTo(registers, lane * mine.Length);
        }
        string suffix = $"row.col.{accumulator}.{type}.{type}.{accumulator}";
        uint[] result = Multiply($"mma.sync.aligned.{shape}.{suffix}", registers, aRegisters, bRegisters, cRegisters);
        for (int lane = 0; lane < 32; lane++)
        {
            for (int i = 0; i < 4; i++)
            {
                int row = i < 2 ? lane >> 2 : (lane >> 2) + 8, column = (lane % 4 * 2) + (i & 1);
                double expected = c[(row * 8) + column];
                for (int j = 0; j < k; j++) expected += a[(row * k) + j] * b[(j * 8) + column];
                double actual = accumulator == "f32"
                    ? BitConverter.UInt32BitsToSingle(result[(lane * 4) + i])
                    : (double)BitConverter.UInt16BitsToHalf((ushort)(result[(lane * 2) + (i / 2)] >> (16 * (i & 1))));
                Assert.Equal(expected, actual, accumulator == "f32" ? 1e-5 : 0.02);
            }
        }
    }

    public static TheoryData<string, int, int, string> IntegerShapes { get; } = new()
    {
        { "m16n8k32", 16, 32, "s8" },
        { "m16n8k16", 16, 16, "s8" },
        { "m16n8k32", 16, 32, "u8" },
        { "m8n8k16", 8, 16, "s8" },
    };

    [Theory]
    [MemberData(nameof(IntegerShapes))]
    public void A_product_of_bytes_is_exact(string shape, int m, int k, string type)
    {
        Random random = new(5);
        int[] Bytes(int count) => [.. Enumerable.Range(0, count).Select(_ => type == "s8" ? random.Next(-128, 128) : random.Next(256))];
        int[] a = Bytes(m * k), b = Bytes(k * 8), c = [.. Enumerable.Range(0, m * 8).Select(_ => random.Next())];
        int aRegisters = m * k / 128, bRegisters = k / 16, cRegisters = m / 4;
        uint[] registers = new uint[32 * (aRegisters + bRegisters + cRegisters)];
        for (int lane = 0; lane < 32; lane++)
        {
            int group = lane >> 2, thread = lane % 4;
            uint[] mine = new uint[aRegisters + bRegisters + cRegisters];
            for (int i = 0; i < 4 * aRegisters; i++)
            {
                bool lower = m == 16 && i is (>= 4 and < 8) or >= 12;
                int column = (thread * 4) + (i & 3) + (i >= 8 ? 16 : 0);
                mine[i / 4] |= (uint)(byte)a[((lower ? group + 8 : group) * k) + column] << (8 * (i & 3));
            }
            for (int i = 0; i < 4 * bRegisters; i++) mine[aRegisters + (i / 4)] |= (uint)(byte)b[(((thread * 4) + (i & 3) + (i >= 4 ? 16 : 0)) * 8) + group] << (8 * (i & 3));
            for (int i = 0; i < cRegisters; i++) mine[aRegisters + bRegisters + i] = (uint)c[((i < 2 ? group : group + 8) * 8) + (thread * 2) + (i & 1)];
            mine.CopyTo(registers, lane * mine.Length);
        }
        uint[] result = Multiply($"mma.sync.aligned.{shape}.row.col.s32.{type}.{type}.s32", registers, aRegisters, bRegisters, cRegisters);
        for (int lane = 0; lane < 32; lane++)
        {
            for (int i = 0; i < cRegisters; i++)
            {
                int row = i < 2 ? lane >> 2 : (lane >> 2) + 8, column = (lane % 4 * 2) + (i & 1), expected = c[(row * 8) + column];
                for (int j = 0; j < k; j++) expected += a[(row * k) + j] * b[(j * 8) + column];
                Assert.Equal((uint)expected, result[(lane * cRegisters) + i]);
            }
        }
    }

    private uint[] Multiply(string instruction, uint[] registers, int a, int b, int c)
    {
        int all = a + b + c;
        string Names(int from, int count) => "{" + string.Join(", ", Enumerable.Range(from, count).Select(r => "%r" + r)) + "}";
        string ptx = Driver.Header + $$"""
            .visible .entry k(.param .u64 d, .param .u64 s)
            {
                .reg .b32 %r<{{all}}>, %t; .reg .b64 %a<4>;
                mov.u32 %t, %tid.x;
                ld.param.u64 %a0, [d]; ld.param.u64 %a1, [s];
                mad.wide.u32 %a1, %t, {{all * 4}}, %a1;
                mad.wide.u32 %a0, %t, {{c * 4}}, %a0;
                {{string.Concat(Enumerable.Range(0, all).Select(r => $"ld.global.u32 %r{r}, [%a1+{r * 4}]; "))}}
                {{instruction}} {{Names(a + b, c)}}, {{(a == 1 ? "{%r0}" : Names(0, a))}}, {{Names(a, b)}}, {{Names(a + b, c)}};
                {{string.Concat(Enumerable.Range(0, c).Select(r => $"st.global.u32 [%a0+{r * 4}], %r{a + b + r}; "))}}
                ret;
            }
            """;
        nint d = _driver.Allocate(32 * c * 4);
        _driver.Launch(_driver.Kernel(_driver.Load(ptx), "k"), (1, 1, 1), (32, 1, 1), 0, 0, d, _driver.Upload<uint>(registers));
        return _driver.Download<uint>(d, 32 * c);
    }

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(4, false)]
    [InlineData(4, true)]
    public void A_matrix_is_loaded_so_that_each_lane_holds_two_neighbours_of_a_row(int matrices, bool transposed)
    {
        // Four matrices of 8 rows, each row 16 bytes; row r of matrix m lies at place (r × 4 + m), to see that the lanes' addresses count.
        ushort[] memory = [.. Enumerable.Range(0, 256).Select(i => (ushort)(i * 257))];
        string names = string.Join(", ", Enumerable.Range(0, matrices).Select(m => "%r" + m));
        string ptx = Driver.Header + $$"""
            .visible .entry k(.param .u64 d, .param .u64 s)
            {
                .shared .align 16 .b8 tile[512];
                .reg .b32 %r<16>; .reg .b64 %a<4>;
                ld.param.u64 %a0, [d]; ld.param.u64 %a1, [s];
                mov.u32 %r4, %tid.x;
                mov.u32 %r5, tile;
                mad.wide.u32 %a2, %r4, 16, %a1;
                ld.global.v4.u32 {%r8, %r9, %r10, %r11}, [%a2];
                mad.lo.u32 %r6, %r4, 16, %r5;
                st.shared.v4.u32 [%r6], {%r8, %r9, %r10, %r11};
                bar.warp.sync -1;
                and.b32 %r7, %r4, 7;
                shr.u32 %r12, %r4, 3;
                mad.lo.u32 %r7, %r7, 4, %r12;
                mad.lo.u32 %r7, %r7, 16, %r5;
                ldmatrix.sync.aligned.m8n8.x{{matrices}}{{(transposed ? ".trans" : "")}}.shared.b16 {{{names}}}, [%r7];
                mad.wide.u32 %a3, %r4, {{matrices * 4}}, %a0;
                {{string.Concat(Enumerable.Range(0, matrices).Select(m => $"st.global.u32 [%a3+{m * 4}], %r{m}; "))}}
                ret;
            }
            """;
        nint d = _driver.Allocate(32 * matrices * 4);
        _driver.Launch(_driver.Kernel(_driver.Load(ptx), "k"), (1, 1, 1), (32, 1, 1), 0, 0, d, _driver.Upload<ushort>(memory));
        ushort[] actual = _driver.Download<ushort>(d, 64 * matrices);
        ushort At(int m, int row, int column) => memory[(((row * 4) + m) * 8) + column];
        for (int lane = 0; lane < 32; lane++)
        {
            for (int m = 0; m < matrices; m++)
            {
                for (int i = 0; i < 2; i++)
                {
                    (int row, int column) = (lane / 4, (lane % 4 * 2) + i);
                    Assert.Equal(transposed ? At(m, column, row) : At(m, row, column), actual[(((lane * matrices) + m) * 2) + i]);
                }
            }
        }
    }

    public void Dispose() => _driver.Dispose();
}
