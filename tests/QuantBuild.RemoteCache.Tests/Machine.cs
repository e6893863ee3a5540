using System.Text.Json;

namespace QuantBuild.Tests;

/// <summary>A machine with a cache of its own, and what its builds were told.</summary>
internal sealed class Machine : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-remote-").FullName;

    public Machine() => Cache = new ModelCache(Path.Combine(folder, "cache"));

    public ModelCache Cache { get; }

    public List<WorkerMessage> Messages { get; } = [];

    public IEnumerable<WorkerMessage> Warnings => Messages.Where(m => m.Kind == WorkerMessageKind.Warning);

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>Makes an artifact of random bytes, as a build leaves it.</summary>
    public CacheEntry Make(string fingerprint, int bytes)
    {
        CacheEntry entry = Cache.Entry(fingerprint);
        byte[] content = new byte[bytes];
        new Random(bytes).NextBytes(content);
        Directory.CreateDirectory(Path.GetDirectoryName(entry.ArtifactPath)!);
        File.WriteAllBytes(entry.ArtifactPath, content);
        File.WriteAllText(entry.ReportPath, "a report");
        File.WriteAllText(entry.BuildRecordPath, JsonSerializer.Serialize(new { ArtifactBytes = bytes, ArtifactSha256 = FileHash.OfFile(entry.ArtifactPath) }));
        return entry;
    }

    public async Task<bool> Share(IRemoteStore store, string fingerprint)
    {
        using RemoteCache remote = new("the place", store, Cache, Messages.Add);
        return await remote.ShareAsync(fingerprint, CancellationToken.None);
    }

    /// <summary>Fetches an artifact that says that it has the fingerprint which it is asked for.</summary>
    public async Task<bool> Fetch(IRemoteStore store, string fingerprint, string? says = null, CancellationToken cancellationToken = default)
    {
        using RemoteCache remote = new("the place", store, Cache, Messages.Add);
        return await remote.FetchAsync(fingerprint, _ => says ?? fingerprint, cancellationToken);
    }

    /// <summary>Asserts that two machines have the same artifact, whole.</summary>
    public static void AssertSame(CacheEntry one, CacheEntry other)
    {
        Assert.Null(other.Damage(FileHash.OfFile));
        Assert.Equal(File.ReadAllBytes(one.ArtifactPath), File.ReadAllBytes(other.ArtifactPath));
        Assert.Equal(File.ReadAllText(one.ReportPath), File.ReadAllText(other.ReportPath));
        Assert.Equal(3, Directory.GetFiles(Path.GetDirectoryName(other.ArtifactPath)!).Length);
    }
}
