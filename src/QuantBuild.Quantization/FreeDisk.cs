namespace QuantBuild.Quantization;

/// <summary>How much room there is on disk.</summary>
public static class FreeDisk
{
    /// <summary>Bytes that are free where a folder is, or would be; <see langword="null"/> where the system does not say.</summary>
    public static long? Bytes(string folder)
    {
        try
        {
            return Existing(folder) is { } existing ? new DriveInfo(existing).AvailableFreeSpace : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }

    /// <summary>Whether two folders, which may not be there yet, are on one disk: below the same root, and of the same size, for a link may lead elsewhere.</summary>
    internal static bool IsOfOneDisk(string folder, string other)
    {
        try
        {
            if (Existing(folder) is not { } first || Existing(other) is not { } second) return false;
            string[] roots = [.. DriveInfo.GetDrives().Select(drive => drive.Name)];
            return RootOf(first, roots) == RootOf(second, roots) && new DriveInfo(first).TotalSize == new DriveInfo(second).TotalSize;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return false;
        }
    }

    /// <summary>The longest of some roots that a folder is below.</summary>
    internal static string? RootOf(string folder, IEnumerable<string> roots) => roots.Where(root => IsBelow(folder, root)).MaxBy(root => root.Length);

    // By whole names: /data is no root of /database.
    private static bool IsBelow(string folder, string root)
    {
        string way = Path.GetRelativePath(root, folder);
        return !Path.IsPathRooted(way) && way.Split(Path.DirectorySeparatorChar)[0] != "..";
    }

    /// <summary>A folder, or what there is of those above it.</summary>
    private static string? Existing(string folder)
    {
        string? existing = Path.GetFullPath(folder);
        while (existing is not null && !Directory.Exists(existing)) existing = Path.GetDirectoryName(existing);
        return existing;
    }
}
