using QuantBuild.Generation;

namespace QuantBuild;

/// <summary>
/// Guesses the next tokens, so that the model checks several in one pass over its weights. The text is the same as without; it only comes faster where guesses are right
/// (Leviathan et al., 2023).
/// </summary>
public abstract class Speculation
{
    private protected Speculation(int maxTokens)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maxTokens, 1);
        MaxTokens = maxTokens;
    }

    /// <summary>The most tokens that are guessed at a time.</summary>
    public int MaxTokens { get; }

    /// <summary>
    /// Guesses that a text goes on as it did the last time that it had the same last tokens: for summaries, corrections, code and all else that repeats its prompt. Costs nothing.
    /// </summary>
    /// <param name="maxTokens">The most tokens that are guessed at a time.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="maxTokens"/> is below 1.</exception>
    public static Speculation PromptLookup(int maxTokens = 6) => new LookupSpeculation(maxTokens);

    /// <summary>Guesses what a smaller model says. It guesses between the passes of the large one, which other texts wait for: for one text at a time rather than for many.</summary>
    /// <param name="draft">A model with the same tokenizer. It is not disposed, and may be used for other texts meanwhile.</param>
    /// <param name="maxTokens">The most tokens that are guessed at a time.</param>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="maxTokens"/> is below 1.</exception>
    public static Speculation DraftModel(LanguageModel draft, int maxTokens = 4)
    {
        ArgumentNullException.ThrowIfNull(draft);
        return new DraftSpeculation(draft, maxTokens);
    }

    /// <summary>Who guesses for one text.</summary>
    /// <exception cref="QuantBuildException">QB4006: the draft model cannot guess for this one.</exception>
    internal abstract IDrafter CreateDrafter(LanguageModel model);

    private sealed class LookupSpeculation(int maxTokens) : Speculation(maxTokens)
    {
        internal override IDrafter CreateDrafter(LanguageModel model) => new LookupDrafter(MaxTokens);
    }

    private sealed class DraftSpeculation(LanguageModel draft, int maxTokens) : Speculation(maxTokens)
    {
        internal override IDrafter CreateDrafter(LanguageModel model)
        {
            if (draft.Config.VocabularySize == model.Config.VocabularySize && !ReferenceEquals(draft, model)) return new ModelDrafter(draft, MaxTokens);
            string reason = ReferenceEquals(draft, model)
                ? "is the model itself, expected a smaller one"
                : $"has {draft.Config.VocabularySize} tokens, expected {model.Config.VocabularySize}, those of the model that it guesses for";
            throw new QuantBuildException(
                DiagnosticIds.OptionInvalid, $"GenerationOptions.Speculation: the draft model {draft.Manifest.ModelName} {reason}. Choose a smaller model of the same family.");
        }
    }
}
