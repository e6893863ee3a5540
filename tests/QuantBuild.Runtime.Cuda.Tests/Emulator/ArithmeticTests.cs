using System.Numerics;

namespace QuantBuild.Runtime.Cuda.Tests.Emulator;

public sealed class ArithmeticTests : IDisposable
{
    private readonly Driver _driver = new();

    /// <summary>Every edge against every edge, and random numbers.</summary>
    private static (uint[] X, uint[] Y) Integers()
    {
        uint[] edges = [0, 1, 2, 31, 32, 33, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFF, 0xFFFF, 0x8000];
        Random random = new(1);
        List<(uint X, uint Y)> pairs = [.. edges.SelectMany(x => edges.Select(y => (x, y)))];
        while (pairs.Count < 256) pairs.Add(((uint)random.NextInt64(1L << 32), (uint)random.NextInt64(1L << 32)));
        return ([.. pairs.Select(p => p.X)], [.. pairs.Select(p => p.Y)]);
    }

    private static (float[] X, float[] Y) Floats()
    {
        float[] edges = [0, -0f, 1, -1, 0.5f, 1.5f, 2.5f, -2.5f, float.Epsilon, -1e-40f, float.MaxValue, float.PositiveInfinity, float.NegativeInfinity, float.NaN, 1e10f];
        Random random = new(2);
        List<(float X, float Y)> pairs = [.. edges.SelectMany(x => edges.Select(y => (x, y)))];
        while (pairs.Count < 256) pairs.Add(((random.NextSingle() - 0.5f) * 1000, random.NextSingle() - 0.5f));
        return ([.. pairs.Select(p => p.X)], [.. pairs.Select(p => p.Y)]);
    }

    public static TheoryData<string, Func<uint, uint, uint>> IntegerOperations { get; } = new()
    {
        { "add.s32", (x, y) => x + y },
        { "sub.s32", (x, y) => x - y },
        { "mul.lo.s32", (x, y) => x * y },
        { "mul.hi.u32", (x, y) => (uint)(((ulong)x * y) >> 32) },
        { "mul.hi.s32", (x, y) => (uint)(((long)(int)x * (int)y) >> 32) },
        { "and.b32", (x, y) => x & y },
        { "or.b32", (x, y) => x | y },
        { "xor.b32", (x, y) => x ^ y },
        { "min.s32", (x, y) => (uint)Math.Min((int)x, (int)y) },
        { "max.u32", Math.Max },
        { "shl.b32", (x, y) => y > 31 ? 0 : x << (int)y },
        { "shr.u32", (x, y) => y > 31 ? 0 : x >> (int)y },
        { "shr.s32", (x, y) => (uint)((int)x >> (int)Math.Min(y, 31)) },
        { "div.s32", (x, y) => y == 0 ? uint.MaxValue : (uint)((long)(int)x / (int)y) },
        { "rem.s32", (x, y) => y == 0 ? x : (uint)((long)(int)x % (int)y) },
        { "div.u32", (x, y) => y == 0 ? uint.MaxValue : x / y },
        { "rem.u32", (x, y) => y == 0 ? x : x % y },
        { "add.sat.s32", (x, y) => (uint)(int)Math.Clamp((long)(int)x + (int)y, int.MinValue, int.MaxValue) },
    };

    [Theory]
    [MemberData(nameof(IntegerOperations), DisableDiscoveryEnumeration = true)]
    public void An_integer_operation_is_what_it_is_in_CSharp(string operation, Func<uint, uint, uint> expected)
    {
        (uint[] x, uint[] y) = Integers();
        uint[] actual = _driver.Warp($"{operation} %d, %x, %y;", x, y);
        for (int i = 0; i < x.Length; i++) Assert.True(expected(x[i], y[i]) == actual[i], $"{operation} 0x{x[i]:x}, 0x{y[i]:x} = 0x{actual[i]:x}, not 0x{expected(x[i], y[i]):x}");
    }

