using System.Runtime.ExceptionServices;
using System.Text;
using QuantBuild.Constraints;
using QuantBuild.Decoding;

namespace QuantBuild.Generation;

/// <summary>Tokens of a text, and the keys and values of those that were computed: the last one, at least, is not yet.</summary>
/// <param name="Tokens">All tokens.</param>
/// <param name="Cache">Those from the first on.</param>
internal sealed record TextState(List<int> Tokens, KvCache Cache);

/// <summary>A text that is being generated: says what it needs of the next forward pass, and takes what that gives.</summary>
internal sealed class TextRun : ITokenChoice
{
    private readonly TextRunSettings settings;
    private readonly TextState state;
    private readonly Sampler sampler;
    private readonly TokenDecoder decoder;
    private readonly StopStrings stops;
    private readonly StringBuilder text = new();
    private readonly List<TokenLogProbabilities>? logProbabilities;
    private readonly Action<GenerationUpdate>? updated;
    private readonly TaskCompletionSource<GenerationResult> completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly int promptTokens;
    private readonly int cachedTokens;
    private ConstraintState? constraint;
    private IReadOnlyList<int> drafted = [];
    private float[] logits = [];
    private int[] likeliest = [];
    private int generated;
    private int draftedTokens;
    private int acceptedTokens;
    private FinishReason? finish;
    private TokenLogProbabilities? last;

    // The last choice: of a token, or an error.
    private TokenChoice chosen;
    private ExceptionDispatchInfo? failure;
    private string lastPiece = "";

    /// <param name="settings">How to generate.</param>
    /// <param name="state">The prompt; grows with the text.</param>
    /// <param name="updated">Hears of each token, on the thread of the loop.</param>
    /// <param name="cancellationToken">Ends the text.</param>
    public TextRun(TextRunSettings settings, TextState state, Action<GenerationUpdate>? updated, CancellationToken cancellationToken)
    {
        (this.settings, this.state, this.updated, CancellationToken) = (settings, state, updated, cancellationToken);
        promptTokens = state.Tokens.Count;
        cachedTokens = state.Cache.Length;
        sampler = new Sampler(settings.Sampling, [.. state.Tokens]);
        decoder = settings.Tokenizer.CreateDecoder(continues: true, settings.VisibleTokens);
        stops = new StopStrings(settings.Sampling.StopStrings);
        constraint = settings.Constraint;
        if (settings.Sampling.LogProbabilities is not null) logProbabilities = [];
    }

    /// <summary>The text and why it ended.</summary>
    public Task<GenerationResult> Result => completion.Task;

    public CancellationToken CancellationToken { get; }

    public TextState State => state;

    /// <summary>Whether nothing more is to be computed.</summary>
    public bool IsFinished { get; private set; }

    /// <summary>Tokens that were not computed yet.</summary>
    public int Pending => state.Tokens.Count - state.Cache.Length;

    /// <summary>Whether whoever reads the text is far behind: then it waits.</summary>
    public Func<bool> IsAhead { get; init; } = () => false;

    /// <summary>Called once the prompt is computed.</summary>
    public Action<TextRun>? PromptDone { get; set; }

    /// <summary>What the next pass is to compute of this text.</summary>
    /// <param name="room">The most tokens.</param>
    public BatchPart Next(int room)
    {
        int first = state.Cache.Length;
        if (Pending > room) return new BatchPart(state.Cache, state.Tokens.GetRange(first, room).ToArray());
        int most = Math.Min(room - Pending, Math.Min(settings.Sampling.MaxTokens - generated, settings.ContextLength - state.Tokens.Count) - 1);
        drafted = settings.Drafter is { } drafter && most > 0 ? drafter.Draft(state.Tokens, most, CancellationToken) : [];
        draftedTokens += drafted.Count;
        int rows = drafted.Count + 1, wanted = rows * settings.VocabularySize;
        int[] tokens = [.. state.Tokens.Skip(first), .. drafted];
        if (constraint is null && settings.Sampling.IsPlain)
        {
            if (likeliest.Length < rows) likeliest = new int[rows];
            return new BatchPart(state.Cache, tokens) { Likeliest = likeliest.AsMemory(0, rows) };
        }

        if (drafted.Count == 0) return new BatchPart(state.Cache, tokens) { Choice = this };
        // What comes behind a guess is chosen once it is known that the guess was right.
        if (logits.Length < wanted) logits = new float[wanted];
        return new BatchPart(state.Cache, tokens) { Logits = logits.AsMemory(0, wanted) };
    }

    /// <summary>Takes the result of the pass.</summary>
    public void Take(BatchPart part)
    {
        if (part.Logits.IsEmpty && part.Likeliest.IsEmpty && part.Choice is null) return;
        if (PromptDone is { } done)
        {
            PromptDone = null;
            done(this);
        }

        try
        {
            for (int row = 0; row <= drafted.Count && finish is null; row++)
            {
                if (part.Choice is null) chosen = part.Likeliest.IsEmpty ? Choose(logits.AsSpan(row * settings.VocabularySize, settings.VocabularySize)) : new TokenChoice(part.Likeliest.Span[row], null);
                failure?.Throw();
                if (finish is not null) break;
                int token = Take(chosen);
                if (row == drafted.Count || drafted[row] != token) break;
                acceptedTokens++;
            }
        }
        finally
        {
            // The last token is computed with the next pass; behind it are guesses that were wrong.
            state.Cache.Truncate(state.Tokens.Count - 1);
        }

        // Last of all: from here on the text is whoever's waits for it.
        if (finish is { } reason) Complete(reason);
        else if (state.Tokens.Count >= settings.ContextLength) Shift();
    }

