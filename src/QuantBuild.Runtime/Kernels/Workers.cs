using System.Runtime.ExceptionServices;

namespace QuantBuild.Kernels;

/// <summary>Work that is done in parts, by several threads.</summary>
internal interface IParallelWork
{
    /// <summary>Does the items from <paramref name="from"/> to before <paramref name="to"/>.</summary>
    void Run(int from, int to);
}

/// <summary>
/// Threads that share the work of a forward pass. One calls <see cref="For"/> and works with the others; in a pass there are hundreds of such calls, a few
/// microseconds apart, so between them the others watch for the next one before they sleep. They are background threads of their own: the program's thread pool is not touched.
/// </summary>
/// <remarks>Results do not depend on the number of threads: a part decides which outputs are computed, never how.</remarks>
/// <param name="threads">How many threads work, the caller included.</param>
internal sealed class Workers(int threads) : IDisposable
{
    // Parts for each thread: one that the system takes away for a moment is waited for by no more than a part.
    private const int PartsPerThread = 8;

    // Some 60 microseconds of watching: more than passes between two calls of a forward pass, less than anyone notices.
    private const int WatchRounds = 200;

    // A ticket is the number of a call (24 bits), of its parts (20), and of the next part to be taken (20): one addition takes a part, and one that is taken too late, after the
    // call has ended, can be told from the parts of the next call.
    private const int IndexBits = 20;
    private const int EpochShift = 2 * IndexBits;
    private const long IndexMask = (1L << IndexBits) - 1;

    private readonly SemaphoreSlim wake = new(0);
    private long ticket;
    private int sleeping;
    private int finished;
    private int started;
    private volatile bool disposed;
    private IParallelWork work = null!;
    private int count;
    private int partItems;
    private ExceptionDispatchInfo? failure;

    /// <summary>How many threads work.</summary>
    public int Threads { get; } = threads;

    /// <summary>Does <paramref name="items"/> items. Only one thread at a time may call.</summary>
    /// <param name="items">How many items there are.</param>
    /// <param name="granularity">Parts begin at multiples of this.</param>
    /// <param name="body">Does a part.</param>
    public void For(int items, int granularity, IParallelWork body)
    {
        int units = (items + granularity - 1) / granularity;
        if (Threads == 1 || units <= 1)
        {
            if (items > 0) body.Run(0, items);
            return;
        }

        if (started == 0) Start();
        int parts = Math.Min(units, Threads * PartsPerThread);
        (work, count, partItems) = (body, items, (units + parts - 1) / parts * granularity);
        parts = (items + partItems - 1) / partItems;
        finished = 0;
        long epoch = (Volatile.Read(ref ticket) >> EpochShift) + 1;
        // Publishes everything above.
        Interlocked.Exchange(ref ticket, (epoch << EpochShift) | ((long)parts << IndexBits));
        int asleep = Volatile.Read(ref sleeping);
        if (asleep > 0) wake.Release(Math.Min(asleep, parts - 1));
        TakeParts();
        SpinWait spin = default;
        for (int round = 0; Volatile.Read(ref finished) < parts; round++)
        {
            if (round < WatchRounds) Thread.SpinWait(10);
            // Never asleep for a millisecond: the others are at their last part.
            else spin.SpinOnce(sleep1Threshold: -1);
        }

        if (failure is null) return;
        ExceptionDispatchInfo thrown = failure;
        failure = null;
        thrown.Throw();
    }

    /// <summary>Ends the threads. Nobody may be in <see cref="For"/>.</summary>
    public void Dispose()
    {
        disposed = true;
        if (started > 0) wake.Release(started);
    }

    private void Start()
    {
        started = Threads - 1;
        for (int i = 0; i < started; i++) new Thread(Work) { IsBackground = true, Name = "QuantBuild kernels" }.Start();
    }

    private void TakeParts()
    {
        while (true)
        {
            long taken = Interlocked.Increment(ref ticket) - 1;
            int index = (int)(taken & IndexMask), parts = (int)((taken >> IndexBits) & IndexMask);
            if (index >= parts) return;
            // A part that is not finished keeps its call, and so these fields, as they are.
            try
            {
                work.Run(index * partItems, Math.Min(count, (index + 1) * partItems));
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }

            Interlocked.Increment(ref finished);
        }
    }

    private void Work()
    {
        long seen = 0;
        while (!disposed)
        {
            for (int round = 0; Volatile.Read(ref ticket) >> EpochShift == seen && round < WatchRounds; round++) Thread.SpinWait(10);
            if (Volatile.Read(ref ticket) >> EpochShift == seen)
            {
                Interlocked.Increment(ref sleeping);
                // A call may have come before it was known that this thread sleeps: then it does not.
                if (Volatile.Read(ref ticket) >> EpochShift == seen && !disposed) wake.Wait();
                Interlocked.Decrement(ref sleeping);
                // Calls that came before it was known that this thread is awake have released it again; one that was meant for another only delays that one to the next call.
                while (wake.Wait(0))
                {
                }

                continue;
            }

            seen = Volatile.Read(ref ticket) >> EpochShift;
            TakeParts();
        }
    }
}
