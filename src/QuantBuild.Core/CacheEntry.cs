using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>What the cache has, or has not, of one fingerprint: artifact, build record, report, and when it was last used.</summary>
/// <param name="cache">The cache.</param>
/// <param name="fingerprint">The artifact's fingerprint.</param>
public sealed class CacheEntry(ModelCache cache, string fingerprint)
{
    // To the day would do for choosing what to evict; a build with nothing to do should write nothing.
    private static readonly TimeSpan UseIsNoted = TimeSpan.FromHours(1);

    /// <summary>The artifact's fingerprint.</summary>
    public string Fingerprint { get; } = fingerprint;

    /// <summary>Full path of the artifact.</summary>
    public string ArtifactPath { get; } = cache.ArtifactPath(fingerprint);

    /// <summary>Full path of the record of how it was made.</summary>
    public string BuildRecordPath { get; } = cache.BuildRecordPath(fingerprint);

    /// <summary>Full path of the report on it.</summary>
    public string ReportPath { get; } = cache.ReportPath(fingerprint);

    /// <summary>Whether the artifact is there, whole or not. The record is looked for as well: it is written first and deleted first.</summary>
    public bool Exists => File.Exists(ArtifactPath) && File.Exists(BuildRecordPath);

    /// <summary>Bytes of all its files.</summary>
    public long Bytes => Files.Sum(file => new FileInfo(file) is { Exists: true } found ? found.Length : 0);

    /// <summary>When a build last took it, in UTC, to the hour.</summary>
    public DateTime LastUse => File.GetLastWriteTimeUtc(File.Exists(UsePath) ? UsePath : BuildRecordPath);

    private string UsePath => Path.ChangeExtension(ArtifactPath, ".used");

    private string[] Files => [BuildRecordPath, ArtifactPath, ReportPath, UsePath];

    /// <summary>What is wrong with the artifact, or <see langword="null"/> where its bytes are those that were made.</summary>
    /// <param name="hash">Hashes it; one that remembers makes this cheap.</param>
    /// <remarks>A file that others are writing or that cannot be read is damaged too: it cannot be used.</remarks>
    public string? Damage(Func<string, string> hash)
    {
        try
        {
            XElement record = Json.Parse(File.ReadAllText(BuildRecordPath));
            if (record.Member("ArtifactBytes") is not { } bytes || record.Member("ArtifactSha256") is not { } sha256) return "its record has no checksum";
            long length = new FileInfo(ArtifactPath).Length;
            if (bytes.Value != length.ToString(CultureInfo.InvariantCulture)) return $"it has {length} bytes, and had {bytes.Value} when it was made";
            string actual = hash(ArtifactPath);
            return actual == sha256.Value ? null : $"its SHA-256 is {actual}, and was {sha256.Value} when it was made";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            return e.Message;
        }
    }

    /// <summary>Notes that the entry is used, so that others are evicted before it. A cache that cannot be written evicts nothing either.</summary>
    public void Touch()
    {
        try
        {
            if (!Exists || DateTime.UtcNow - LastUse < UseIsNoted) return;
            using FileStream used = new(UsePath, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
            File.SetLastWriteTimeUtc(UsePath, DateTime.UtcNow);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
    }

    /// <summary>Deletes it. Whoever calls holds its lock.</summary>
    /// <exception cref="QuantBuildException">QB1004: it cannot be deleted.</exception>
    public void Delete()
    {
        try
        {
            // The record first: an entry without one counts as absent.
            foreach (string file in Files) File.Delete(file);
        }
        catch (DirectoryNotFoundException)
        {
            // There was none.
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw cache.NotWritable(e);
        }
    }
}
