namespace QuantBuild.Core.Tests;

public sealed class CacheEntryTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly ModelCache cache;

    public CacheEntryTests() => cache = new ModelCache(Path.Combine(folder.Path, "cache"));

    public void Dispose() => folder.Dispose();

    [Fact]
    public void An_artifact_with_the_bytes_that_its_record_says_is_whole()
    {
        CacheEntry entry = CachedArtifact.Make(cache, 'a', 1000);
        Assert.True(entry.Exists);
        Assert.Null(entry.Damage(FileHash.OfFile));
        Assert.Equal([entry.Fingerprint], cache.Entries().Select(e => e.Fingerprint));
        Assert.False(cache.Entry(new string('b', 64)).Exists);
    }

    [Fact]
    public void A_changed_byte_a_missing_byte_and_a_record_without_a_checksum_are_damage()
    {
        CacheEntry entry = CachedArtifact.Make(cache, 'a', 1000);
        byte[] bytes = File.ReadAllBytes(entry.ArtifactPath);
        File.WriteAllBytes(entry.ArtifactPath, bytes[..^1]);
        Assert.Contains("999 bytes", entry.Damage(FileHash.OfFile), StringComparison.Ordinal);

        bytes[7] ^= 4;
        File.WriteAllBytes(entry.ArtifactPath, bytes);
        Assert.Contains("SHA-256", entry.Damage(FileHash.OfFile), StringComparison.Ordinal);

        foreach (string record in new[] { "{}", "", "[1]", "{ \"ArtifactBytes\": 1000 }" })
        {
            File.WriteAllText(entry.BuildRecordPath, record);
            Assert.NotNull(entry.Damage(FileHash.OfFile));
        }
    }

    [Fact]
    public void Deleting_removes_all_of_its_files_and_is_no_error_where_there_is_none()
    {
        CacheEntry entry = CachedArtifact.Make(cache, 'a', 10, unusedFor: TimeSpan.FromDays(1));
        entry.Touch();
        entry.Delete();
        Assert.Empty(Directory.GetFiles(cache.Root, "*", SearchOption.AllDirectories));
        entry.Delete();
        cache.Entry(new string('f', 64)).Delete();
    }

    [Fact]
    public void Use_is_noted_to_the_hour_and_leaves_the_artifact_as_it_is()
    {
        CacheEntry entry = CachedArtifact.Make(cache, 'a', 10, unusedFor: TimeSpan.FromDays(3));
        DateTime written = File.GetLastWriteTimeUtc(entry.ArtifactPath);
        Assert.True(DateTime.UtcNow - entry.LastUse > TimeSpan.FromDays(2));
        entry.Touch();
        Assert.True(DateTime.UtcNow - entry.LastUse < TimeSpan.FromMinutes(1));
        Assert.Equal(written, File.GetLastWriteTimeUtc(entry.ArtifactPath));
        DateTime first = entry.LastUse;
        entry.Touch();
        Assert.Equal(first, entry.LastUse);
    }
}

/// <summary>An artifact of some bytes in a cache, as a worker leaves it.</summary>
internal static class CachedArtifact
{
    public static CacheEntry Make(ModelCache cache, char digit, int bytes, TimeSpan unusedFor = default)
    {
        CacheEntry entry = cache.Entry(new string(digit, 64));
        Directory.CreateDirectory(Path.GetDirectoryName(entry.ArtifactPath)!);
        File.WriteAllBytes(entry.ArtifactPath, new byte[bytes]);
        File.WriteAllText(entry.BuildRecordPath, $$"""{ "ArtifactBytes": {{bytes}}, "ArtifactSha256": "{{FileHash.OfFile(entry.ArtifactPath)}}" }""");
        File.SetLastWriteTimeUtc(entry.BuildRecordPath, DateTime.UtcNow - unusedFor);
        return entry;
    }
}
