namespace QuantBuild.Decoding;

/// <summary>The next tokens of one text in a forward pass, and what is wanted of them.</summary>
/// <param name="cache">The text; it has the tokens afterwards.</param>
/// <param name="tokens">At least one, each below the vocabulary's size; they fit the context.</param>
internal sealed class BatchPart(KvCache cache, ReadOnlyMemory<int> tokens)
{
    public KvCache Cache { get; } = cache;

    public ReadOnlyMemory<int> Tokens { get; } = tokens;

    /// <summary>Receives the logits of the last tokens, [wanted, vocabulary]; its length says how many are wanted. Nothing where it is empty.</summary>
    public Memory<float> Logits { get; init; }

    /// <summary>Receives each token's final hidden state after the last norm, [tokens, hidden], or is empty.</summary>
    public Memory<float> Hidden { get; init; }
}
