namespace QuantBuild.Decoding;

/// <summary>Keys and values of the tokens of one text. It grows by pages; a fork shares those that are full, and copies one that it goes on to fill.</summary>
internal sealed class KvCache(KvPages pages) : IDisposable
{
    private readonly List<KvPage> held = [];

    /// <summary>Tokens that are in the cache.</summary>
    public int Length { get; private set; }

    /// <summary>Pages, in the order of the text.</summary>
    public IReadOnlyList<KvPage> Pages => held;

    /// <summary>Makes room for more tokens, which are then written to the pages, and counts them as there.</summary>
    public void Extend(int tokens)
    {
        // The last page may be half full, and others may read it: they keep it.
        if (Length % KvPages.Tokens != 0 && held[^1].Holders > 1)
        {
            KvPage shared = held[^1];
            held[^1] = pages.Copy(shared);
            pages.Release(shared);
        }

        Length += tokens;
        while (held.Count * KvPages.Tokens < Length) held.Add(pages.Take());
    }

    /// <summary>Forgets all but the first tokens.</summary>
    public void Truncate(int tokens)
    {
        Length = Math.Min(Length, tokens);
        int keep = (Length + KvPages.Tokens - 1) / KvPages.Tokens;
        for (int i = keep; i < held.Count; i++) pages.Release(held[i]);
        held.RemoveRange(keep, held.Count - keep);
    }

    /// <summary>A cache with the first tokens of this one.</summary>
    public KvCache Fork(int tokens)
    {
        KvCache fork = new(pages) { Length = tokens };
        foreach (KvPage page in held.Take((tokens + KvPages.Tokens - 1) / KvPages.Tokens))
        {
            pages.Share(page);
            fork.held.Add(page);
        }

        return fork;
    }

    /// <inheritdoc/>
    public void Dispose() => Truncate(0);
}
