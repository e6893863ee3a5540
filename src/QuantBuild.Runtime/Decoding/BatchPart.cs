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
            for (int i = 0; i < count; i++) wanted.Add(new WantedLogits(end - count + i, part.Logits.Slice(i * vocabulary, vocabulary), default));
            for (int i = 0; i < part.Likeliest.Length; i++) wanted.Add(new WantedLogits(end - part.Likeliest.Length + i, default, part.Likeliest.Slice(i, 1)));
            first = end;
        }

        return wanted;
    }
}

/// <summary>What is wanted of a token's logits: all of them, or the likeliest next token.</summary>
/// <param name="Row">The token's place in the pass.</param>
/// <param name="Logits">[vocabulary], or empty.</param>
/// <param name="Likeliest">[1], or empty.</param>
internal readonly record struct WantedLogits(int Row, Memory<float> Logits, Memory<int> Likeliest);
