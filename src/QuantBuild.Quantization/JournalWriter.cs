namespace QuantBuild.Quantization;

/// <summary>Packs finished parts and writes them to the journal; on a thread of its own, where that is asked for, while the next part is worked on. One is written at a time.</summary>
/// <param name="journal">The journal.</param>
/// <param name="aside">Whether to write aside.</param>
internal sealed class JournalWriter(LayerJournal journal, bool aside) : IDisposable
{
    private Task pending = Task.CompletedTask;

    /// <summary>Writes a finished part.</summary>
    /// <exception cref="QuantBuildException">QB1003, QB1004: of this part; or, written aside, of the one before.</exception>
    public void Write(JournalPart part, FinishedLayer finished)
    {
        Wait();
        if (aside) pending = Task.Run(() => journal.Write(part, finished));
        else journal.Write(part, finished);
    }

    /// <summary>Waits until all is written.</summary>
    /// <exception cref="QuantBuildException">QB1003, QB1004.</exception>
    public void Wait() => pending.GetAwaiter().GetResult();

    /// <summary>Waits, whatever comes of it: whoever does not ask has another error.</summary>
    public void Dispose() => ((IAsyncResult)pending).AsyncWaitHandle.WaitOne();
}
