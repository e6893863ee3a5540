using System.Globalization;

namespace QuantBuild;

/// <summary>Sizes in bytes, as people write them: <c>4GB</c>, <c>700MB</c>, <c>1.5GiB</c>, or a plain number.</summary>
internal static class ByteSize
{
    // A unit comes before those that its name ends with.
    private static readonly KeyValuePair<string, long>[] Units =
    [
        new("TB", 1_000_000_000_000), new("TiB", 1L << 40), new("GB", 1_000_000_000), new("GiB", 1L << 30),
        new("MB", 1_000_000), new("MiB", 1L << 20), new("KB", 1_000), new("KiB", 1L << 10), new("B", 1),
    ];

    /// <summary>Reads a size. A fraction of a byte is dropped.</summary>
    public static bool TryParse(string text, out long bytes)
    {
        string trimmed = text.Trim();
        KeyValuePair<string, long> unit = Units.FirstOrDefault(u => trimmed.EndsWith(u.Key, StringComparison.OrdinalIgnoreCase));
        string number = trimmed.Substring(0, trimmed.Length - (unit.Key?.Length ?? 0)).TrimEnd();
        bytes = 0;
        if (!decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value)) return false;
        long scale = unit.Key is null ? 1 : unit.Value;
        if (value <= 0 || value > long.MaxValue / scale) return false;
        bytes = (long)(value * scale);
        return bytes > 0;
    }

    /// <summary>A size in the largest unit that gives it exactly with two decimals at most. Equal sizes have one text, and it is read back.</summary>
    public static string Text(long bytes)
    {
        foreach (KeyValuePair<string, long> unit in Units)
        {
            decimal value = (decimal)bytes / unit.Value;
            if (value >= 1 && decimal.Round(value, 2) == value) return value.ToString("0.##", CultureInfo.InvariantCulture) + (unit.Value == 1 ? "" : unit.Key);
        }

        return bytes.ToString(CultureInfo.InvariantCulture);
    }
}
