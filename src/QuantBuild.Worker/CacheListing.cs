namespace QuantBuild.Worker;

/// <summary>What the user's cache has.</summary>
/// <param name="Path">Its folder.</param>
/// <param name="Bytes">Of all files in it.</param>
/// <param name="Limit">What builds keep its artifacts within.</param>
/// <param name="Artifacts">The artifacts, the one used last first.</param>
internal sealed record CacheListing(string Path, long Bytes, long Limit, IReadOnlyList<CachedArtifact> Artifacts)
{
    /// <summary>Lists a cache.</summary>
    /// <exception cref="QuantBuildException">QB0006: the limit's environment variable is no size.</exception>
    public static CacheListing Of(ModelCache cache) => new(
        cache.Root, cache.Bytes(), CacheEviction.Limit(), [.. cache.Entries().OrderByDescending(entry => entry.LastUse).Select(CachedArtifact.Of)]);
}

/// <summary>An artifact in the cache.</summary>
/// <param name="Fingerprint">Its fingerprint.</param>
/// <param name="ModelName">The model's own name, where the artifact can be read.</param>
/// <param name="Spec">Its specification, where the artifact can be read.</param>
/// <param name="Bytes">Of artifact, record and report.</param>
/// <param name="LastUse">When a build last took it, in UTC, to the hour.</param>
/// <param name="Path">Full path of the artifact.</param>
internal sealed record CachedArtifact(
    string Fingerprint, string? ModelName, IReadOnlyDictionary<string, string>? Spec, long Bytes, DateTime LastUse, string Path)
{
    /// <summary>What there is of an entry.</summary>
    public static CachedArtifact Of(CacheEntry entry)
    {
        ArtifactManifest? manifest = null;
        try
        {
            using Artifact artifact = Artifact.Open(entry.ArtifactPath);
            manifest = artifact.Manifest;
        }
        catch (QuantBuildException)
        {
            // Damaged, or of another version: it takes room all the same.
        }

        return new CachedArtifact(entry.Fingerprint, manifest?.ModelName, manifest?.Spec, entry.Bytes, entry.LastUse, entry.ArtifactPath);
    }
}

/// <summary>What came of emptying the cache.</summary>
/// <param name="Path">Its folder.</param>
/// <param name="FreedBytes">What was removed.</param>
/// <param name="Bytes">What is left.</param>
internal sealed record Cleaning(string Path, long FreedBytes, long Bytes);
