using System.Runtime.InteropServices;

namespace QuantBuild.Worker.Chat;

/// <summary>What Ctrl+C does in a conversation: the first ends the answer that is being given, or says that another one leaves; the next leaves.</summary>
internal sealed class Interrupts : IDisposable
{
    private readonly Lock gate = new();
    private readonly Action hint;
    private readonly PosixSignalRegistration interrupt;
    private readonly PosixSignalRegistration termination;
    private CancellationTokenSource? answer;
    private bool isLast;

    /// <summary>Begins to listen.</summary>
    /// <param name="hint">Says that another Ctrl+C leaves, where nothing is being answered.</param>
    public Interrupts(Action hint)
    {
        this.hint = hint;
        interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle);
        termination = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => Environment.Exit(Cancellation.ExitCode));
    }

    /// <summary>An answer begins.</summary>
    /// <returns>Cancelled by Ctrl+C; disposed of when the answer ends.</returns>
    public CancellationTokenSource BeginAnswer()
    {
        lock (gate)
        {
            isLast = false;
            return answer = new CancellationTokenSource();
        }
    }

    /// <summary>The answer has ended.</summary>
    public void EndAnswer()
    {
        lock (gate)
        {
            answer?.Dispose();
            answer = null;
            isLast = false;
        }
    }

    /// <summary>Something was typed: the next Ctrl+C is the first again.</summary>
    public void Forget()
    {
        lock (gate) isLast = false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        interrupt.Dispose();
        termination.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        context.Cancel = true;
        lock (gate)
        {
            if (isLast) Environment.Exit(Cancellation.ExitCode);
            isLast = true;
            if (answer is not null) answer.Cancel();
            else hint();
        }
    }
}
