using System.Globalization;

namespace QuantBuild.Generators.Analyzers;

/// <summary>The values that an option may have.</summary>
internal sealed class OptionRange
{
    // Above this and up to 100, a share was meant as a percentage.
    private const double LeastPercentage = 2;

    private readonly double least;
    private readonly double most;
    private readonly bool isOpen;

    /// <param name="least">The smallest value.</param>
    /// <param name="most">The largest value.</param>
    /// <param name="isOpen">Whether <paramref name="least"/> itself is too small.</param>
    /// <param name="text">The range in words.</param>
    private OptionRange(double least, double most, bool isOpen, string text) => (this.least, this.most, this.isOpen, Text) = (least, most, isOpen, text);

    public static OptionRange AboveZero { get; } = new(0, double.MaxValue, isOpen: true, "above 0");

    public static OptionRange Finite { get; } = new(double.MinValue, double.MaxValue, isOpen: false, "a finite number");

    /// <summary>The range in words.</summary>
    public string Text { get; }

    public static OptionRange AtLeast(int least) => new(least, double.MaxValue, isOpen: false, "at least " + Number(least));

    public static OptionRange Between(int least, int most) => new(least, most, isOpen: false, $"from {Number(least)} to {Number(most)}");

    /// <summary>A share of a whole.</summary>
    public static OptionRange Share(bool mayBeZero) => new(0, 1, isOpen: !mayBeZero, mayBeZero ? "from 0 to 1" : "above 0 and at most 1");

    public bool Contains(double value) => value <= most && (isOpen ? value > least : value >= least);

    /// <summary>The value of the range that was probably meant by one out of it; <see langword="null"/> where none is next to it.</summary>
    public double? Nearest(double value)
    {
        if (double.IsNaN(value) || double.IsInfinity(value)) return null;
        if (value > most) return most == 1 && value is >= LeastPercentage and <= 100 ? value / 100 : most;
        return isOpen ? null : least;
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}
