using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace QuantBuild;

/// <summary>
/// The cache that a team shares. It has the same files as the user's own; the build record is written last and read first: it says how many bytes the artifact has
/// and their SHA-256. What goes wrong is a warning, as a build can do without.
/// </summary>
public sealed class RemoteCache : IDisposable
{
    // A server that says nothing for this long says nothing more.
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan BetweenReports = TimeSpan.FromSeconds(2);
    private const int Attempts = 4;
    private const int LargestRecord = 10_000_000;

    private readonly string location;
    private readonly IRemoteStore store;
    private readonly ModelCache cache;
    private readonly Action<WorkerMessage> report;

    /// <summary>Opens a remote cache; asks nothing of it yet.</summary>
    /// <param name="location">A folder, an address, or <c>azure://container/prefix</c>.</param>
    /// <param name="cache">The user's cache.</param>
    /// <param name="report">Receives progress and warnings.</param>
    /// <exception cref="QuantBuildException">QB1012: the location cannot be used.</exception>
    public RemoteCache(string location, ModelCache cache, Action<WorkerMessage> report)
        : this(location, RemoteCacheLocation.Open(location, Environment.GetEnvironmentVariable), cache, report)
    {
    }

    internal RemoteCache(string location, IRemoteStore store, ModelCache cache, Action<WorkerMessage> report) =>
        (this.location, this.store, this.cache, this.report) = (location, store, cache, report);

    /// <inheritdoc/>
    public void Dispose() => store.Dispose();

    /// <summary>Fetches an artifact into the user's cache, whose lock the caller holds. A transfer that broke off goes on where it was.</summary>
    /// <param name="fingerprint">The artifact's fingerprint.</param>
    /// <param name="fingerprintOf">Reads the fingerprint that an artifact says it has.</param>
    /// <param name="cancellationToken">Ends it; what has arrived is kept.</param>
    /// <returns>Whether the artifact is in the user's cache now; if not, a warning said why, or it is not in the remote cache.</returns>
    /// <exception cref="QuantBuildException">QB1003 or QB1004: the user's cache cannot be written.</exception>
    public async Task<bool> FetchAsync(string fingerprint, Func<string, string?> fingerprintOf, CancellationToken cancellationToken)
    {
        CacheEntry entry = cache.Entry(fingerprint);
        try
        {
            if (await ReadAsync(NameOf(entry.BuildRecordPath), cancellationToken).ConfigureAwait(false) is not { } record) return false;
            (long bytes, string sha256) = Checksum(record);
            string arriving = entry.ArtifactPath + ".fetched.tmp";
            Directory.CreateDirectory(Path.GetDirectoryName(arriving)!);
            for (bool resumes = File.Exists(arriving); ; resumes = false)
            {
                if (!await DownloadAsync(NameOf(entry.ArtifactPath), arriving, bytes, cancellationToken).ConfigureAwait(false)) return false;
                string actual = FileHash.OfFile(arriving);
                if (actual == sha256) break;
                File.Delete(arriving);
                // What was there before may have been of another artifact: machines of two kinds may round differently.
                if (!resumes) return Refuse($"its SHA-256 is {actual}, and its record says {sha256}");
            }

            if (fingerprintOf(arriving) is var itself && itself != fingerprint)
            {
                File.Delete(arriving);
                return Refuse($"it says that its fingerprint is {itself ?? "none"}");
            }

            if (await ReadAsync(NameOf(entry.ReportPath), cancellationToken).ConfigureAwait(false) is { } page) WriteWhole(entry.ReportPath, page);
            WriteWhole(entry.BuildRecordPath, record);
            File.Move(arriving, entry.ArtifactPath, overwrite: true);
            return true;
        }
        catch (TransferException e)
        {
            Warn(DiagnosticIds.RemoteCacheFailed, $"The remote cache {location} could not be read: {e.Message}. The build goes on without it. {e.Advice}");
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw cache.NotWritable(e);
        }
    }

    /// <summary>Gives an artifact of the user's cache to the team.</summary>
    /// <param name="fingerprint">The artifact's fingerprint.</param>
    /// <param name="cancellationToken">Ends it; others then see nothing of it.</param>
    /// <returns>Whether the remote cache has it now; if not, a warning said why.</returns>
    public async Task<bool> ShareAsync(string fingerprint, CancellationToken cancellationToken)
    {
        CacheEntry entry = cache.Entry(fingerprint);
        try
        {
            // Without asking whether it is there: what is shared was made because it was not, or was damaged.
            foreach (string path in new[] { entry.ReportPath, entry.ArtifactPath, entry.BuildRecordPath }.Where(File.Exists))
            {
                await UploadAsync(path, cancellationToken).ConfigureAwait(false);
            }

            return true;
        }
        catch (TransferException e)
        {
            Warn(
                DiagnosticIds.RemoteCacheFailed,
                $"The remote cache {location} could not be written: {e.Message}. The artifact stays in the user's cache. {e.Advice} QuantBuildRemoteCacheWrite=false keeps builds here from trying.");
            return false;
        }
    }

