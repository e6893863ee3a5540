using System.Globalization;
using System.Numerics;

namespace QuantBuild.Constraints;

/// <summary>Numbers between bounds, digit by digit.</summary>
internal static class NumberRanges
{
    /// <summary>The whole numbers from one to another, both included. None if the first is the greater one.</summary>
    public static GrammarExpression Integers(BigInteger min, BigInteger max)
    {
        List<GrammarExpression> options = [];
        if (min < 0) options.Add(Negative(Naturals(BigInteger.Max(1, -max), -min)));
        if (max >= 0) options.Add(Naturals(BigInteger.Max(0, min), max));
        return GrammarExpression.Any(options);
    }

    /// <summary>The numbers between two whole ones, with and without a fraction; no exponents.</summary>
    /// <param name="min">The lower bound.</param>
    /// <param name="max">The upper bound.</param>
    /// <param name="withMin">Whether the lower bound is one of them.</param>
    /// <param name="withMax">Whether the upper bound is one of them.</param>
    public static GrammarExpression Numbers(BigInteger min, BigInteger max, bool withMin, bool withMax)
    {
        List<GrammarExpression> options = [];
        if (min < 0) options.Add(Negative(Positive(BigInteger.Max(0, -max), -min, withMax || max > 0, withMin)));
        if (max >= 0) options.Add(Positive(BigInteger.Max(0, min), max, withMin || min < 0, withMax));
        return GrammarExpression.Any(options);
    }

    private static GrammarExpression Negative(GrammarExpression magnitude) => GrammarExpression.Join(JsonText.Text("-"), magnitude);

    /// <summary>Numbers between two that are not negative.</summary>
    private static GrammarExpression Positive(BigInteger min, BigInteger max, bool withMin, bool withMax)
    {
        // A fraction may follow all but the greatest; the least without one, or with one of nothing, is the bound itself.
        BigInteger whole = withMin ? min : min + 1;
        List<GrammarExpression> options = [GrammarExpression.Join(Naturals(whole, max - 1), JsonText.Fraction().Optional())];
        if (!withMin && min < max) options.Add(GrammarExpression.Join(Naturals(min, min), JsonText.FractionButZero()));
        if (withMax && (min < max || withMin)) options.Add(Naturals(max, max));
        return GrammarExpression.Any(options);
    }

    private static GrammarExpression Naturals(BigInteger min, BigInteger max)
    {
        List<GrammarExpression> options = [];
        while (min <= max)
        {
            // Those with as many digits as the least.
            string low = min.ToString(CultureInfo.InvariantCulture);
            BigInteger last = BigInteger.Min(max, BigInteger.Pow(10, low.Length) - 1);
            options.Add(SameLength(low, last.ToString(CultureInfo.InvariantCulture)));
            min = last + 1;
        }

        return GrammarExpression.Any(options);
    }

    private static GrammarExpression SameLength(string low, string high)
    {
        if (low.Length == 0) return GrammarExpression.Empty;
        if (low.All(digit => digit == '0') && high.All(digit => digit == '9')) return JsonText.Digit.Times(low.Length, low.Length);
        string restLow = low[1..], restHigh = high[1..];
        if (low[0] == high[0]) return GrammarExpression.Join(JsonText.Text(low[..1]), SameLength(restLow, restHigh));
        string zeros = new('0', restLow.Length), nines = new('9', restLow.Length);
        List<GrammarExpression> options =
        [
            GrammarExpression.Join(JsonText.Text(low[..1]), SameLength(restLow, nines)),
            GrammarExpression.Join(JsonText.Text(high[..1]), SameLength(zeros, restHigh)),
        ];
        if (low[0] + 1 < high[0])
        {
            CodePointSet between = CodePointSet.Of((low[0] + 1, high[0] - 1));
            options.Add(GrammarExpression.Join(new GrammarExpression.Characters(between), SameLength(zeros, nines)));
        }

        return GrammarExpression.Any(options);
    }
}
