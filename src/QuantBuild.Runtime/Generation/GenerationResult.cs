namespace QuantBuild;

/// <summary>A text that was generated, and how it came about.</summary>
/// <param name="Text">The continuation, without the prompt and without the stop string that ended it.</param>
/// <param name="FinishReason">Why it ended.</param>
/// <param name="Usage">What it took.</param>
/// <param name="LogProbabilities">
/// One entry for each token that was generated, those of a stop string and a token that ended the text included; <see langword="null"/> unless
/// <see cref="GenerationOptions.LogProbabilities"/> asked for them.
/// </param>
public sealed record GenerationResult(
    string Text, FinishReason FinishReason, GenerationUsage Usage, IReadOnlyList<TokenLogProbabilities>? LogProbabilities);

/// <summary>The tokens that a text took.</summary>
/// <param name="PromptTokens">Tokens of the prompt.</param>
/// <param name="CachedPromptTokens">How many of them were there already, computed for an earlier text with the same beginning.</param>
/// <param name="GeneratedTokens">Tokens that were generated, one that ended the text included.</param>
public sealed record GenerationUsage(int PromptTokens, int CachedPromptTokens, int GeneratedTokens)
{
    /// <summary>Tokens that were guessed, where <see cref="GenerationOptions.Speculation"/> asked for it.</summary>
    public int DraftedTokens { get; init; }

    /// <summary>How many of the guessed tokens were right.</summary>
    public int AcceptedTokens { get; init; }
}