    /// <summary>Brings a file here, going on where an earlier transfer ended.</summary>
    /// <returns>Whether all of it is here; not where the store has no such file.</returns>
    private async Task<bool> DownloadAsync(string name, string path, long bytes, CancellationToken cancellationToken)
    {
        Stopwatch clock = Stopwatch.StartNew();
        await using FileStream file = new(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1 << 20);
        // Longer than it should be: another file's rest.
        if (file.Length > bytes) file.SetLength(0);
        long before = file.Length;
        TransferReport progress = new(report, "fetching", bytes, before, BetweenReports);
        byte[] buffer = new byte[1 << 20];
        for (int attempt = 1; file.Length < bytes;)
        {
            long start = file.Length;
            try
            {
                using RemoteFile? remote = await TransferException.Wrap(token => store.OpenAsync(name, start, token), Silence, cancellationToken).ConfigureAwait(false);
                if (remote is null) return false;
                file.SetLength(remote.Offset);
                file.Position = remote.Offset;
                while (await TransferException.Wrap(token => remote.Content.ReadAsync(buffer, token).AsTask(), Silence, cancellationToken).ConfigureAwait(false) is > 0 and int read)
                {
                    if (file.Position + read > bytes) throw new TransferException($"{name} has more than the {bytes} bytes that its record says", isTransient: false);
                    await file.WriteAsync(buffer.AsMemory(0, read), cancellationToken).ConfigureAwait(false);
                    progress.Show(file.Position);
                }

                if (file.Length < bytes) throw new TransferException($"{name} ends after {file.Length} of {bytes} bytes", isTransient: true);
            }
            catch (TransferException e) when (e.IsTransient && (attempt < Attempts || file.Length > start))
            {
                // As long as some bytes arrive each time, the next attempt has less to do.
                attempt = file.Length > start ? 1 : attempt + 1;
                await Task.Delay(Pause(attempt), cancellationToken).ConfigureAwait(false);
            }
        }

        Inform(string.Create(CultureInfo.InvariantCulture, $"fetched {(bytes - before) / 1e6:N1} MB from the remote cache in {clock.Elapsed.TotalSeconds:F1} s"));
        return true;
    }

    private Task<bool> UploadAsync(string path, CancellationToken cancellationToken) => Repeat(
        async () =>
        {
            await using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1 << 20);
            await using ReadProgress content = new(file, new TransferReport(report, "sharing", file.Length, 0, BetweenReports));
            return await TransferException.Wrap(
                async token =>
                {
                    await store.WriteAsync(NameOf(path), content, token).ConfigureAwait(false);
                    return true;
                },
                // A server may take its time with a large file, and a client cannot tell how far it is.
                Timeout.InfiniteTimeSpan,
                cancellationToken).ConfigureAwait(false);
        },
        cancellationToken);

    /// <summary>Reads a small file whole; <see langword="null"/> where there is none.</summary>
    private Task<byte[]?> ReadAsync(string name, CancellationToken cancellationToken) => Repeat(
        async () =>
        {
            using RemoteFile? file = await TransferException.Wrap(token => store.OpenAsync(name, 0, token), Silence, cancellationToken).ConfigureAwait(false);
            if (file is null) return null;
            using MemoryStream content = new();
            byte[] buffer = new byte[1 << 16];
            while (await TransferException.Wrap(token => file.Content.ReadAsync(buffer, token).AsTask(), Silence, cancellationToken).ConfigureAwait(false) is > 0 and int read)
            {
                if (content.Length + read > LargestRecord) throw new TransferException($"{name} has more than {LargestRecord} bytes", isTransient: false);
                content.Write(buffer, 0, read);
            }

            return content.ToArray();
        },
        cancellationToken);

    private static async Task<T> Repeat<T>(Func<Task<T>> transfer, CancellationToken cancellationToken)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return await transfer().ConfigureAwait(false);
            }
            catch (TransferException e) when (e.IsTransient && attempt < Attempts)
            {
                await Task.Delay(Pause(attempt), cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private static TimeSpan Pause(int attempt) => TimeSpan.FromSeconds(0.25 * Math.Pow(2, attempt));

    private static (long Bytes, string Sha256) Checksum(byte[] record)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(record);
            return (document.RootElement.GetProperty("ArtifactBytes").GetInt64(), document.RootElement.GetProperty("ArtifactSha256").GetString()!);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new TransferException("a build record in it is damaged: " + e.Message.TrimEnd('.'), isTransient: false);
        }
    }

    private bool Refuse(string why)
    {
        Warn(DiagnosticIds.CacheDamaged, $"The artifact in the remote cache {location} is damaged: {why}. It is not used.");
        return false;
    }

    private static void WriteWhole(string path, byte[] bytes)
    {
        string temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        File.WriteAllBytes(temporary, bytes);
        File.Move(temporary, path, overwrite: true);
    }

    // ab/abcd….safetensors, as in the user's cache.
    private static string NameOf(string path) => Path.GetFileName(path)[..2] + "/" + Path.GetFileName(path);

    private void Warn(string id, string text) => report(new WorkerMessage { Kind = WorkerMessageKind.Warning, Code = id, Text = text.Trim() });

    private void Inform(string text) => report(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = text });
}
