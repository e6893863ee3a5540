using QuantBuild.Decoding;

namespace QuantBuild.Generation;

/// <summary>
/// Computes all texts of a model that are being generated, step by step: each step is one pass over the weights with the next token of every text and, as far as there is
/// room, parts of new prompts. Texts join and leave between steps.
/// </summary>
/// <remarks>Texts are taken in the order in which they came. Each one that has its prompt behind it gets a token in every step, whatever the others do.</remarks>
internal sealed class BatchLoop(Decoder decoder, int mostTexts, int mostWaiting) : IDisposable
{
    // How long a reader that fell behind is left alone.
    private static readonly TimeSpan Behind = TimeSpan.FromMilliseconds(2);

    private readonly Lock guard = new();
    private readonly Queue<TextRun> waiting = new();
    private readonly SemaphoreSlim signal = new(0);
    private readonly List<TextRun> running = [];
    private readonly List<(TextRun Run, BatchPart Part)> step = [];
    private Thread? thread;
    private int runningTexts;
    private bool disposed;

    /// <summary>Begins to compute a text.</summary>
    /// <exception cref="QuantBuildException">QB4010: too many are waiting.</exception>
    /// <exception cref="ObjectDisposedException">The loop has ended.</exception>
    public void Add(TextRun run)
    {
        lock (guard)
        {
            ObjectDisposedException.ThrowIf(disposed, typeof(LanguageModel));
            if ((long)runningTexts + waiting.Count >= (long)mostTexts + mostWaiting)
            {
                throw new QuantBuildException(
                    DiagnosticIds.QueueFull,
                    $"{mostTexts} texts are computed and {mostWaiting} wait for the model already, as many as LoadOptions.MaxConcurrentTexts and MaxWaitingTexts allow. " +
                    "Try again later, tell whoever asks to, or allow more.");
            }

            waiting.Enqueue(run);
            if (thread is null)
            {
                thread = new Thread(Loop) { IsBackground = true, Name = "QuantBuild texts" };
                thread.Start();
            }
        }

        signal.Release();
    }

    /// <summary>Ends the loop once its texts are done; nobody adds any more.</summary>
    public void Dispose()
    {
        lock (guard)
        {
            if (disposed) return;
            disposed = true;
        }

        signal.Release();
        if (thread != Thread.CurrentThread) thread?.Join();
    }

    private void Loop()
    {
        while (true)
        {
            lock (guard)
            {
                RemoveCancelled();
                while (running.Count < mostTexts && waiting.Count > 0) running.Add(waiting.Dequeue());
                runningTexts = running.Count;
                if (running.Count == 0 && disposed) return;
            }

            if (running.Count == 0) signal.Wait();
            else if (!Step()) signal.Wait(Behind);
        }
    }

    /// <summary>Whoever waits in vain need not wait for the end of the queue.</summary>
    private void RemoveCancelled()
    {
        if (!waiting.Any(run => run.CancellationToken.IsCancellationRequested)) return;
        for (int i = waiting.Count; i > 0; i--)
        {
            TextRun run = waiting.Dequeue();
            if (run.CancellationToken.IsCancellationRequested) run.Fail(new OperationCanceledException(run.CancellationToken));
            else waiting.Enqueue(run);
        }
    }

    /// <summary>One pass; whether there was anything to compute.</summary>
    private bool Step()
    {
        step.Clear();
        int room = decoder.LargestBatch, texts = running.Count(run => run.Pending == 1);
        // Texts first, each with room for a token of every other; prompts with the room that they leave.
        foreach (TextRun run in running.OrderBy(run => run.Pending > 1))
        {
            if (run.Pending == 1) texts--;
            if (room == 0) break;
            // One that was cancelled is ended, though nobody reads what it has.
            if (run.IsAhead() && !run.CancellationToken.IsCancellationRequested) continue;
            try
            {
                run.CancellationToken.ThrowIfCancellationRequested();
                BatchPart part = run.Next(room - texts);
                step.Add((run, part));
                room -= part.Tokens.Length;
            }
            catch (Exception e)
            {
                run.Fail(e);
            }
        }

        if (step.Count > 0) Compute(step);
        running.RemoveAll(run => run.IsFinished);
        lock (guard) runningTexts = running.Count;
        return step.Count > 0;
    }

    private void Compute(List<(TextRun Run, BatchPart Part)> texts)
    {
        try
        {
            // A pass with many texts is not ended for the sake of one.
            decoder.Forward([.. texts.Select(item => item.Part)], texts.Count == 1 ? texts[0].Run.CancellationToken : CancellationToken.None);
        }
        catch (QuantBuildException e) when (e.Id == DiagnosticIds.GpuMemoryFull && texts.Count > 1)
        {
            // There may be room for some of them: each that finds none ends, and frees what it has for the next.
            foreach ((TextRun Run, BatchPart Part) text in texts) Compute([text]);
            return;
        }
        catch (Exception e)
        {
            foreach ((TextRun run, _) in texts) run.Fail(e);
            return;
        }

        foreach ((TextRun run, BatchPart part) in texts)
        {
            try
            {
                run.Take(part);
            }
            catch (Exception e)
            {
                run.Fail(e);
            }
        }
    }
}
