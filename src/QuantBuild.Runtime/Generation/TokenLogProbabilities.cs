namespace QuantBuild;

/// <summary>
/// A generated token's log-probability beside those of the likeliest tokens in its place: the log-softmax of the model's logits, before bias, penalties, temperature and
/// cuts. A token that was not admissible in that place, because of a grammar, counts as impossible.
/// </summary>
/// <param name="Chosen">The token that was generated.</param>
/// <param name="Likeliest">
/// As many as <see cref="GenerationOptions.LogProbabilities"/> asked for, the likeliest first; the generated token is among them only if it is that likely.
/// </param>
public sealed record TokenLogProbabilities(TokenLogProbability Chosen, IReadOnlyList<TokenLogProbability> Likeliest);

/// <summary>A token's log-probability.</summary>
/// <param name="Token">Its id; <see cref="TextTokenizer.Decode"/> has its text.</param>
/// <param name="LogProbability">The natural logarithm of its probability; at most 0.</param>
public readonly record struct TokenLogProbability(int Token, double LogProbability);
