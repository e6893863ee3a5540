namespace QuantBuild;

/// <summary>
/// How text is generated. What is <see langword="null"/> is taken from the model's <c>generation_config.json</c>; what that does not say either has the default
/// named here.
/// </summary>
public sealed record GenerationOptions
{
    /// <summary>The most tokens to generate; at least 1. Default: the model's <c>max_new_tokens</c>, else 256. The context bounds it too.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>
    /// What logits are divided by before sampling; 0 is greedy decoding. Default: the model's <c>temperature</c> (else 1) where it says <c>do_sample</c>, else 0.
    /// </summary>
    public double? Temperature { get; init; }

    /// <summary>Sample among the k most probable tokens; 0 is all. Default: the model's <c>top_k</c>, else all.</summary>
    public int? TopK { get; init; }

    /// <summary>
    /// Sample among the most probable tokens that together reach this probability; above 0, at most 1, which is all. Default: the model's <c>top_p</c>,
    /// else 1.
    /// </summary>
    public double? TopP { get; init; }

    /// <summary>
    /// Sample among tokens at least this fraction as probable as the most probable; 0 is all, at most 1. Default: the model's <c>min_p</c>, else 0.
    /// </summary>
    public double? MinP { get; init; }

    /// <summary>The same seed gives the same text. Default: another one each time.</summary>
    public ulong? Seed { get; init; }

    /// <summary>Texts that end the generation where they appear; they are not part of the result.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];
}