    public static TheoryData<string, Func<float, float, float>> FloatOperations { get; } = new()
    {
        { "add.rn.f32", (x, y) => x + y },
        { "sub.f32", (x, y) => x - y },
        { "mul.f32", (x, y) => x * y },
        { "div.rn.f32", (x, y) => x / y },
        { "min.f32", float.MinNumber },
        { "max.f32", float.MaxNumber },
        { "max.NaN.f32", float.Max },
        { "add.ftz.f32", (x, y) => Flush(Flush(x) + Flush(y)) },
        { "mul.ftz.f32", (x, y) => Flush(Flush(x) * Flush(y)) },
        { "mul.sat.f32", (x, y) => float.IsNaN(x * y) ? 0 : Math.Clamp(x * y, 0, 1) },
    };

    private static float Flush(float x) => float.IsSubnormal(x) ? MathF.CopySign(0, x) : x;

    [Theory]
    [MemberData(nameof(FloatOperations), DisableDiscoveryEnumeration = true)]
    public void A_float_operation_rounds_as_IEEE_says(string operation, Func<float, float, float> expected)
    {
        (float[] x, float[] y) = Floats();
        float[] actual = _driver.Warp($"{operation} %d, %x, %y;", x, y);
        for (int i = 0; i < x.Length; i++)
        {
            float wanted = expected(x[i], y[i]);
            bool same = float.IsNaN(wanted) ? float.IsNaN(actual[i]) : BitConverter.SingleToInt32Bits(wanted) == BitConverter.SingleToInt32Bits(actual[i]) || (wanted == 0 && operation.StartsWith('m') && actual[i] == 0);
            Assert.True(same, $"{operation} {x[i]:r}, {y[i]:r} = {actual[i]:r}, not {wanted:r}");
        }
    }

    [Fact]
    public void A_fused_product_is_rounded_once()
    {
        float[] x = [1 + (1f / 4096), 3, float.MaxValue], y = [1 + (1f / 4096), 1f / 3, 2], z = [-1, -1, -float.MaxValue];
        float[] actual = _driver.Warp("fma.rn.f32 %d, %x, %y, %z;", x, y, z);
        for (int i = 0; i < x.Length; i++) Assert.Equal((float)(((double)x[i] * y[i]) + z[i]), actual[i]);
        Assert.NotEqual((x[0] * y[0]) + z[0], actual[0]);
    }

    public static TheoryData<string, Func<float, float, bool>> FloatComparisons { get; } = new()
    {
        { "eq", (x, y) => x == y },
        { "ne", (x, y) => !float.IsNaN(x) && !float.IsNaN(y) && x != y },
        { "lt", (x, y) => x < y },
        { "ge", (x, y) => x >= y },
        { "equ", (x, y) => float.IsNaN(x) || float.IsNaN(y) || x == y },
        { "neu", (x, y) => x != y },
        { "ltu", (x, y) => !(x >= y) },
        { "gtu", (x, y) => !(x <= y) },
        { "leu", (x, y) => !(x > y) },
        { "geu", (x, y) => !(x < y) },
        { "num", (x, y) => !float.IsNaN(x) && !float.IsNaN(y) },
        { "nan", (x, y) => float.IsNaN(x) || float.IsNaN(y) },
    };

    [Theory]
    [MemberData(nameof(FloatComparisons), DisableDiscoveryEnumeration = true)]
    public void An_ordered_comparison_is_false_for_a_NaN_and_an_unordered_one_true(string comparison, Func<float, float, bool> expected)
    {
        (float[] x, float[] y) = Floats();
        float[] actual = _driver.Warp($"setp.{comparison}.f32 %p0, %x, %y; selp.f32 %d, 0f3F800000, 0f00000000, %p0;", x, y);
        for (int i = 0; i < x.Length; i++) Assert.True(expected(x[i], y[i]) == (actual[i] == 1), $"{x[i]} {comparison} {y[i]}");
    }

    [Fact]
    public void A_comparison_sets_a_predicate_and_its_opposite_each_joined_with_a_third()
    {
        uint[] x = [1, 5, 5, 9], y = [5, 5, 1, 9], z = [1, 1, 0, 0];
        uint[] actual = _driver.Warp("""
            setp.ne.u32 %p0, %z, 0;
            setp.lt.and.u32 %p1|%p2, %x, %y, !%p0;
            setp.eq.or.u32 %p3, %x, %y, %p0;
            selp.u32 %t1, 1, 0, %p1; selp.u32 %t2, 2, 0, %p2; selp.u32 %t3, 4, 0, %p3;
            or.b32 %d, %t1, %t2; or.b32 %d, %d, %t3;
            """, x, y, z);
        for (int i = 0; i < x.Length; i++)
        {
            bool less = x[i] < y[i], other = z[i] == 0;
            Assert.Equal((less && other ? 1u : 0) | (!less && other ? 2u : 0) | (x[i] == y[i] || z[i] != 0 ? 4u : 0), actual[i]);
        }
    }

