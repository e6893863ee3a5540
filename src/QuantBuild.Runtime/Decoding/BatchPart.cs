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

    /// <summary>Receives the likeliest next token behind each of the last tokens, where that is all that is wanted of their logits; the first of several that are as likely. Its length says how many.</summary>
    public Memory<int> Likeliest { get; init; }

    /// <summary>Chooses the token behind the last one by its logits, or is <see langword="null"/>.</summary>
    public ITokenChoice? Choice { get; init; }

    /// <summary>Receives each token's final hidden state after the last norm, [tokens, hidden], or is empty.</summary>
    public Memory<float> Hidden { get; init; }

    /// <summary>What is wanted of the logits of some parts.</summary>
    /// <param name="parts">The parts of a pass.</param>
    /// <param name="vocabulary">Logits of a token.</param>
    public static List<WantedLogits> Wanted(IReadOnlyList<BatchPart> parts, int vocabulary)
    {
        List<WantedLogits> wanted = [];
        int first = 0;
        foreach (BatchPart part in parts)
        {
            int end = first + part.Tokens.Length, count = part.Logits.Length / vocabulary;
            for (int i = 0; i < count; i++) wanted.Add(new WantedLogits(end - count + i) { Logits = part.Logits.Slice(i * vocabulary, vocabulary) });
            for (int i = 0; i < part.Likeliest.Length; i++) wanted.Add(new WantedLogits(end - part.Likeliest.Length + i) { Likeliest = part.Likeliest.Slice(i, 1) });
            if (part.Choice is { } choice) wanted.Add(new WantedLogits(end - 1) { Choice = choice });
            first = end;
        }

        return wanted;
    }
}

/// <summary>What is wanted of a token's logits: all of them, the likeliest next token, or one that is chosen.</summary>
/// <param name="Row">The token's place in the pass.</param>
internal readonly record struct WantedLogits(int Row)
{
    /// <summary>[vocabulary], or empty.</summary>
    public Memory<float> Logits { get; init; }

    /// <summary>[1], or empty.</summary>
    public Memory<int> Likeliest { get; init; }

    public ITokenChoice? Choice { get; init; }
}
