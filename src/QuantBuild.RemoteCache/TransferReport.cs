using System.Diagnostics;
using System.Globalization;

namespace QuantBuild;

/// <summary>Says now and then how far a transfer is, how fast it goes, and how long it will take.</summary>
/// <param name="report">Receives it.</param>
/// <param name="verb">What is being done, such as <c>fetching</c>.</param>
/// <param name="bytes">How much there is.</param>
/// <param name="before">How much was there when it began.</param>
/// <param name="interval">How often to say it.</param>
internal sealed class TransferReport(Action<WorkerMessage> report, string verb, long bytes, long before, TimeSpan interval)
{
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private TimeSpan last;

    /// <summary>Says it, if it is time.</summary>
    /// <param name="done">How much is there now.</param>
    public void Show(long done)
    {
        TimeSpan now = clock.Elapsed;
        if (now - last < interval || done <= before) return;
        last = now;
        double rate = (done - before) / now.TotalSeconds;
        report(new WorkerMessage
        {
            Kind = WorkerMessageKind.Progress,
            Text = string.Create(CultureInfo.InvariantCulture, $"{verb} {done / 1e6:N0} of {bytes / 1e6:N0} MB, {rate / 1e6:F1} MB/s"),
            Fraction = (double)done / bytes,
            SecondsLeft = (bytes - done) / rate,
        });
    }
}

/// <summary>A file that is read to be sent elsewhere, and says how far that is.</summary>
/// <param name="file">The file.</param>
/// <param name="progress">Is told.</param>
internal sealed class ReadProgress(FileStream file, TransferReport progress) : Stream
{
    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanSeek => true;

    /// <inheritdoc/>
    public override bool CanWrite => false;

    /// <inheritdoc/>
    public override long Length => file.Length;

    /// <inheritdoc/>
    public override long Position { get => file.Position; set => file.Position = value; }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => Shown(file.Read(buffer, offset, count));

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        Shown(await file.ReadAsync(buffer, cancellationToken).ConfigureAwait(false));

    /// <inheritdoc/>
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => file.Seek(offset, origin);

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    private int Shown(int read)
    {
        progress.Show(file.Position);
        return read;
    }
}
