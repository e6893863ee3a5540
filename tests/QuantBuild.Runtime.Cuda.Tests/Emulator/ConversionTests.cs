namespace QuantBuild.Runtime.Cuda.Tests.Emulator;

public sealed class ConversionTests : IDisposable
{
    private readonly Driver _driver = new();

    /// <summary>Float32 numbers around every place where a 16-bit float changes, and the odd ones.</summary>
    private static float[] Singles()
    {
        List<float> values = [0, -0f, float.NaN, float.PositiveInfinity, float.NegativeInfinity, float.MaxValue, -float.MaxValue, float.Epsilon, 65504, 65519.996f, 65520, 65536, 5.9604645e-8f, 2.9802322e-8f, 2.98023259e-8f, 1e-40f];
        Random random = new(3);
        while (values.Count < 512)
        {
            uint bits = (uint)random.NextInt64(1L << 32);
            float x = (values.Count % 4) switch
            {
                0 => BitConverter.UInt32BitsToSingle(bits),
                // Ties of float16 and bfloat16, and what is next to them.
                1 => BitConverter.UInt32BitsToSingle((bits & 0xFFFF_E000) | 0x1000),
                2 => BitConverter.UInt32BitsToSingle((bits & 0xFFFF_0000) | 0x8000 | ((bits >> 3) & 1)),
                _ => (random.NextSingle() - 0.5f) * 100_000,
            };
            values.Add(x);
        }
        return [.. values];
    }

    [Fact]
    public void Every_float16_becomes_the_same_number()
    {
        for (int start = 0; start < 65536; start += 1024)
        {
            uint[] x = [.. Enumerable.Range(start, 1024).Select(i => (uint)i | 0xABCD_0000)];
            uint[] actual = _driver.Warp("mov.b32 {%h0, %h1}, %x; cvt.f32.f16 %d, %h0;", x);
            for (int i = 0; i < x.Length; i++)
            {
                float expected = (float)BitConverter.UInt16BitsToHalf((ushort)x[i]), single = BitConverter.UInt32BitsToSingle(actual[i]);
                Assert.True(float.IsNaN(expected) ? float.IsNaN(single) : BitConverter.SingleToUInt32Bits(expected) == actual[i], $"0x{x[i]:x} became {single}");
            }
        }
    }

    [Fact]
    public void A_float32_becomes_the_nearest_float16_and_bfloat16_ties_to_even()
    {
        float[] x = Singles();
        uint[] bits = [.. x.Select(BitConverter.SingleToUInt32Bits)];
        uint[] halves = _driver.Warp("cvt.rn.f16.f32 %h0, %x; cvt.u32.u16 %d, %h0;", bits), brains = _driver.Warp("cvt.rn.bf16.f32 %h0, %x; cvt.u32.u16 %d, %h0;", bits);
        uint[] pairs = _driver.Warp("cvt.rn.f16x2.f32 %d, %x, 0f3F800000;", bits);
        for (int i = 0; i < x.Length; i++)
        {
            Assert.Equal(Nearest(x[i], b => (double)BitConverter.UInt16BitsToHalf(b), 0x7C00), float.IsNaN(x[i]) && (halves[i] & 0x7FFF) > 0x7C00 ? 0x7FFFu : halves[i]);
            Assert.Equal(Nearest(x[i], b => (double)BitConverter.UInt32BitsToSingle((uint)b << 16), 0x7F80), brains[i]);
            if (!float.IsNaN(x[i])) Assert.Equal((halves[i] << 16) | 0x3C00, pairs[i]);
        }
    }

