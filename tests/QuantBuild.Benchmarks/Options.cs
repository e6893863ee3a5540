using System.Globalization;

namespace QuantBuild.Benchmarks;

/// <summary>Options of a benchmark: a name, then its value.</summary>
static class Options
{
    public static string? Value(string[] args, string name)
    {
        int index = Array.IndexOf(args, name);
        return index >= 0 && index + 1 < args.Length ? args[index + 1] : null;
    }

    public static int Number(string[] args, string name, int standard) =>
        Value(args, name) is { } text ? int.Parse(text, CultureInfo.InvariantCulture) : standard;
}
