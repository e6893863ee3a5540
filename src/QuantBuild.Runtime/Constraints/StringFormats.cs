namespace QuantBuild.Constraints;

/// <summary>The values of <c>format</c> that are supported, as patterns.</summary>
internal static class StringFormats
{
    // Years that no time zone moves out of the range of DateTimeOffset.
    private const string Year = "([1-8][0-9]{3}|9[0-8][0-9]{2})";
    private const string LeapYear = "([1-8][0-9](0[48]|[2468][048]|[13579][26])|9[0-8](0[48]|[2468][048]|[13579][26])|([2468][048]|[1357][26])00|9[26]00)";

    /// <summary>A day that exists.</summary>
    public const string Date =
        "(" + Year + "-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)|" + LeapYear + "-02-29)";

    /// <summary>A time of day, without a zone.</summary>
    public const string TimeOfDay = @"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,7})?";

    /// <summary>The time of a zone against UTC.</summary>
    public const string Offset = "(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])";

    private const string Label = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?";
    private const string Octet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

    /// <summary>Formats of numbers: they say nothing of strings, as those of strings say nothing of numbers.</summary>
    public static IReadOnlyList<string> OfNumbers { get; } = ["int32", "int64", "double", "float", "decimal"];

    /// <summary>Name to pattern.</summary>
    public static IReadOnlyDictionary<string, string> Patterns { get; } = new Dictionary<string, string>
    {
        ["date"] = $"^{Date}$",
        ["time"] = $"^{TimeOfDay}{Offset}$",
        ["date-time"] = $"^{Date}T{TimeOfDay}{Offset}$",
        ["uuid"] = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        ["email"] = $@"^[A-Za-z0-9_+-]{{1,32}}(\.[A-Za-z0-9_+-]{{1,32}}){{0,3}}@{Label}(\.{Label}){{0,3}}\.[a-z]{{2,12}}$",
        ["uri"] = $@"^https?://{Label}(\.{Label}){{0,4}}(/[A-Za-z0-9._~-]{{0,40}}){{0,8}}$",
        ["ipv4"] = $@"^{Octet}(\.{Octet}){{3}}$",
    };
}
