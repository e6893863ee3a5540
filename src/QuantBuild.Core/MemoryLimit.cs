using System.Globalization;

namespace QuantBuild;

/// <summary>
/// How much memory the worker may use (<c>MaxMemory</c>). It decides where activations are kept, never the bytes of an artifact: it is no part of the
/// fingerprint.
/// </summary>
public static class MemoryLimit
{
    /// <summary>The name of the limit, as metadata of an item.</summary>
    public const string Name = "MaxMemory";

    /// <summary>Reads an amount of memory.</summary>
    /// <param name="text">Such as <c>8GB</c>, <c>1.5 GiB</c> or a number of bytes; <see langword="null"/> or an empty text where none is given.</param>
    /// <returns>Bytes; <see langword="null"/> where none is given.</returns>
    /// <exception cref="QuantBuildException">QB0006: it cannot be read.</exception>
    public static long? Read(string? text)
    {
        if (string.IsNullOrWhiteSpace(text)) return null;
        if (ByteSize.TryParse(text!, out long bytes)) return bytes;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"{Name}=\"{text}\" is not an amount of memory. Write a number above 0 with its unit, such as 8GB, 1.5GiB or 700MB (a number alone is bytes), or leave it out: " +
            "then the worker takes what the machine has free.");
    }

    /// <summary>An amount as people read it: in MB below 10 GB, else in GB.</summary>
    public static string Text(long bytes) => bytes < 10_000_000_000
        ? string.Format(CultureInfo.InvariantCulture, "{0:N0} MB", Math.Ceiling(bytes / 1e6))
        : string.Format(CultureInfo.InvariantCulture, "{0:N1} GB", bytes / 1e9);
}
