using System.Diagnostics;
using System.Globalization;

namespace QuantBuild;

/// <summary>Says now and then how far a transfer is, how fast it goes, and how long it will take. May be told by several threads.</summary>
/// <param name="report">Receives it.</param>
/// <param name="verb">What is being done, such as <c>fetching</c>.</param>
/// <param name="bytes">How much there is.</param>
/// <param name="before">How much was there when it began.</param>
/// <param name="interval">How often to say it.</param>
public sealed class TransferReport(Action<WorkerMessage> report, string verb, long bytes, long before, TimeSpan interval)
{
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly object gate = new();
    private TimeSpan last;

    /// <summary>Says it, if it is time.</summary>
    /// <param name="done">How much is there now.</param>
    public void Show(long done)
    {
        lock (gate)
        {
            TimeSpan now = clock.Elapsed;
            if (now - last < interval || done <= before) return;
            last = now;
            double rate = (done - before) / now.TotalSeconds;
            report(new WorkerMessage
            {
                Kind = WorkerMessageKind.Progress,
                Text = string.Format(CultureInfo.InvariantCulture, "{0} {1:N0} of {2:N0} MB, {3:F1} MB/s", verb, done / 1e6, bytes / 1e6, rate / 1e6),
                Fraction = (double)done / bytes,
                SecondsLeft = (bytes - done) / rate,
            });
        }
    }
}
