using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Threading.Channels;
using QuantBuild.Decoding;
using QuantBuild.Generation;

namespace QuantBuild;

// How texts run: what all ways of generating come down to, with a session and without.
public sealed partial class LanguageModel
{
    /// <summary>Continues a text, on a caller who waits: no thread of the program's pool is needed to go on.</summary>
    internal GenerationResult Continue(TextState? session, string text, GenerationOptions? options, CancellationToken cancellationToken)
    {
        Enter();
        try
        {
            int before = session?.Tokens.Count ?? 0;
            TextRun run = Begin(session, text, options, updated: null, isAhead: null, cancellationToken);
            try
            {
                Add(run, session, before);
                return run.Result.GetAwaiter().GetResult();
            }
            finally
            {
                End(run, session);
            }
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Continues a text.</summary>
    /// <param name="session">The text so far, to be added to; <see langword="null"/> is a text of its own.</param>
    /// <param name="text">What is added first.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellationToken">Ends it.</param>
    internal async Task<GenerationResult> ContinueAsync(TextState? session, string text, GenerationOptions? options, CancellationToken cancellationToken)
    {
        Enter();
        try
        {
            int before = session?.Tokens.Count ?? 0;
            TextRun run = Begin(session, text, options, updated: null, isAhead: null, cancellationToken);
            try
            {
                Add(run, session, before);
                return await run.Result.ConfigureAwait(false);
            }
            finally
            {
                End(run, session);
            }
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>The same, token by token.</summary>
    internal async IAsyncEnumerable<GenerationUpdate> ContinueUpdatesAsync(
        TextState? session, string text, GenerationOptions? options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Enter();
        try
        {
            // A reader that stops reading ends the text.
            using CancellationTokenSource reading = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            Channel<GenerationUpdate> updates = Channel.CreateUnbounded<GenerationUpdate>();
            int before = session?.Tokens.Count ?? 0;
            TextRun run = Begin(
                session, text, options, updated: update => updates.Writer.TryWrite(update), isAhead: () => updates.Reader.Count >= UpdatesAhead, reading.Token);
            try
            {
                Add(run, session, before);
                _ = run.Result.ContinueWith(_ => updates.Writer.TryComplete(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
                await foreach (GenerationUpdate update in updates.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    yield return update;
                }

                cancellationToken.ThrowIfCancellationRequested();
                await run.Result.ConfigureAwait(false);
            }
            finally
            {
                await reading.CancelAsync().ConfigureAwait(false);
                await ((Task)run.Result).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                End(run, session);
            }
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Pages of keys and values that texts, sessions and the memory of earlier prompts hold.</summary>
    internal int PagesInUse => pages.InUse;

    /// <summary>An empty cache for a text.</summary>
    internal KvCache CreateCache() => new(pages);

    internal void SaveSession(Stream stream, TextState state) => SessionFile.Write(stream, Manifest.Fingerprint, pages, Config.HasLongFactors(ContextLength), state);

    /// <summary>One pass, for the sake of the time that it takes.</summary>
    internal void Forward(IReadOnlyList<BatchPart> parts) => decoder.Forward(parts, CancellationToken.None);

    /// <summary>Takes the next tokens of a text; logits of the last.</summary>
    internal void Feed(KvCache cache, ReadOnlyMemory<int> tokens, Memory<float> logits, CancellationToken cancellationToken)
    {
        for (int done = 0; done < tokens.Length; done += decoder.LargestBatch)
        {
            ReadOnlyMemory<int> next = tokens.Slice(done, Math.Min(decoder.LargestBatch, tokens.Length - done));
            decoder.Forward([new BatchPart(cache, next) { Logits = done + next.Length == tokens.Length ? logits : default }], cancellationToken);
        }
    }

    /// <summary>Adds the tokens of a text to those before it; a whole text needs none that begins it.</summary>
    /// <exception cref="QuantBuildException">QB4005: they do not fit the context. QB2009: the tokenizer is not this model's.</exception>
    internal void Extend(List<int> tokens, string text, ContextOverflow overflow, bool isWhole = false)
    {
        int before = tokens.Count;
        tokens.AddRange(Tokenizer.Encode(text, addSpecialTokens: before == 0 && !isWhole));
        // There is nothing to continue without a single token, and nowhere to continue in a full context.
        if (tokens.Count == 0) tokens.Add(Config.BosTokenId ?? (Config.EosTokenIds is [int end, ..] ? end : 0));
        int stranger = tokens.FindIndex(before, token => token >= Config.VocabularySize);
        QuantBuildException? error = stranger < 0 ? null : new QuantBuildException(
            DiagnosticIds.TokenizerUnsupported,
            $"{artifact.File.Path}: the tokenizer gives the token {tokens[stranger]}, but the model has only {Config.VocabularySize}. " +
            "Tokenizer and weights are not of one model: copy the model folder again and build.");
        if (tokens.Count >= ContextLength && overflow == ContextOverflow.Stop) error ??= TooLong(tokens.Count, ContextLength - 1);
        if (error is null) return;
        tokens.RemoveRange(before, tokens.Count - before);
        throw error;
    }

    private TextRun Begin(
        TextState? session, string text, GenerationOptions? options, Action<GenerationUpdate>? updated, Func<bool>? isAhead, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        options ??= new GenerationOptions();
        SamplingSettings sampling = defaults.Complete(options, Config.VocabularySize);
        HashSet<int> ends = options.StopTokens.Count == 0 ? endTokens : [.. endTokens, .. options.StopTokens];
        TextRunSettings settings = new()
        {
            Sampling = sampling,
            Tokenizer = Tokenizer,
            EndTokens = ends,
            ContextLength = ContextLength,
            VocabularySize = Config.VocabularySize,
            BeginToken = Config.BosTokenId,
            Overflow = options.ContextOverflow,
            VisibleTokens = options.VisibleTokens,
            Constraint = options.Format?.ConstraintFor(Tokenizer, ends).Start,
        };
        settings = settings with { Drafter = options.Speculation?.CreateDrafter(this) };
        List<int> tokens = session?.Tokens ?? [];
        try
        {
            Extend(tokens, text, options.ContextOverflow, options.IsPromptWhole);
        }
        catch
        {
            settings.Drafter?.Dispose();
            throw;
        }

        if (tokens.Count >= ContextLength)
        {
            int[] kept = TextRun.Shifted(tokens, settings);
            tokens.Clear();
            tokens.AddRange(kept);
            session?.Cache.Truncate(0);
        }

        // The last token, at least, is to be computed.
        session?.Cache.Truncate(tokens.Count - 1);
        TextState state = session ?? new TextState(tokens, prompts.Find(CollectionsMarshal.AsSpan(tokens), CreateCache));
        return new TextRun(settings, state, updated, cancellationToken)
        {
            IsAhead = isAhead ?? (() => false),
            PromptDone = session is null ? done => prompts.Add(done.State) : null,
        };
    }

    /// <summary>Begins to compute a text. One that is turned away leaves its session as it was.</summary>
    private void Add(TextRun run, TextState? session, int before)
    {
        try
        {
            loop.Add(run);
        }
        catch (Exception e)
        {
            run.Fail(e);
            if (session is not null && session.Tokens.Count > before) session.Tokens.RemoveRange(before, session.Tokens.Count - before);
            throw;
        }
    }

    /// <summary>Keeps what was computed, for a text that begins alike.</summary>
    private void End(TextRun run, TextState? session)
    {
        if (session is not null) return;
        if (run.Result.IsCompletedSuccessfully) prompts.Add(run.State);
        run.State.Cache.Dispose();
    }
}
