using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using QuantBuild.Decoding;

namespace QuantBuild.Generation;

/// <summary>Guesses the next tokens of one text.</summary>
internal interface IDrafter : IDisposable
{
    /// <summary>The most tokens that it guesses at a time.</summary>
    int MaxTokens { get; }

    /// <summary>Guesses what follows.</summary>
    /// <param name="tokens">The text so far. Between two calls tokens are added; guesses that were wrong are not among them.</param>
    /// <param name="most">The most tokens that are wanted.</param>
    /// <param name="cancellationToken">Ends the guessing.</param>
    IReadOnlyList<int> Draft(List<int> tokens, int most, CancellationToken cancellationToken);
}

/// <summary>Finds the last place where the text had the same last tokens, and guesses what followed there (Saxena, 2023: prompt lookup decoding).</summary>
internal sealed class LookupDrafter(int maxTokens) : IDrafter
{
    // Longer runs foretell better; a single token foretells little.
    private const int LongestRun = 4;
    private const int ShortestRun = 2;

    public int MaxTokens => maxTokens;

    public IReadOnlyList<int> Draft(List<int> tokens, int most, CancellationToken cancellationToken)
    {
        ReadOnlySpan<int> text = CollectionsMarshal.AsSpan(tokens);
        for (int run = LongestRun; run >= ShortestRun; run--)
        {
            if (text.Length <= run) continue;
            int found = text[..^1].LastIndexOf(text[^run..]);
            if (found < 0) continue;
            int next = found + run;
            return text.Slice(next, Math.Min(Math.Min(most, maxTokens), text.Length - next)).ToArray();
        }

        return [];
    }

    public void Dispose()
    {
    }
}

/// <summary>Takes the likeliest tokens of a smaller model, which stays alive for as long.</summary>
internal sealed class ModelDrafter : IDrafter
{
    private readonly LanguageModel model;
    private readonly KvCache cache;
    private readonly float[] logits;
    private readonly List<int> seen = [];
    private bool disposed;

    /// <exception cref="ObjectDisposedException">The model was disposed.</exception>
    public ModelDrafter(LanguageModel model, int maxTokens)
    {
        (this.model, MaxTokens) = (model, maxTokens);
        model.Enter();
        cache = model.CreateCache();
        logits = new float[model.Config.VocabularySize];
    }

    public int MaxTokens { get; }

    public IReadOnlyList<int> Draft(List<int> tokens, int most, CancellationToken cancellationToken)
    {
        // What the draft model knows and is no longer so: guesses that were wrong.
        int same = CollectionsMarshal.AsSpan(seen).CommonPrefixLength(CollectionsMarshal.AsSpan(tokens));
        same = Math.Min(same, tokens.Count - 1);
        cache.Truncate(same);
        seen.RemoveRange(same, seen.Count - same);
        List<int> drafted = [];
        int[] next = [.. tokens.Skip(same)];
        most = Math.Min(Math.Min(most, MaxTokens), model.ContextLength - tokens.Count);
        while (drafted.Count < most)
        {
            model.Feed(cache, next, logits, cancellationToken);
            seen.AddRange(next);
            int token = TensorPrimitives.IndexOfMax<float>(logits);
            drafted.Add(token);
            next = [token];
        }

        return drafted;
    }

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        cache.Dispose();
        model.Leave();
    }
}