    [Fact]
    public void Wide_products_have_all_64_bits_and_addresses_are_shifted_in_64_bits()
    {
        (uint[] x, uint[] y) = Integers();
        ulong[] wide = _driver.Warp("cvt.u32.u64 %t1, %x; cvt.u32.u64 %t2, %y; mad.wide.s32 %d, %t1, %t2, %z; mul.wide.u32 %a3, %t1, %t2; xor.b64 %d, %d, %a3; shl.b64 %a3, %x, %t2; add.u64 %d, %d, %a3;",
            [.. x.Select(v => (ulong)v)], [.. y.Select(v => (ulong)v)], [.. x.Select(v => (ulong)v << 20)]);
        for (int i = 0; i < x.Length; i++)
            Assert.Equal(((ulong)((long)(int)x[i] * (int)y[i]) + ((ulong)x[i] << 20) ^ ((ulong)x[i] * y[i])) + (y[i] > 63 ? 0 : (ulong)x[i] << (int)y[i]), wide[i]);
    }

    [Fact]
    public void Permute_picks_bytes_and_signs()
    {
        (uint[] x, uint[] y) = Integers();
        uint[] z = [.. x.Select((v, i) => (v * 2654435761u) ^ (uint)i)];
        uint[] actual = _driver.Warp("prmt.b32 %d, %x, %y, %z;", x, y, z);
        for (int i = 0; i < x.Length; i++)
        {
            byte[] bytes = [.. BitConverter.GetBytes(x[i]), .. BitConverter.GetBytes(y[i])];
            byte[] expected = new byte[4];
            for (int b = 0; b < 4; b++)
            {
                int pick = (int)(z[i] >> (4 * b)) & 15;
                expected[b] = pick < 8 ? bytes[pick] : (byte)((sbyte)bytes[pick - 8] >> 7);
            }
            Assert.Equal(BitConverter.ToUInt32(expected), actual[i]);
        }
    }

    [Theory]
    [InlineData(0xE8)]
    [InlineData(0x96)]
    [InlineData(0xCA)]
    [InlineData(0x01)]
    [InlineData(0xFF)]
    public void A_logic_function_of_three_inputs_follows_its_table(int table)
    {
        (uint[] x, uint[] y) = Integers();
        uint[] z = [.. x.Select((v, i) => (v * 2654435761u) ^ (uint)i)];
        uint[] actual = _driver.Warp($"lop3.b32 %d, %x, %y, %z, {table};", x, y, z);
        for (int i = 0; i < x.Length; i++)
        {
            uint expected = 0;
            for (int bit = 0; bit < 32; bit++)
            {
                int row = (int)((((x[i] >> bit) & 1) << 2) | (((y[i] >> bit) & 1) << 1) | ((z[i] >> bit) & 1));
                expected |= (uint)((table >> row) & 1) << bit;
            }
            Assert.Equal(expected, actual[i]);
        }
    }

    [Fact]
    public void Bit_fields_are_extracted_with_their_sign_and_inserted()
    {
        uint[] x = [0xDEAD_BEEF, 0x8000_0000, 0x1234_5678, 0xFFFF_FFFF, 0x0F0F_0F0F], y = [4, 31, 28, 0, 12], z = [8, 1, 16, 0, 40];
        uint[] unsigned = _driver.Warp("bfe.u32 %d, %x, %y, %z;", x, y, z), signed = _driver.Warp("bfe.s32 %d, %x, %y, %z;", x, y, z), inserted = _driver.Warp("bfi.b32 %d, 0xA5A5A5A5, %x, %y, %z;", x, y, z);
        Assert.Equal([0xEEu, 1, 1, 0, 0x0000_F0F0], unsigned);
        Assert.Equal([0xFFFF_FFEEu, 0xFFFF_FFFF, 1, 0, 0x0000_F0F0], signed);
        Assert.Equal([0xDEAD_BA5F, 0x8000_0000, 0x5234_5678, 0xFFFF_FFFF, 0x5A5A_5F0F], inserted);
    }

