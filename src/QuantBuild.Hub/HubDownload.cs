using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace QuantBuild;

/// <summary>
/// Brings files of a model into the cache: several at once, each going on where an earlier transfer ended, and put in its place only after its hash was found to be the one that the
/// hub says.
/// </summary>
internal sealed class HubDownload
{
    private const int FilesAtOnce = 8;
    private const int Attempts = 5;
    // A build that waits longer without a word is taken for one that hangs.
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan BetweenReports = TimeSpan.FromSeconds(2);

    private readonly HubClient client;
    private readonly HubCache cache;
    private readonly ModelCache own;
    private readonly Action<WorkerMessage> report;
    private readonly Lock gate = new();
    private long done;

    /// <summary>Prepares downloads.</summary>
    /// <param name="client">Asks the hub.</param>
    /// <param name="cache">Where the files go.</param>
    /// <param name="own">Where it is remembered which files were found whole.</param>
    /// <param name="report">Receives progress.</param>
    public HubDownload(HubClient client, HubCache cache, ModelCache own, Action<WorkerMessage> report)
    {
        (this.client, this.cache, this.own) = (client, cache, own);
        // Files arrive on several threads.
        this.report = message =>
        {
            lock (gate) report(message);
        };
    }

    /// <summary>Brings the files that are not there.</summary>
    /// <param name="model">The model.</param>
    /// <param name="commit">The commit.</param>
    /// <param name="files">The files.</param>
    /// <param name="cancellationToken">Ends it; what has arrived is kept, and the next download goes on from there.</param>
    /// <exception cref="QuantBuildException">QB1003, QB1004: the cache cannot be written. QB1040 to QB1041, QB2030 to QB2032.</exception>
    public async Task RunAsync(HubModel model, string commit, IReadOnlyList<HubFile> files, CancellationToken cancellationToken)
    {
        HubFile[] missing = [.. files.Where(file => !IsThere(Path.Combine(cache.Snapshot(model, commit), file.Name), file))];
        if (missing.Length == 0) return;
        Stopwatch clock = Stopwatch.StartNew();
        long bytes = missing.Sum(file => file.Bytes);
        long before = missing.Sum(file => Math.Min(file.Bytes, Arrived(model, file)));
        CheckSpace(bytes - before);
        done = before;
        TransferReport progress = new(report, $"downloading {model.Id}", bytes, before, BetweenReports);
        try
        {
            await Parallel.ForEachAsync(
                missing,
                new ParallelOptions { MaxDegreeOfParallelism = FilesAtOnce, CancellationToken = cancellationToken },
                async (file, token) => await BringAsync(model, commit, file, progress, token).ConfigureAwait(false)).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw NotWritable(e);
        }

        report(new WorkerMessage
        {
            Kind = WorkerMessageKind.Information,
            Text = string.Create(
                CultureInfo.InvariantCulture,
                $"downloaded {(missing.Length == 1 ? missing[0].Name : $"{missing.Length} files")} of {model.Id}, {(bytes - before) / 1e6:N1} MB in {clock.Elapsed.TotalSeconds:F1} s"),
        });
    }

    /// <summary>The error of a cache that cannot be written: QB1003 where its disk is full, else QB1004.</summary>
    public QuantBuildException NotWritable(Exception cause) => WriteFailure.IsDiskFull(cause)
        ? new(
            DiagnosticIds.DiskFull,
            $"The cache of the hub's models {cache.Root} cannot be written: the disk is full. What has arrived is kept. Make room, or set {HubCache.HomeVariable} to a folder on a disk that has some.", cause)
        : new(
            DiagnosticIds.NotWritable,
            $"The cache of the hub's models {cache.Root} cannot be written: {cause.Message} Allow writing there, or set {HubCache.HomeVariable} to a folder that can be written.", cause);

