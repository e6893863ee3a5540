namespace QuantBuild.Worker;

/// <summary>Whether artifacts are whole.</summary>
/// <param name="IsWhole">Whether all of them are.</param>
/// <param name="Artifacts">Each of them, in the order in which they were named.</param>
internal sealed record Verification(bool IsWhole, IReadOnlyList<VerifiedArtifact> Artifacts)
{
    /// <summary>Reads artifacts whole.</summary>
    public static Verification Of(IEnumerable<string> paths, CancellationToken cancellationToken) => Of(paths, VerifiedArtifact.Of, cancellationToken);

    /// <summary>Reads all artifacts of a cache.</summary>
    public static Verification Of(ModelCache cache, CancellationToken cancellationToken) => Of(cache.Entries(), VerifiedArtifact.Of, cancellationToken);

    private static Verification Of<T>(IEnumerable<T> all, Func<T, VerifiedArtifact> verify, CancellationToken cancellationToken)
    {
        List<VerifiedArtifact> artifacts = [];
        foreach (T one in all)
        {
            cancellationToken.ThrowIfCancellationRequested();
            artifacts.Add(verify(one));
        }

        return new Verification(artifacts.TrueForAll(artifact => artifact.Code is null), artifacts);
    }
}

/// <summary>An artifact, and what is wrong with it.</summary>
/// <param name="Path">The file, as it was named.</param>
/// <param name="Tensors">How many tensors were compared, where the file is whole.</param>
/// <param name="Bytes">Bytes of the file, where it is whole.</param>
/// <param name="Code">One of <see cref="DiagnosticIds"/>, where it is not.</param>
/// <param name="Message">What is wrong and what to do.</param>
internal sealed record VerifiedArtifact(string Path, int? Tensors, long? Bytes, string? Code, string? Message)
{
    /// <summary>Reads an artifact whole.</summary>
    public static VerifiedArtifact Of(string path)
    {
        try
        {
            using Artifact artifact = Artifact.Open(path);
            artifact.VerifyChecksums();
            return new VerifiedArtifact(path, artifact.File.Tensors.Count, artifact.Length, null, null);
        }
        catch (QuantBuildException e)
        {
            return new VerifiedArtifact(path, null, null, e.Id, e.Message);
        }
    }

    /// <summary>Reads an artifact of the cache: it is whole if it is what it was when it was made, and its tensors are what they say.</summary>
    public static VerifiedArtifact Of(CacheEntry entry) => entry.Damage(FileHash.OfFile) is { } damage
        ? new VerifiedArtifact(
            entry.ArtifactPath, null, null, DiagnosticIds.CacheDamaged, $"The artifact {entry.ArtifactPath} is damaged: {damage}. The next build that needs it makes it again.")
        : Of(entry.ArtifactPath);
}