    [Fact]
    public void Bits_are_counted_found_and_reversed()
    {
        (uint[] x, _) = Integers();
        uint[] actual = _driver.Warp("popc.b32 %d, %x; clz.b32 %t1, %x; shl.b32 %t1, %t1, 8; add.u32 %d, %d, %t1; brev.b32 %t2, %x; xor.b32 %d, %d, %t2;", x);
        for (int i = 0; i < x.Length; i++)
        {
            uint reversed = 0;
            for (int b = 0; b < 32; b++) reversed |= ((x[i] >> b) & 1) << (31 - b);
            Assert.Equal((uint)(BitOperations.PopCount(x[i]) + (BitOperations.LeadingZeroCount(x[i]) << 8)) ^ reversed, actual[i]);
        }
    }

    [Fact]
    public void Dot_products_of_bytes_add_four_products()
    {
        (uint[] x, uint[] y) = Integers();
        uint[] actual = _driver.Warp("dp4a.s32.s32 %d, %x, %y, %z;", x, y, y);
        for (int i = 0; i < x.Length; i++)
        {
            int sum = (int)y[i];
            for (int b = 0; b < 4; b++) sum += (sbyte)(x[i] >> (8 * b)) * (sbyte)(y[i] >> (8 * b));
            Assert.Equal((uint)sum, actual[i]);
        }
    }

    [Fact]
    public void Funnel_shifts_take_bits_from_two_registers()
    {
        uint[] x = [0x1234_5678, 0x8000_0001], y = [0x9ABC_DEF0, 0xFFFF_0000], z = [8, 33];
        Assert.Equal([0xBCDE_F012, 0xFFFE_0001], _driver.Warp("shf.l.wrap.b32 %d, %x, %y, %z;", x, y, z));
        Assert.Equal([0xF012_3456, 0xFFFF_0000], _driver.Warp("shf.r.clamp.b32 %d, %x, %y, %z;", x, y, z));
    }

    [Fact]
    public void Approximations_are_the_functions()
    {
        float[] x = [0.25f, 1, 2, 3.5f, 0.001f];
        (string, Func<float, double>)[] functions =
        [
            ("ex2.approx.f32", v => Math.Pow(2, v)), ("lg2.approx.f32", v => Math.Log2(v)), ("rcp.approx.ftz.f32", v => 1 / v), ("rsqrt.approx.f32", v => 1 / Math.Sqrt(v)),
            ("sqrt.approx.f32", v => Math.Sqrt(v)), ("sin.approx.f32", v => Math.Sin(v)), ("cos.approx.f32", v => Math.Cos(v)), ("tanh.approx.f32", v => Math.Tanh(v)),
        ];
        foreach ((string name, Func<float, double> function) in functions)
        {
            float[] actual = _driver.Warp($"{name} %d, %x;", x);
            for (int i = 0; i < x.Length; i++) Assert.Equal(function(x[i]), actual[i], 2e-7 * (1 + Math.Abs(function(x[i]))));
        }
    }

    [Fact]
    public void Pairs_of_float16_are_computed_each_on_its_own()
    {
        uint Pair(float low, float high) => BitConverter.HalfToUInt16Bits((Half)low) | ((uint)BitConverter.HalfToUInt16Bits((Half)high) << 16);
        uint[] x = [Pair(1, -2), Pair(65504, 0.1f)], y = [Pair(3, 0.5f), Pair(65504, 0.2f)], z = [Pair(-1, 10), Pair(0, 0.3f)];
        Assert.Equal([Pair(4, -1.5f), Pair(float.PositiveInfinity, (float)((Half)0.1f + (Half)0.2f))], _driver.Warp("add.f16x2 %d, %x, %y;", x, y));
        Assert.Equal([Pair(2, 9), Pair(float.PositiveInfinity, (float)(((double)(Half)0.1f * (double)(Half)0.2f) + (double)(Half)0.3f))], _driver.Warp("fma.rn.f16x2 %d, %x, %y, %z;", x, y, z));
        Assert.Equal([Pair(3, 0.5f), Pair(65504, 0.2f)], _driver.Warp("max.f16x2 %d, %x, %y;", x, y));
    }

    public void Dispose() => _driver.Dispose();
}
