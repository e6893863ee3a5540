namespace QuantBuild.Cuda.Emulator;

/// <summary>Which neighbour a value that is not representable becomes; for a conversion to an integer, the same of integers.</summary>
internal enum Rounding { Nearest, Zero, Down, Up }

/// <summary><c>cvt</c> of one value, for every pair of types.</summary>
internal sealed record Conversion(string To, string From, Rounding Rounding, bool ToIntegral, bool Saturate, bool Flush, bool Relu)
{
    public static bool IsFloat(string type) => type is "f16" or "bf16" or "f32" or "f64" or "tf32";

    public ulong Apply(ulong bits)
    {
        if (!IsFloat(From))
        {
            Int128 value = From switch
            {
                "u8" or "b8" => (byte)bits,
                "s8" => (sbyte)bits,
                "u16" or "b16" => (ushort)bits,
                "s16" => (short)bits,
                "u32" or "b32" => (uint)bits,
                "s32" => (int)bits,
                "s64" => (long)bits,
                _ => bits,
            };
            return IsFloat(To) ? ToFloat(Toward(value), value) : ToInteger(value, Saturate);
        }
        double number = From switch
        {
            "f16" => (double)BitConverter.UInt16BitsToHalf((ushort)bits),
            "bf16" => (float)new Brain((ushort)bits),
            "f32" => BitConverter.UInt32BitsToSingle((uint)bits),
            _ => BitConverter.UInt64BitsToDouble(bits),
        };
        if (Flush && From == "f32" && Math.Abs(number) < 1.17549435e-38) number = Math.CopySign(0, number);
        if (ToIntegral || !IsFloat(To)) number = Integral(number, Rounding);
        return IsFloat(To) ? ToFloat(number, null) : ToInteger(double.IsNaN(number) ? 0 : ToInt128(number), true);
    }

    private static Int128 ToInt128(double number) => number >= 1e20 ? Int128.CreateChecked(1e20) : number <= -1e20 ? Int128.CreateChecked(-1e20) : (Int128)number;

    /// <summary>An integer as a float64: the nearest where that is the result, else one whose last bit tells of bits that were cut off, so that the rounding which follows goes the right way.</summary>
    private double Toward(Int128 value)
    {
        if (To == "f64") return (double)value;
        Int128 magnitude = Int128.Abs(value);
        int excess = Math.Max(0, 128 - (int)Int128.LeadingZeroCount(magnitude) - 53);
        Int128 kept = magnitude >> excess;
        if (kept << excess != magnitude) kept |= 1;
        double number = Math.ScaleB((double)(long)kept, excess);
        return value < 0 ? -number : number;
    }

    private static double Integral(double x, Rounding rounding) => rounding switch
    {
        Rounding.Nearest => Math.Round(x, MidpointRounding.ToEven),
        Rounding.Zero => Math.Truncate(x),
        Rounding.Down => Math.Floor(x),
        _ => Math.Ceiling(x),
    };

    private ulong ToInteger(Int128 value, bool clamp)
    {
        (Int128 least, Int128 most) = To switch
        {
            "u8" or "b8" => (byte.MinValue, byte.MaxValue),
            "s8" => (sbyte.MinValue, sbyte.MaxValue),
            "u16" or "b16" => (ushort.MinValue, ushort.MaxValue),
            "s16" => (short.MinValue, short.MaxValue),
            "u32" or "b32" => (uint.MinValue, uint.MaxValue),
            "s32" => (int.MinValue, int.MaxValue),
            "s64" => (long.MinValue, long.MaxValue),
            _ => ((Int128)ulong.MinValue, (Int128)ulong.MaxValue),
        };
        if (clamp) value = Int128.Clamp(value, least, most);
        return To switch
        {
            "u8" or "b8" => (byte)value,
            "s8" => (ulong)(sbyte)value,
            "u16" or "b16" => (ushort)value,
            "s16" => (ulong)(short)value,
            "u32" or "b32" => (uint)value,
            "s32" => (ulong)(int)value,
            _ => (ulong)value,
        };
    }

    private ulong ToFloat(double number, Int128? exact)
    {
        if (Saturate) number = double.IsNaN(number) ? 0 : Math.Clamp(number, 0, 1);
        if (Relu) number = double.IsNaN(number) ? number : Math.Max(number, 0);
        Rounding rounding = ToIntegral ? Rounding.Nearest : Rounding;
        switch (To)
        {
            case "f64":
                return BitConverter.DoubleToUInt64Bits(exact is null || rounding == Rounding.Nearest ? number : Adjust((Int128)number, exact.Value, number, Math.BitIncrement, Math.BitDecrement, rounding));
            case "f32":
                float single = (float)number;
                if (rounding != Rounding.Nearest && !double.IsNaN(number)) single = Adjust(single, number, single, MathF.BitIncrement, MathF.BitDecrement, rounding);
                return BitConverter.SingleToUInt32Bits(Flush ? Subnormal.Flush(single) : single);
            case "f16":
                if (double.IsNaN(number)) return 0x7FFF;
                Half half = (Half)number;
                if (rounding != Rounding.Nearest) half = Adjust((double)half, number, half, Half.BitIncrement, Half.BitDecrement, rounding);
                return BitConverter.HalfToUInt16Bits(half);
            case "tf32":
                uint bits = BitConverter.SingleToUInt32Bits((float)number);
                // cvt.rna: to the nearest, ties away from zero.
                return double.IsNaN(number) ? 0x7FFF_FFFF : (bits + 0x1000) & 0xFFFF_E000;
            default:
                Brain brain = (Brain)(float)number;
                if (double.IsNaN(number) || rounding == Rounding.Nearest) return brain.Bits;
                return Adjust((float)brain, number, brain, x => new Brain((ushort)((float)x < 0 ? x.Bits - 1 : x.Bits + 1)), x => new Brain((ushort)((float)x > 0 ? x.Bits - 1 : x.Bits + 1)), rounding).Bits;
        }
    }

    /// <summary>From the nearest value to the one on the side that <paramref name="rounding"/> wants.</summary>
    private static T Adjust<T, TV>(TV nearest, TV wanted, T value, Func<T, T> up, Func<T, T> down, Rounding rounding) where TV : System.Numerics.INumber<TV>
    {
        bool tooHigh = nearest > wanted, tooLow = nearest < wanted;
        if (rounding == Rounding.Zero) (tooHigh, tooLow) = (tooHigh && wanted > TV.Zero, tooLow && wanted < TV.Zero);
        return tooHigh && rounding != Rounding.Up ? down(value) : tooLow && rounding != Rounding.Down ? up(value) : value;
    }
}
