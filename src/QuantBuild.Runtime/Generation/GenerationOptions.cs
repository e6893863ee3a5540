namespace QuantBuild;

/// <summary>
/// How text is generated. What is <see langword="null"/> is taken from the model's <c>generation_config.json</c>; what that does not say either has the default
/// named here. Each token is chosen from the model's logits in this order: logit bias, repetition penalty, frequency and presence penalties, temperature (0 ends
/// here, with the likeliest token), top-k, typical-p, top-p, min-p, and a draw among what is left. Each of the four cuts renormalizes what the one before it left.
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
    /// Sample among the tokens whose information (-ln p) is nearest to the entropy of the distribution, and which together reach this probability; above 0, at most 1,
    /// which is all (locally typical sampling, Meister et al. 2022). Default: the model's <c>typical_p</c>, else 1.
    /// </summary>
    public double? TypicalP { get; init; }

    /// <summary>
    /// Sample among the most probable tokens that together reach this probability; above 0, at most 1, which is all. Default: the model's <c>top_p</c>,
    /// else 1.
    /// </summary>
    public double? TopP { get; init; }

    /// <summary>
    /// Sample among tokens at least this fraction as probable as the most probable; 0 is all, at most 1. Default: the model's <c>min_p</c>, else 0.
    /// </summary>
    public double? MinP { get; init; }

    /// <summary>
    /// Makes tokens of the context, prompt included, less likely: a positive logit is divided by this, a negative one multiplied, once however often the token occurs
    /// (Keskar et al. 2019, as Hugging Face has it). Above 0; 1 changes nothing, below 1 repetition is favoured. Greedy decoding is subject to it too.
    /// Default: the model's <c>repetition_penalty</c>, else 1.
    /// </summary>
    public double? RepetitionPenalty { get; init; }

    /// <summary>How many of the last tokens <see cref="RepetitionPenalty"/> looks at, those of the prompt included; at least 1. Default: the whole context.</summary>
    public int? RepetitionWindow { get; init; }

    /// <summary>
    /// Taken from a token's logit once for each time that it was generated; the prompt does not count. Negative favours repetition. OpenAI's range is -2 to 2;
    /// here it is any finite number. Default: 0.
    /// </summary>
    public double? FrequencyPenalty { get; init; }

    /// <summary>Taken from a token's logit once if it was generated at all. Range and default are those of <see cref="FrequencyPenalty"/>.</summary>
    public double? PresencePenalty { get; init; }

    /// <summary>
    /// What is added to the logits of single tokens, by id; negative infinity forbids a token. Default: nothing.
    /// </summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; init; }

    /// <summary>The same seed gives the same text, on one machine. Default: another one each time.</summary>
    public ulong? Seed { get; init; }

    /// <summary>
    /// Texts that end the generation as soon as one of them is complete, wherever tokens begin and end; it is not part of the result. Of several that become
    /// complete with the same character, the longest is cut off.
    /// </summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>Ids of tokens that end the text, besides those of the model. Default: none.</summary>
    public IReadOnlyList<int> StopTokens { get; init; } = [];

    /// <summary>
    /// Reports the log-probability of each token that is generated, and of this many of the likeliest tokens in its place; at least 0. They are the model's own: the
    /// log-softmax of its logits, before bias, penalties, temperature and cuts; with a <see cref="Format"/>, among the tokens that it allows. Default: none are reported.
    /// </summary>
    public int? LogProbabilities { get; init; }

    /// <summary>What the text must look like, such as JSON of a schema. Default: anything.</summary>
    public OutputFormat? Format { get; init; }

    /// <summary>Guesses of the next tokens, which make text come faster and leave it as it is. Default: none.</summary>
    public Speculation? Speculation { get; init; }

    /// <summary>Whether the prompt has the token that begins texts, where there shall be one, and the tokenizer adds none.</summary>
    internal bool IsPromptWhole { get; init; }

    /// <summary>Ids of special tokens that are text here: marks that whoever reads the text looks for.</summary>
    internal IReadOnlyCollection<int> VisibleTokens { get; init; } = [];

    /// <summary>What happens where the text no longer fits the context. Default: it ends there.</summary>
    public ContextOverflow ContextOverflow { get; init; }
}
