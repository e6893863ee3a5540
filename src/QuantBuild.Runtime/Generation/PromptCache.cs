using QuantBuild.Decoding;

namespace QuantBuild.Generation;

/// <summary>
/// Keys and values of texts that were computed lately: a text that begins like one of them takes that over. A system prompt is so computed once, and the next turn of a conversation that
/// is sent as a whole costs only what is new in it.
/// </summary>
/// <param name="mostTokens">Tokens that are kept, together; 0 keeps none.</param>
internal sealed class PromptCache(int mostTokens) : IDisposable
{
    // Fewer tokens are computed sooner than they are looked for.
    private const int LeastTokens = 8;

    private readonly Lock guard = new();

    // The one that was used last comes last.
    private readonly List<(int[] Tokens, KvCache Cache)> entries = [];
    private bool disposed;

    /// <summary>The longest beginning of a text that is known, for the caller; an empty one where none is.</summary>
    /// <param name="tokens">The text. Its last token is never among what is known: there must be something to compute.</param>
    /// <param name="empty">Makes an empty cache.</param>
    public KvCache Find(ReadOnlySpan<int> tokens, Func<KvCache> empty)
    {
        lock (guard)
        {
            int best = -1, longest = LeastTokens - 1;
            for (int i = 0; i < entries.Count; i++)
            {
                int common = Math.Min(tokens.CommonPrefixLength(entries[i].Tokens), tokens.Length - 1);
                if (common > longest) (best, longest) = (i, common);
            }

            if (best < 0) return empty();
            (int[] Tokens, KvCache Cache) found = entries[best];
            entries.RemoveAt(best);
            entries.Add(found);
            return found.Cache.Fork(longest);
        }
    }

    /// <summary>Keeps what was computed of a text. What it continues is no longer kept apart.</summary>
    public void Add(TextState text)
    {
        // Guesses may be in the cache, and are not in the text.
        int length = Math.Min(text.Cache.Length, text.Tokens.Count);
        if (length < LeastTokens || text.Cache.Pages.Count * KvPages.Tokens > mostTokens) return;
        int[] tokens = [.. text.Tokens.Take(length)];
        lock (guard)
        {
            if (disposed) return;
            if (entries.Exists(entry => entry.Tokens.AsSpan().StartsWith(tokens))) return;
            for (int i = entries.Count - 1; i >= 0; i--)
            {
                if (tokens.AsSpan().StartsWith(entries[i].Tokens)) Remove(i);
            }

            entries.Add((tokens, text.Cache.Fork(length)));
            // Pages are what takes memory.
            while (entries.Sum(entry => entry.Cache.Pages.Count * KvPages.Tokens) > mostTokens) Remove(0);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (guard)
        {
            disposed = true;
            while (entries.Count > 0) Remove(entries.Count - 1);
        }
    }

    private void Remove(int index)
    {
        entries[index].Cache.Dispose();
        entries.RemoveAt(index);
    }
}