    /// <summary>Of all values of a 16-bit float the nearest, by search: values grow with their bits; beyond the largest finite one by half a step is infinity.</summary>
    private static uint Nearest(float x, Func<ushort, double> value, ushort infinity)
    {
        if (float.IsNaN(x)) return 0x7FFF;
        uint sign = float.IsNegative(x) ? 0x8000u : 0;
        double magnitude = Math.Abs((double)x);
        if (double.IsInfinity(magnitude)) return sign | infinity;
        int low = 0, high = infinity - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            if (value((ushort)middle) <= magnitude) low = middle;
            else high = middle - 1;
        }
        double below = value((ushort)low), above = low + 1 == infinity ? below + (below - value((ushort)(low - 1))) : value((ushort)(low + 1));
        double toBelow = magnitude - below, toAbove = above - magnitude;
        return sign | (uint)(toBelow < toAbove || (toBelow == toAbove && low % 2 == 0) ? low : low + 1);
    }

    [Theory]
    [InlineData("rz")]
    [InlineData("rm")]
    [InlineData("rp")]
    public void A_directed_rounding_goes_its_way(string rounding)
    {
        float[] x = [.. Singles().Where(v => Math.Abs(v) < 65000)];
        uint[] actual = _driver.Warp($"cvt.{(rounding == "rz" ? "rz" : rounding)}.f16.f32 %h0, %x; cvt.u32.u16 %d, %h0;", [.. x.Select(BitConverter.SingleToUInt32Bits)]);
        for (int i = 0; i < x.Length; i++)
        {
            Half half = BitConverter.UInt16BitsToHalf((ushort)actual[i]);
            bool up = rounding == "rp" || (rounding == "rz" && x[i] < 0);
            Assert.True(up ? (double)half >= x[i] && (double)Half.BitDecrement(half) < x[i] || (double)half == x[i] : ((double)half <= x[i] && (double)Half.BitIncrement(half) > x[i]) || (double)half == x[i], $"{rounding} {x[i]:r} became {half}");
        }
    }

    public static TheoryData<string, Func<float, uint>> ToIntegers { get; } = new()
    {
        { "rzi.s32.f32", x => Clamp(Math.Truncate((double)x), int.MinValue, int.MaxValue) },
        { "rni.s32.f32", x => Clamp(Math.Round((double)x, MidpointRounding.ToEven), int.MinValue, int.MaxValue) },
        { "rmi.s32.f32", x => Clamp(Math.Floor((double)x), int.MinValue, int.MaxValue) },
        { "rpi.s32.f32", x => Clamp(Math.Ceiling((double)x), int.MinValue, int.MaxValue) },
        { "rzi.u32.f32", x => Clamp(Math.Truncate((double)x), 0, uint.MaxValue) },
        { "rni.u32.f32", x => Clamp(Math.Round((double)x, MidpointRounding.ToEven), 0, uint.MaxValue) },
    };

    private static uint Clamp(double x, double least, double most) => double.IsNaN(x) ? 0 : (uint)(long)Math.Clamp(x, least, most);

    [Theory]
    [MemberData(nameof(ToIntegers), DisableDiscoveryEnumeration = true)]
    public void A_float_becomes_an_integer_by_its_mode_within_the_integers_range(string conversion, Func<float, uint> expected)
    {
        float[] x = [.. Singles(), 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 3e9f, -3e9f, 2147483648f, 1e20f];
        uint[] actual = _driver.Warp($"cvt.{conversion} %d, %x;", [.. x.Select(BitConverter.SingleToUInt32Bits)]);
        for (int i = 0; i < x.Length; i++) Assert.True(expected(x[i]) == actual[i], $"{conversion} of {x[i]:r} is {actual[i]}, not {expected(x[i])}");
    }

    [Fact]
    public void Integers_become_the_nearest_float()
    {
        // One above a tie: a detour through float64 would make it a tie.
        ulong[] x = [0, 1, 16_777_217, 16_777_219, ulong.MaxValue, 0x8000_0080_0000_0001, 0x8000_0080_0000_0000, 0x4000_0040_0000_0001, 0xFFFF_FF80_0000_0000];
        ulong[] unsigned = _driver.Warp("cvt.rn.f32.u64 %t1, %x; cvt.u64.u32 %d, %t1;", x), signed = _driver.Warp("cvt.rn.f32.s64 %t1, %x; cvt.u64.u32 %d, %t1;", x);
        for (int i = 0; i < x.Length; i++)
        {
            Assert.Equal(NearestSingle(x[i]), BitConverter.UInt32BitsToSingle((uint)unsigned[i]));
            Assert.Equal(NearestSingle((long)x[i]), BitConverter.UInt32BitsToSingle((uint)signed[i]));
        }
        uint[] small = [.. x.Select(v => (uint)v), 0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000];
        uint[] singles = _driver.Warp("cvt.rn.f32.u32 %d, %x;", small);
        for (int i = 0; i < small.Length; i++) Assert.Equal(NearestSingle(small[i]), BitConverter.UInt32BitsToSingle(singles[i]));
        singles = _driver.Warp("cvt.rz.f32.s32 %d, %x;", small);
        for (int i = 0; i < small.Length; i++)
        {
            double single = BitConverter.UInt32BitsToSingle(singles[i]);
            Assert.True(Math.Abs(single) <= Math.Abs((double)(int)small[i]) && Math.Abs((double)(int)small[i]) - Math.Abs(single) < 128);
        }
    }

    private static float NearestSingle(Int128 x)
    {
        if (x == 0) return 0;
        Int128 magnitude = Int128.Abs(x);
        int excess = Math.Max(0, 128 - (int)Int128.LeadingZeroCount(magnitude) - 24);
        Int128 kept = magnitude >> excess, rest = magnitude - (kept << excess), half = excess == 0 ? 1 : Int128.One << (excess - 1);
        if (excess > 0 && (rest > half || (rest == half && (kept & 1) == 1))) kept++;
        return (float)((double)kept * Math.Pow(2, excess) * (x < 0 ? -1 : 1));
    }

    [Fact]
    public void Integers_are_cut_or_saturated_and_filled_by_their_sign()
    {
        uint[] x = [0, 127, 128, 255, 256, 0x8000, 0xFFFF, 0xFFFF_FF80, 0xFFFF_FF7F, 0x7FFF_FFFF, 0x8000_0000];
        (string, Func<uint, uint>)[] conversions =
        [
            ("cvt.u8.u32 %h0, %x; cvt.u32.u8 %d, %h0;", v => (byte)v), ("cvt.s8.s32 %h0, %x; cvt.s32.s8 %d, %h0;", v => (uint)(sbyte)v), ("cvt.sat.s8.s32 %h0, %x; cvt.s32.s8 %d, %h0;", v => (uint)Math.Clamp((int)v, -128, 127)),
            ("cvt.sat.u8.s32 %h0, %x; cvt.u32.u8 %d, %h0;", v => (uint)Math.Clamp((int)v, 0, 255)), ("cvt.u16.u32 %h0, %x; cvt.s32.s16 %d, %h0;", v => (uint)(short)v), ("cvt.s32.s8 %d, %x;", v => (uint)(sbyte)v),
            ("cvt.u32.u16 %d, %x;", v => (ushort)v), ("cvt.s64.s32 %a3, %x; shr.s64 %a3, %a3, 4; cvt.u32.u64 %d, %a3;", v => (uint)((long)(int)v >> 4)), ("cvt.u64.u32 %a3, %x; shr.u64 %a3, %a3, 31; cvt.u32.u64 %d, %a3;", v => v >> 31),
            ("cvt.s64.s8 %a3, %x; shr.u64 %a3, %a3, 60; cvt.u32.u64 %d, %a3;", v => (sbyte)v < 0 ? 15u : 0),
        ];
        foreach ((string body, Func<uint, uint> expected) in conversions) Assert.Equal([.. x.Select(expected)], _driver.Warp(body, x));
    }

    [Fact]
    public void Rounding_to_integral_saturating_and_flushing_keep_the_type()
    {
        float[] x = [0.5f, 1.5f, -2.5f, 1e10f, -0.2f, 3.7f, float.NaN, 1e-40f];
        Assert.Equal([.. x.Select(v => MathF.Round(v))], _driver.Warp("cvt.rni.f32.f32 %d, %x;", x));
        Assert.Equal([.. x.Select(MathF.Floor)], _driver.Warp("cvt.rmi.f32.f32 %d, %x;", x));
        Assert.Equal([.. x.Select(v => float.IsNaN(v) ? 0 : Math.Clamp(v, 0, 1))], _driver.Warp("cvt.sat.f32.f32 %d, %x;", x));
        Assert.Equal(0, _driver.Warp("cvt.ftz.f32.f32 %d, %x;", x)[^1]);
        Assert.Equal([.. x.Select(v => (float)(Half)v)], _driver.Warp("cvt.rn.f16.f32 %h0, %x; cvt.f32.f16 %d, %h0;", x));
    }

    public void Dispose() => _driver.Dispose();
}
