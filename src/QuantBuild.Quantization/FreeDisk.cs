namespace QuantBuild.Quantization;

/// <summary>How much room there is on disk.</summary>
public static class FreeDisk
{
    /// <summary>Bytes that are free where a folder is, or would be; <see langword="null"/> where the system does not say.</summary>
    public static long? Bytes(string folder)
    {
        try
        {
            string? existing = Path.GetFullPath(folder);
            while (existing is not null && !Directory.Exists(existing)) existing = Path.GetDirectoryName(existing);
            return existing is null ? null : new DriveInfo(existing).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }
}