    /// <summary>Asks the hub again where that may help.</summary>
    /// <param name="model">What it is asked about.</param>
    /// <param name="ask">Asks it.</param>
    /// <param name="hasMoved">Whether an attempt that failed brought something: then there is less to do for the next.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="QuantBuildException">QB1040 or QB1041: it has not helped.</exception>
    public async Task<T> RepeatAsync<T>(HubModel model, Func<Task<T>> ask, Func<bool> hasMoved, CancellationToken cancellationToken)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return await ask().ConfigureAwait(false);
            }
            catch (HubTransferException e)
            {
                if (hasMoved()) attempt = 1;
                TimeSpan wait = e.Wait is { } asked && asked > TimeSpan.Zero ? asked : TimeSpan.FromSeconds(0.125 * Math.Pow(2, attempt));
                if (attempt >= Attempts || wait > LongestWait) throw GivesUp(model, e, attempt);
                if (wait > TimeSpan.FromSeconds(5)) Inform($"{e.Message}; asking again in {wait.TotalSeconds:F0} s");
                await Task.Delay(wait, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private static QuantBuildException GivesUp(HubModel model, HubTransferException cause, int attempts)
    {
        string asked = attempts == 1 ? "" : $" (asked {attempts} times)";
        if (!cause.IsRateLimit)
        {
            return new QuantBuildException(
                DiagnosticIds.HubUnreachable,
                $"{model.Id} could not be downloaded: {cause.Message}{asked}. What has arrived is kept. Build again when the hub can be reached; behind a proxy set HTTPS_PROXY, " +
                $"for a mirror {HubEndpoint.EndpointVariable}.",
                cause);
        }

        string after = cause.Wait is { } wait && wait > TimeSpan.Zero ? $"in {Math.Ceiling(wait.TotalMinutes):F0} min" : "later";
        return new QuantBuildException(
            DiagnosticIds.HubRateLimited,
            $"The hub has had too many requests from here, and gives nothing of {model.Id} now: {cause.Message}{asked}. Build again {after}; with {HubEndpoint.TokenVariable} set to a token, the hub allows more.",
            cause);
    }

    private async Task BringAsync(HubModel model, string commit, HubFile file, TransferReport progress, CancellationToken cancellationToken)
    {
        string blob = cache.Blob(model, file.ETag), link = Path.Combine(cache.Snapshot(model, commit), file.Name);
        Directory.CreateDirectory(Path.GetDirectoryName(blob)!);
        Directory.CreateDirectory(Path.GetDirectoryName(link)!);
        using IDisposable held = FileLock.Take(cache.BlobLock(model, file.ETag), () => Inform($"another process downloads {file.Name} of {model.Id}; waiting for that"), cancellationToken);
        if (IsThere(link, file)) return;
        if (!IsThere(blob, file))
        {
            string arriving = blob + ".incomplete";
            for (bool resumes = Arrived(model, file) > 0; ; resumes = false)
            {
                await FetchAsync(model, commit, file, arriving, progress, cancellationToken).ConfigureAwait(false);
                if (HashOf(arriving, file) is var actual && actual == file.ETag) break;
                Interlocked.Add(ref done, -file.Bytes);
                File.Delete(arriving);
                // What was there before may have been damaged by whoever was ended while writing it.
                if (resumes) continue;
                throw new QuantBuildException(
                    DiagnosticIds.HubFileMismatch,
                    $"{file.Name} of {model.Id} at {commit} arrived with the {(file.Sha256 is null ? "git hash" : "SHA-256")} {actual}, and the hub's list says {file.ETag}. It is not used. " +
                    "Build again; if it happens again, what stands between (a mirror, a proxy) changes files.");
            }

            File.Move(arriving, blob, overwrite: true);
        }

        Link(blob, link);
    }

    /// <summary>Brings the bytes of a file that are not there yet.</summary>
    private Task<bool> FetchAsync(HubModel model, string commit, HubFile file, string arriving, TransferReport progress, CancellationToken cancellationToken)
    {
        long start = 0, end = 0;
        return RepeatAsync(
            model,
            async () =>
            {
                await using FileStream target = new(arriving, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, 1 << 20);
                try
                {
                    // Longer than it should be: another file's rest.
                    if (target.Length > file.Bytes) Cut(target, 0);
                    start = target.Length;
                    if (start == file.Bytes) return true;
                    (HttpResponseMessage response, long offset) = await client.OpenAsync(model, commit, file, start, cancellationToken).ConfigureAwait(false);
                    using (response)
                    {
                        if (offset < start) Cut(target, offset);
                        target.Position = target.Length;
                        await using Stream content = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
                        byte[] buffer = new byte[1 << 18];
                        while (await HubClient.ReadAsync(content, buffer, cancellationToken).ConfigureAwait(false) is > 0 and int read)
                        {
                            if (target.Position + read > file.Bytes) throw TooLong(model, commit, file, target);
                            await target.WriteAsync(buffer.AsMemory(0, read), cancellationToken).ConfigureAwait(false);
                            progress.Show(Interlocked.Add(ref done, read));
                        }
                    }

                    if (target.Length < file.Bytes) throw new HubTransferException($"{file.Name} ends after {target.Length} of {file.Bytes} bytes");
                    return true;
                }
                finally
                {
                    end = target.Length;
                }
            },
            () => end > start,
            cancellationToken);
    }

    private void Cut(FileStream target, long length)
    {
        Interlocked.Add(ref done, length - target.Length);
        target.SetLength(length);
    }

    private QuantBuildException TooLong(HubModel model, string commit, HubFile file, FileStream target)
    {
        Cut(target, 0);
        return new QuantBuildException(
            DiagnosticIds.HubFileMismatch,
            $"{file.Name} of {model.Id} at {commit} has more than the {file.Bytes} bytes that the hub's list says. It is not used. Build again; if it happens again, what stands between (a mirror, a proxy) changes files.");
    }

    /// <summary>Whether a file of the cache has the content that belongs there. Large ones are hashed once.</summary>
    private bool IsThere(string path, HubFile file)
    {
        if (!File.Exists(path)) return false;
        try
        {
            // Asked of the open file: the length of a link is its own.
            using (FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete))
            {
                if (stream.Length != file.Bytes) return false;
            }

            return HashOf(path, file) == file.ETag;
        }
        catch (IOException)
        {
            // A link to what is gone.
            return false;
        }
    }

    private string HashOf(string path, HubFile file)
    {
        if (file.Sha256 is not null) return new FileHash(own.HashFolder).Compute(path);
        // Files that git keeps itself are small.
        byte[] content = File.ReadAllBytes(path);
#pragma warning disable CA5350 // It is git's hash, whatever one thinks of it.
        return Convert.ToHexStringLower(SHA1.HashData([.. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {content.Length}\0")), .. content]));
#pragma warning restore CA5350
    }

    private long Arrived(HubModel model, HubFile file)
    {
        FileInfo arriving = new(cache.Blob(model, file.ETag) + ".incomplete");
        return arriving.Exists ? arriving.Length : 0;
    }

    // As huggingface_hub does: where the system has no links, or has them for administrators alone, the file itself stands in the snapshot.
    private static void Link(string blob, string link)
    {
        File.Delete(link);
        try
        {
            File.CreateSymbolicLink(link, Path.GetRelativePath(Path.GetDirectoryName(link)!, blob));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or PlatformNotSupportedException)
        {
            File.Move(blob, link);
        }
    }

    private void CheckSpace(long bytes)
    {
        try
        {
            Directory.CreateDirectory(cache.Root);
            long free = new DriveInfo(cache.Root).AvailableFreeSpace;
            if (free >= bytes) return;
            throw new QuantBuildException(
                DiagnosticIds.DiskFull,
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The download needs {bytes / 1e6:N0} MB, and the disk of {cache.Root} has {free / 1e6:N0} MB free. Make room, or set {HubCache.HomeVariable} to a folder on a disk that has some."));
        }
        catch (Exception e) when (e is ArgumentException or DriveNotFoundException)
        {
            // A share has no such figure: it shows when it is full.
        }
    }

    private void Inform(string text) => report(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = text });
}
