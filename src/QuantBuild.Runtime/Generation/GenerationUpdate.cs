namespace QuantBuild;

/// <summary>What came of a text with one token, or its end.</summary>
/// <param name="Text">Whole characters that are certain now; may be empty.</param>
/// <param name="LogProbabilities">Of the token, where <see cref="GenerationOptions.LogProbabilities"/> asked for them.</param>
/// <param name="Result">The whole text and why it ended; with the last update alone.</param>
public sealed record GenerationUpdate(string Text, TokenLogProbabilities? LogProbabilities, GenerationResult? Result);
