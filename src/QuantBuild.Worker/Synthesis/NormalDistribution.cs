using QuantBuild.Generation;

namespace QuantBuild.Worker.Synthesis;

/// <summary>
/// Normally distributed numbers by the polar method (Marsaglia and Bray, 1964). Only operations that IEEE 754 defines to the bit, the logarithm too,
/// so that a seed gives the same weights on every machine.
/// </summary>
/// <param name="seed">Where to begin.</param>
internal struct NormalDistribution(ulong seed)
{
    private SplitMix random = new(seed);
    private double second = double.NaN;

    /// <summary>The next number, of mean 0 and standard deviation 1.</summary>
    public double Next()
    {
        if (!double.IsNaN(second))
        {
            double kept = second;
            second = double.NaN;
            return kept;
        }

        while (true)
        {
            // Both coordinates of a point of the square from one draw: 32 bits each, and never the origin.
            ulong bits = random.Next();
            double x = Coordinate((uint)bits);
            double y = Coordinate((uint)(bits >> 32));
            double square = (x * x) + (y * y);
            if (square >= 1) continue;
            double scale = Math.Sqrt(-2 * Logarithm(square) / square);
            second = y * scale;
            return x * scale;
        }
    }

    /// <summary>The natural logarithm of a positive normal number, to 1e-12 of its size; the system's differs from one to the next.</summary>
    internal static double Logarithm(double value)
    {
        const long mantissa = (1L << 52) - 1;
        const long one = 1023L << 52;
        long bits = BitConverter.DoubleToInt64Bits(value);
        int exponent = (int)(bits >> 52) - 1023;
        double m = BitConverter.Int64BitsToDouble((bits & mantissa) | one);
        if (m > 1.4142135623730951)
        {
            m *= 0.5;
            exponent++;
        }

        // ln m = 2 artanh z, |z| < 0.172.
        double z = (m - 1) / (m + 1);
        double s = z * z;
        double series = 1 + (s * ((1.0 / 3) + (s * ((1.0 / 5) + (s * ((1.0 / 7) + (s * ((1.0 / 9) + (s * ((1.0 / 11) + (s * (1.0 / 13))))))))))));
        return (exponent * 0.6931471805599453) + (2 * z * series);
    }

    // From -1 to 1 in steps of 2^-31, between the steps.
    private static double Coordinate(uint bits) => ((bits + 0.5) * (1.0 / (1L << 31))) - 1;
}