    /// <summary>Ends the text with an error.</summary>
    public void Fail(Exception error)
    {
        End();
        if (error is OperationCanceledException canceled) completion.TrySetCanceled(canceled.CancellationToken);
        else completion.TrySetException(error);
        // Whoever waits for the text hears of it; perhaps nobody does any more.
        _ = completion.Task.Exception;
    }

    LogitChanges? ITokenChoice.Changes()
    {
        try
        {
            return sampler.TakesLists && IsAnyAllowed(out TokenMask? mask) ? sampler.Changes(mask) : null;
        }
        catch (Exception e)
        {
            // Of this text, and not of those beside it.
            failure = ExceptionDispatchInfo.Capture(e);
            return null;
        }
    }

    bool ITokenChoice.TryChoose(in LargestLogits largest) => sampler.TryChoose(largest, out chosen);

    void ITokenChoice.Choose(Span<float> row, bool isChanged)
    {
        if (finish is not null || failure is not null) return;
        try
        {
            chosen = isChanged ? sampler.ChooseChanged(row) : Choose(row);
        }
        catch (Exception e)
        {
            failure = ExceptionDispatchInfo.Capture(e);
        }
    }

    private TokenChoice Choose(Span<float> row)
    {
        if (!IsAnyAllowed(out TokenMask? mask)) return default;
        mask?.Apply(row);
        return sampler.Choose(row);
    }

    /// <summary>Finds out which tokens may come next; where none may, the text ends.</summary>
    private bool IsAnyAllowed(out TokenMask? mask)
    {
        int left = settings.Sampling.MaxTokens - generated;
        mask = constraint?.Allowed(settings.Overflow == ContextOverflow.Stop ? Math.Min(left, settings.ContextLength - state.Tokens.Count) : left);
        if (mask is not { Count: 0 }) return true;
        finish = FinishReason.EndOfText;
        return false;
    }

    private int Take(TokenChoice choice)
    {
        int token = choice.Token;
        sampler.Accept(token);
        state.Tokens.Add(token);
        generated++;
        if (choice.LogProbabilities is { } reported) logProbabilities!.Add(reported);
        if (settings.EndTokens.Contains(token))
        {
            finish = FinishReason.EndOfText;
            last = choice.LogProbabilities;
            return token;
        }

        constraint = constraint?.Advance(token);
        string piece = stops.Append(decoder.Append(token));
        text.Append(piece);
        finish = stops.Found ? FinishReason.StopString
            : constraint is { MustEnd: true } ? FinishReason.EndOfText
            : generated >= settings.Sampling.MaxTokens ? FinishReason.MaxTokens
            : state.Tokens.Count >= settings.ContextLength && settings.Overflow == ContextOverflow.Stop ? FinishReason.ContextFull
            : null;
        if (finish is null) updated?.Invoke(new GenerationUpdate(piece, choice.LogProbabilities, null));
        else (last, lastPiece) = (choice.LogProbabilities, piece);
        return token;
    }

    private void Complete(FinishReason reason)
    {
        string rest = stops.Append(decoder.Finish()) + stops.Finish();
        text.Append(rest);
        GenerationUsage usage = new(promptTokens, cachedTokens, generated) { DraftedTokens = draftedTokens, AcceptedTokens = acceptedTokens };
        GenerationResult result = new(text.ToString(), reason, usage, logProbabilities);
        End();
        updated?.Invoke(new GenerationUpdate(lastPiece + rest, last, result));
        completion.TrySetResult(result);
    }

    private void End()
    {
        IsFinished = true;
        settings.Drafter?.Dispose();
    }

    /// <summary>Forgets the oldest tokens; what stays is computed anew, at its new places.</summary>
    private void Shift()
    {
        int[] kept = Shifted(state.Tokens, settings);
        state.Tokens.Clear();
        state.Tokens.AddRange(kept);
        state.Cache.Truncate(0);
    }

    /// <summary>The token that begins texts, where the text has it, and the last half of the context.</summary>
    public static int[] Shifted(List<int> tokens, TextRunSettings settings)
    {
        int beginning = settings.BeginToken == tokens[0] ? 1 : 0;
        return [.. tokens.Take(beginning), .. tokens.TakeLast(Math.Max(1, (settings.ContextLength / 2) - beginning))];
    }
}

/// <summary>How a text is generated.</summary>
internal sealed record TextRunSettings
{
    public required SamplingSettings Sampling { get; init; }

    public required TextTokenizer Tokenizer { get; init; }

    public required IReadOnlySet<int> EndTokens { get; init; }

    public required int ContextLength { get; init; }

    public required int VocabularySize { get; init; }

    /// <summary>The token that begins texts, where the model has one.</summary>
    public required int? BeginToken { get; init; }

    public required ContextOverflow Overflow { get; init; }

    /// <summary>Special tokens that are text all the same.</summary>
    public IReadOnlyCollection<int> VisibleTokens { get; init; } = [];

    /// <summary>What the text must look like.</summary>
    public ConstraintState? Constraint { get; init; }

    /// <summary>Guesses tokens, for this text alone.</summary>
    public IDrafter? Drafter { get; init; }
}
