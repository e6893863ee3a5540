namespace QuantBuild;

/// <summary>
/// Keeps the cache within its limit: what was used longest ago goes first. Never what is being made, nor what was used within the hour, as a build
/// may be about to take it.
/// </summary>
/// <param name="cache">The cache.</param>
public sealed class CacheEviction(ModelCache cache)
{
    /// <summary>The environment variable that sets the limit, such as <c>20GB</c>.</summary>
    public const string LimitVariable = "QUANTBUILD_CACHE_LIMIT";

    private const long DefaultLimit = 50_000_000_000;

    private static readonly TimeSpan InUse = TimeSpan.FromHours(1);

    // A build that was ended may go on the next day, or after the weekend.
    private static readonly TimeSpan Abandoned = TimeSpan.FromDays(7);

    private static readonly TimeSpan Forgotten = TimeSpan.FromDays(90);

    /// <summary>The limit in bytes: <c>QUANTBUILD_CACHE_LIMIT</c>, else 50 GB.</summary>
    /// <exception cref="QuantBuildException">QB0006: the variable is no size.</exception>
    public static long Limit()
    {
        string? text = Environment.GetEnvironmentVariable(LimitVariable);
        if (string.IsNullOrWhiteSpace(text)) return DefaultLimit;
        if (ByteSize.TryParse(text!, out long bytes)) return bytes;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid,
            $"The environment variable {LimitVariable} is \"{text}\", expected the largest size of the model cache, such as 20GB. Correct it, or remove it for {ByteSize.Text(DefaultLimit)}.");
    }

    /// <summary>Reads a limit, such as <c>20GB</c>.</summary>
    /// <param name="text">A number above 0 with its unit; a number alone is bytes.</param>
    /// <returns>Bytes; <see langword="null"/> where it is no size.</returns>
    public static long? TryReadLimit(string text) => ByteSize.TryParse(text, out long bytes) ? bytes : null;

    /// <summary>Removes what no build will go on with, and then artifacts until the cache is within a limit.</summary>
    /// <param name="limit">Bytes that all artifacts may have together.</param>
    /// <returns>The artifacts that were removed, with the bytes that each had.</returns>
    public IReadOnlyList<KeyValuePair<string, long>> Trim(long limit)
    {
        RemoveLeftovers(Abandoned);
        List<KeyValuePair<string, long>> removed = [];
        CacheEntry[] entries = [.. cache.Entries().OrderBy(entry => entry.LastUse)];
        long total = entries.Sum(entry => entry.Bytes);
        foreach (CacheEntry entry in entries)
        {
            if (total <= limit) break;
            long bytes = entry.Bytes;
            if (!TryRemove(entry, unlessUsedWithin: InUse)) continue;
            total -= bytes;
            removed.Add(new(entry.Fingerprint, bytes));
        }

        return removed;
    }

    /// <summary>Removes every artifact, journal and remembered hash that is not in use.</summary>
    /// <returns>Bytes that were freed.</returns>
    public long Clean()
    {
        long before = cache.Bytes();
        RemoveLeftovers(TimeSpan.Zero);
        foreach (CacheEntry entry in cache.Entries()) TryRemove(entry, unlessUsedWithin: TimeSpan.Zero);
        return before - cache.Bytes();
    }

    private bool TryRemove(CacheEntry entry, TimeSpan unlessUsedWithin)
    {
        using IDisposable? held = cache.TryLock(entry.Fingerprint);
        if (held is null || DateTime.UtcNow - entry.LastUse < unlessUsedWithin) return false;
        try
        {
            entry.Delete();
            return true;
        }
        catch (QuantBuildException)
        {
            // Open elsewhere, where the system does not delete such files, or not ours to delete.
            return false;
        }
    }

    private void RemoveLeftovers(TimeSpan age)
    {
        bool IsOld(FileSystemInfo file, TimeSpan limit) => DateTime.UtcNow - file.LastWriteTimeUtc >= limit;
        foreach (DirectoryInfo journal in Children(Path.Combine(cache.Root, "work")).OfType<DirectoryInfo>())
        {
            using IDisposable? held = cache.TryLock(journal.Name);
            if (held is not null && IsOld(journal, age)) Try(() => journal.Delete(recursive: true));
        }

        foreach (FileInfo hash in Children(cache.HashFolder).OfType<FileInfo>())
        {
            if (IsOld(hash, age < Abandoned ? age : Forgotten)) Try(hash.Delete);
        }

        // What a process that was killed had open. One that still writes is younger.
        foreach (FileInfo file in Children(Path.Combine(cache.Root, "artifacts")).OfType<DirectoryInfo>().SelectMany(folder => Children(folder.FullName)).OfType<FileInfo>())
        {
            if (file.Name.EndsWith(".tmp", StringComparison.Ordinal) && IsOld(file, Abandoned)) Try(file.Delete);
        }
    }

    private static FileSystemInfo[] Children(string folder)
    {
        try
        {
            return new DirectoryInfo(folder) is { Exists: true } found ? found.GetFileSystemInfos() : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static void Try(Action delete)
    {
        try
        {
            delete();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next time.
        }
    }
}
