using System.Numerics;

namespace QuantBuild.Cuda.Emulator;

/// <summary>bfloat16: the upper half of a float32.</summary>
internal readonly record struct Brain(ushort Bits) : IAdditionOperators<Brain, Brain, Brain>, ISubtractionOperators<Brain, Brain, Brain>, IMultiplyOperators<Brain, Brain, Brain>
{
    public static explicit operator float(Brain x) => BitConverter.UInt32BitsToSingle((uint)x.Bits << 16);

    /// <summary>To the nearest, ties to even; every NaN becomes 0x7FFF, as the hardware has it.</summary>
    public static explicit operator Brain(float x)
    {
        if (float.IsNaN(x)) return new(0x7FFF);
        uint bits = BitConverter.SingleToUInt32Bits(x);
        return new((ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16));
    }

    public static Brain operator +(Brain a, Brain b) => (Brain)((float)a + (float)b);

    public static Brain operator -(Brain a, Brain b) => (Brain)((float)a - (float)b);

    public static Brain operator *(Brain a, Brain b) => (Brain)((float)a * (float)b);
}
