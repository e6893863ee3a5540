using QuantBuild.Decoding;
using QuantBuild.Generation;

namespace QuantBuild;

/// <summary>
/// A text that goes on from turn to turn: what was computed of it stays in memory, and a turn costs only what it adds. It is for one caller at a time; different sessions of a model run at once.
/// </summary>
public sealed class TextSession : IDisposable
{
    private readonly LanguageModel model;
    private readonly TextState state;
    private int busy;
    private bool disposed;

    internal TextSession(LanguageModel model, TextState state) => (this.model, this.state) = (model, state);

    /// <summary>Tokens so far: those that were added, and those that were generated, a stop string and a token that ended a turn included.</summary>
    public int TokenCount => state.Tokens.Count;

    /// <summary>Adds text without continuing it; it is computed with the next turn.</summary>
    /// <param name="text">The text; special tokens in it are recognized.</param>
    /// <exception cref="QuantBuildException">QB4005: it does not fit the context.</exception>
    public void Append(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        using Turn turn = new(this);
        model.Extend(state.Tokens, text, ContextOverflow.Stop);
    }

    /// <summary>Adds text and continues it.</summary>
    /// <param name="text">The text to add; may be empty.</param>
    /// <param name="options">How to continue.</param>
    /// <param name="cancellationToken">Ends the generation within a token; what was generated stays.</param>
    /// <returns>The continuation.</returns>
    /// <exception cref="QuantBuildException">As for <see cref="LanguageModel.Generate"/>.</exception>
    public string Generate(string text, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        using Turn turn = new(this);
        return model.Continue(state, text, options, cancellationToken).Text;
    }

    /// <summary>Adds text and continues it, with an account of how it came about. Parameters and errors are those of <see cref="Generate"/>.</summary>
    public async Task<GenerationResult> CompleteAsync(string text, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        using Turn turn = new(this);
        return await model.ContinueAsync(state, text, options, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Adds text and continues it, piece by piece. Parameters and errors are those of <see cref="Generate"/>.</summary>
    public async IAsyncEnumerable<string> StreamAsync(
        string text, GenerationOptions? options = null, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        using Turn turn = new(this);
        await foreach (GenerationUpdate update in model.ContinueUpdatesAsync(state, text, options, cancellationToken).ConfigureAwait(false))
        {
            if (update.Text.Length > 0) yield return update.Text;
        }
    }

    /// <summary>A session of its own with the same text so far. Nothing is computed again, and no memory is taken for what both have in common.</summary>
    public TextSession Fork()
    {
        using Turn turn = new(this);
        return new TextSession(model, new TextState([.. state.Tokens], state.Cache.Fork(state.Cache.Length)));
    }

    /// <summary>Writes the session, so that <see cref="LanguageModel.LoadSession"/> can go on with it without computing it again.</summary>
    /// <param name="stream">Receives it: the tokens, and the memory of their keys and values.</param>
    public void Save(Stream stream)
    {
        ArgumentNullException.ThrowIfNull(stream);
        using Turn turn = new(this);
        model.SaveSession(stream, state);
    }

    /// <summary>Releases the memory.</summary>
    /// <exception cref="InvalidOperationException">A turn is running: it is to be ended first.</exception>
    public void Dispose()
    {
        if (disposed) return;
        using Turn turn = new(this);
        disposed = true;
        state.Cache.Dispose();
    }

    /// <summary>A turn, of which there is one at a time.</summary>
    private readonly struct Turn : IDisposable
    {
        private readonly TextSession session;

        public Turn(TextSession session)
        {
            if (Interlocked.Exchange(ref session.busy, 1) != 0)
            {
                throw new InvalidOperationException("The session is in a turn already. Wait for its end, or fork the session first.");
            }

            this.session = session;
            if (!session.disposed) return;
            Dispose();
            throw new ObjectDisposedException(nameof(TextSession));
        }

        public void Dispose() => Volatile.Write(ref session.busy, 0);
    }
}
