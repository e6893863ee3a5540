namespace QuantBuild;

/// <summary>
/// The user's cache: artifacts by fingerprint, shared by every project. A file appears in it whole, by a rename, or not at all.
/// </summary>
/// <param name="root">The cache's folder. It need not exist yet.</param>
public sealed class ModelCache(string root)
{
    /// <summary>The environment variable that moves the cache.</summary>
    public const string RootVariable = "QUANTBUILD_CACHE";

    /// <summary>The cache's folder.</summary>
    public string Root { get; } = Path.GetFullPath(root);

    /// <summary>Where file hashes are remembered.</summary>
    public string HashFolder => Path.Combine(Root, "hashes");

    /// <summary>The user's cache: <c>QUANTBUILD_CACHE</c>, else <c>QuantBuild</c> under the user's local application data.</summary>
    public static ModelCache Default()
    {
        string? folder = Environment.GetEnvironmentVariable(RootVariable);
        if (string.IsNullOrEmpty(folder))
        {
            string data = Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify);
            // A service account may have no home: the temporary folder is still shared by its builds.
            folder = Path.Combine(data.Length > 0 ? data : Path.GetTempPath(), "QuantBuild");
        }

        return new ModelCache(folder!);
    }

    /// <summary>Where the artifact of a fingerprint is, once it has been made.</summary>
    public string ArtifactPath(string fingerprint) => Path.Combine(Root, "artifacts", fingerprint.Substring(0, 2), fingerprint + ".safetensors");

    /// <summary>Where the record of how an artifact was made is: seconds, memory, device.</summary>
    public string BuildRecordPath(string fingerprint) => Path.ChangeExtension(ArtifactPath(fingerprint), ".build.json");

    /// <summary>Where the report on an artifact is: a page for a browser.</summary>
    public string ReportPath(string fingerprint) => Path.ChangeExtension(ArtifactPath(fingerprint), ".html");

    /// <summary>Where the finished layers of an artifact that is being made are kept, so that a build that was ended can go on.</summary>
    public string WorkFolder(string fingerprint) => Path.Combine(Root, "work", fingerprint);

    /// <summary>The cache that an artifact is in; the user's cache where the artifact is in none.</summary>
    /// <param name="artifactPath">Full path of the artifact, which need not exist yet.</param>
    /// <param name="fingerprint">The artifact's fingerprint.</param>
    public static ModelCache OfArtifact(string artifactPath, string fingerprint)
    {
        // <root>/artifacts/ab/abcd….safetensors
        string? root = Path.GetDirectoryName(Path.GetDirectoryName(Path.GetDirectoryName(Path.GetFullPath(artifactPath))));
        ModelCache? cache = root is null ? null : new ModelCache(root);
        return cache?.ArtifactPath(fingerprint) == Path.GetFullPath(artifactPath) ? cache : Default();
    }

    /// <summary>What the cache has of a fingerprint.</summary>
    public CacheEntry Entry(string fingerprint) => new(this, fingerprint);

    /// <summary>Every artifact that is there.</summary>
    public IReadOnlyList<CacheEntry> Entries()
    {
        string artifacts = Path.Combine(Root, "artifacts");
        return !Directory.Exists(artifacts) ? [] :
        [
            .. Directory.EnumerateFiles(artifacts, "*.safetensors", SearchOption.AllDirectories)
                .Select(path => new CacheEntry(this, Path.GetFileNameWithoutExtension(path))).Where(entry => entry.Exists),
        ];
    }

    /// <summary>Bytes of all files in the cache.</summary>
    public long Bytes() => !Directory.Exists(Root) ? 0 : new DirectoryInfo(Root).EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Exists ? file.Length : 0);

    /// <summary>Takes an artifact's lock if it is free.</summary>
    /// <param name="fingerprint">The artifact's fingerprint.</param>
    /// <returns>The lock; <see langword="null"/> where another process holds it, or the cache cannot be written.</returns>
    public IDisposable? TryLock(string fingerprint)
    {
        try
        {
            return new FileStream(LockPath(fingerprint), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>
    /// Takes the lock under which an artifact is made, so that two projects, target frameworks or terminals make it once. The operating
    /// system frees it when the process ends, however it ends.
    /// </summary>
    /// <param name="fingerprint">The artifact's fingerprint.</param>
    /// <param name="waiting">Called if another process holds the lock, and again every ten seconds as long as it does.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="QuantBuildException">QB1004: the cache cannot be written.</exception>
    public IDisposable Lock(string fingerprint, Action waiting, CancellationToken cancellationToken)
    {
        try
        {
            return FileLock.Take(LockPath(fingerprint), waiting, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw NotWritable(e);
        }
    }

    private string LockPath(string fingerprint) => Path.Combine(Root, "locks", fingerprint + ".lock");

    /// <summary>The error of a cache that cannot be written: QB1003 where its disk is full, else QB1004.</summary>
    public QuantBuildException NotWritable(Exception cause) => WriteFailure.IsDiskFull(cause)
        ? new(
            DiagnosticIds.DiskFull,
            $"The model cache {Root} cannot be written: the disk is full. Make room, or set {RootVariable} to a folder on a disk that has some.", cause)
        : new(
            DiagnosticIds.NotWritable,
            $"The model cache {Root} cannot be written: {cause.Message} Allow writing there, or set {RootVariable} to a folder that can be written.", cause);
}
