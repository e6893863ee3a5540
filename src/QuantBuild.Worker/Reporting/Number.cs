using System.Globalization;

namespace QuantBuild.Worker.Reporting;

/// <summary>Figures as reports write them: the same in every country.</summary>
internal static class Number
{
    /// <summary>What stands where there is no figure.</summary>
    public const string None = "–";

    /// <summary>A number with at most two places.</summary>
    public static string Plain(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);

    /// <summary>A number with so many places.</summary>
    public static string Fixed(double? value, int places) =>
        value is { } number ? number.ToString("N" + places.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) : None;

    /// <summary>A divergence, in nats: two digits even of a small one.</summary>
    public static string Divergence(double? nats) =>
        nats is < 0.001 ? nats.Value.ToString("0.0000##", CultureInfo.InvariantCulture) : Fixed(nats, 4);

    /// <summary>A whole number with its thousands apart.</summary>
    public static string Count(long value) => value.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>Bytes in decimal units.</summary>
    public static string Bytes(long? bytes) => bytes switch
    {
        null => None,
        >= 1_000_000_000 => Fixed(bytes / 1e9, 2) + " GB",
        >= 1_000_000 => Fixed(bytes / 1e6, 2) + " MB",
        >= 10_000 => Fixed(bytes / 1e3, 1) + " kB",
        _ => Count(bytes.Value) + " bytes",
    };

    /// <summary>A ratio as a percentage.</summary>
    public static string Percent(double? ratio, int places) => ratio is null ? None : Fixed(100 * ratio, places) + "%";

    /// <summary>A change as a percentage with its sign.</summary>
    public static string Change(double? ratio) => ratio is null ? None : ratio.Value.ToString("+0.00%;-0.00%;0.00%", CultureInfo.InvariantCulture);

    /// <summary>Tokens a second: three digits say all that a timing knows.</summary>
    public static string Rate(double? perSecond) => perSecond switch
    {
        null => None,
        < 10 => Fixed(perSecond, 2),
        < 100 => Fixed(perSecond, 1),
        _ => Fixed(perSecond, 0),
    };

    /// <summary>A duration.</summary>
    public static string Duration(double? seconds) => seconds switch
    {
        null => None,
        < 120 => Fixed(seconds, 1) + " s",
        < 7200 => string.Create(CultureInfo.InvariantCulture, $"{Math.Floor(seconds.Value / 60):F0} min {seconds.Value % 60:F0} s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{Math.Floor(seconds.Value / 3600):F0} h {Math.Floor(seconds.Value % 3600 / 60):F0} min"),
    };
}
