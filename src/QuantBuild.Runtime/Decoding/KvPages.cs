using System.Runtime.InteropServices;

namespace QuantBuild.Decoding;

/// <summary>
/// Memory for keys and values, in pages of <see cref="Tokens"/> tokens for all layers. A page is shared by all texts that begin alike, and is free again when the last
/// of them lets it go.
/// </summary>
/// <remarks>
/// In a page: for each layer and key-value head the keys [headDim, tokens], so that a vector holds one dimension of eight tokens, and the values [tokens, headDim].
/// In half precision; or in bytes, <c>x = scale * q</c>, with a scale in float32 for each token's key and value.
/// </remarks>
internal sealed unsafe class KvPages : IDisposable
{
    /// <summary>Tokens of a page.</summary>
    public const int Tokens = 32;

    // Pages that are kept when nobody needs them: enough to go on at once, little enough to have gone.
    private const int MostFree = 32;

    private readonly Stack<KvPage> free = new();
    private readonly Lock guard = new();
    private readonly int kvHeads;
    private bool disposed;

    /// <param name="layers">Decoder layers.</param>
    /// <param name="kvHeads">Key-value heads of each.</param>
    /// <param name="headDim">Dimensions of a head.</param>
    /// <param name="precision">How numbers are kept.</param>
    public KvPages(int layers, int kvHeads, int headDim, KvPrecision precision)
    {
        (this.kvHeads, HeadDim, Precision) = (kvHeads, headDim, precision);
        ElementBytes = precision == KvPrecision.Int8 ? 1 : 2;
        BlockBytes = Tokens * ((HeadDim * ElementBytes) + (precision == KvPrecision.Int8 ? sizeof(float) : 0));
        PageBytes = 2L * layers * kvHeads * BlockBytes;
    }

    public KvPages(DecoderConfig config, KvPrecision precision)
        : this(config.Layers, config.KvHeads, config.HeadDim, precision)
    {
    }

    public KvPrecision Precision { get; }

    public int HeadDim { get; }

    /// <summary>Bytes of a page.</summary>
    public long PageBytes { get; }

    /// <summary>Pages that somebody holds.</summary>
    public int InUse { get; private set; }

    private int ElementBytes { get; }

    /// <summary>Bytes of one head's keys, or values, in a page.</summary>
    public int BlockBytes { get; }

    /// <summary>Bytes that a token takes: a key and a value of each layer and head.</summary>
    public static long BytesPerToken(DecoderConfig config, KvPrecision precision) =>
        2L * config.Layers * config.KvHeads * ((config.HeadDim * (precision == KvPrecision.Int8 ? 1L : 2L)) + (precision == KvPrecision.Int8 ? sizeof(float) : 0));

    /// <summary>A page for one holder.</summary>
    public KvPage Take()
    {
        lock (guard)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            InUse++;
            KvPage page = free.Count > 0 ? free.Pop() : new KvPage((IntPtr)NativeMemory.AlignedAlloc((nuint)PageBytes, 64));
            page.Holders = 1;
            // Another text's keys and values may be in it, and a saved session has all of a page.
            NativeMemory.Clear((void*)page.Memory, (nuint)PageBytes);
            return page;
        }
    }

    /// <summary>One more holder of a page.</summary>
    public void Share(KvPage page)
    {
        lock (guard) page.Holders++;
    }

    /// <summary>One holder less.</summary>
    public void Release(KvPage page)
    {
        lock (guard)
        {
            if (--page.Holders > 0) return;
            InUse--;
            if (!disposed && free.Count < MostFree) free.Push(page);
            else Free(page);
        }
    }

    /// <summary>A copy of a page, for one holder who will change it.</summary>
    public KvPage Copy(KvPage page)
    {
        KvPage copy = Take();
        Buffer.MemoryCopy((void*)page.Memory, (void*)copy.Memory, PageBytes, PageBytes);
        return copy;
    }

    /// <summary>All of a page, to be saved and loaded.</summary>
    public Span<byte> Bytes(KvPage page) => new((void*)page.Memory, checked((int)PageBytes));

    /// <summary>The keys of a layer's head: [headDim, tokens]; with bytes, the tokens' scales follow.</summary>
    public byte* Keys(KvPage page, int layer, int head) => (byte*)page.Memory + (2L * ((layer * kvHeads) + head) * BlockBytes);

    /// <summary>The values of a layer's head: [tokens, headDim]; with bytes, the tokens' scales follow.</summary>
    public byte* Values(KvPage page, int layer, int head) => Keys(page, layer, head) + BlockBytes;

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (guard)
        {
            disposed = true;
            while (free.Count > 0) Free(free.Pop());
        }
    }

    private static void Free(KvPage page)
    {
        NativeMemory.AlignedFree((void*)page.Memory);
        page.Memory = 0;
    }
}

/// <summary>A page of keys and values.</summary>
/// <param name="memory">Its memory.</param>
internal sealed class KvPage(IntPtr memory)
{
    public IntPtr Memory { get; set; } = memory;

    /// <summary>How many texts hold it; guarded by its <see cref="KvPages"/>.</summary>
    public int Holders { get; set; }
}
