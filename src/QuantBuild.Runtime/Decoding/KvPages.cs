using System.Runtime.InteropServices;

namespace QuantBuild.Decoding;

/// <summary>
/// Memory for keys and values, in pages of <see cref="Tokens"/> tokens for all layers. A page is shared by all texts that begin alike, and is free again when the last
/// of them lets it go.
/// </summary>
/// <remarks>
/// In a page: for each layer and key-value head the keys [headDim, tokens], so that a vector holds one dimension of eight tokens, and the values [tokens, headDim].
/// In half precision; or in bytes, <c>x = scale * q</c>, with a scale in float32 for each token's key and value.
/// The first layers of a page may be in the memory of a device, in the same form.
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
    private readonly IPageMemory? device;
    private readonly int deviceLayers;
    private readonly long deviceBytes;
    private readonly long hostBytes;
    private bool disposed;

    /// <param name="layers">Decoder layers.</param>
    /// <param name="kvHeads">Key-value heads of each.</param>
    /// <param name="headDim">Dimensions of a head.</param>
    /// <param name="precision">How numbers are kept.</param>
    /// <param name="device">Where the first layers are, if not with the others.</param>
    /// <param name="deviceLayers">How many are there.</param>
    public KvPages(int layers, int kvHeads, int headDim, KvPrecision precision, IPageMemory? device = null, int deviceLayers = 0)
    {
        (this.kvHeads, HeadDim, Precision, this.device, this.deviceLayers) = (kvHeads, headDim, precision, device, deviceLayers);
        ElementBytes = precision == KvPrecision.Int8 ? 1 : 2;
        BlockBytes = Tokens * ((HeadDim * ElementBytes) + (precision == KvPrecision.Int8 ? sizeof(float) : 0));
        LayerBytes = 2L * kvHeads * BlockBytes;
        (deviceBytes, hostBytes) = (deviceLayers * LayerBytes, (layers - deviceLayers) * LayerBytes);
    }

    public KvPages(DecoderConfig config, KvPrecision precision, IDeviceLayers? device = null)
        : this(config.Layers, config.KvHeads, config.HeadDim, precision, device?.Memory, device?.Count ?? 0)
    {
    }

    public KvPrecision Precision { get; }

    public int HeadDim { get; }

    /// <summary>Bytes of a page.</summary>
    public long PageBytes => deviceBytes + hostBytes;

    /// <summary>Bytes of a layer in a page.</summary>
    public long LayerBytes { get; }

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
            KvPage page = free.Count > 0 ? Cleared(free.Peek()) : Allocate();
            // Only now: what cannot be cleared stays where it is given back from.
            free.TryPop(out _);
            page.Holders = 1;
            InUse++;
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
        try
        {
            Buffer.MemoryCopy((void*)page.Memory, (void*)copy.Memory, hostBytes, hostBytes);
            if (deviceBytes > 0) device!.Copy(page.DeviceMemory, copy.DeviceMemory, deviceBytes);
            return copy;
        }
        catch
        {
            Release(copy);
            throw;
        }
    }

    /// <summary>All of a page, to be saved.</summary>
    /// <param name="page">The page.</param>
    /// <param name="target">Receives <see cref="PageBytes"/> bytes.</param>
    public void Read(KvPage page, Span<byte> target)
    {
        if (deviceBytes > 0) device!.Read(page.DeviceMemory, target[..(int)deviceBytes]);
        new Span<byte>((void*)page.Memory, (int)hostBytes).CopyTo(target[(int)deviceBytes..]);
    }

    /// <summary>Fills a page with what <see cref="Read"/> gave.</summary>
    public void Write(ReadOnlySpan<byte> source, KvPage page)
    {
        if (deviceBytes > 0) device!.Write(source[..(int)deviceBytes], page.DeviceMemory);
        source[(int)deviceBytes..].CopyTo(new Span<byte>((void*)page.Memory, (int)hostBytes));
    }

    /// <summary>The keys of a head of a layer that is not on a device: [headDim, tokens]; with bytes, the tokens' scales follow.</summary>
    public byte* Keys(KvPage page, int layer, int head) => (byte*)page.Memory + ((layer - deviceLayers) * LayerBytes) + (2L * head * BlockBytes);

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

    private KvPage Allocate()
    {
        KvPage page = new((IntPtr)NativeMemory.AlignedAlloc((nuint)hostBytes, 64));
        NativeMemory.Clear((void*)page.Memory, (nuint)hostBytes);
        try
        {
            if (deviceBytes > 0) page.DeviceMemory = device!.Allocate(deviceBytes);
            return page;
        }
        catch
        {
            NativeMemory.AlignedFree((void*)page.Memory);
            throw;
        }
    }

    /// <summary>Another text's keys and values may be in a page, and a saved session has all of it.</summary>
    private KvPage Cleared(KvPage page)
    {
        NativeMemory.Clear((void*)page.Memory, (nuint)hostBytes);
        if (deviceBytes > 0) device!.Clear(page.DeviceMemory, deviceBytes);
        return page;
    }

    private void Free(KvPage page)
    {
        NativeMemory.AlignedFree((void*)page.Memory);
        if (deviceBytes > 0) device!.Free(page.DeviceMemory);
        (page.Memory, page.DeviceMemory) = (0, 0);
    }
}

/// <summary>A page of keys and values.</summary>
/// <param name="memory">Its memory.</param>
internal sealed class KvPage(IntPtr memory)
{
    public IntPtr Memory { get; set; } = memory;

    /// <summary>The memory of its first layers, where those are on a device.</summary>
    public IntPtr DeviceMemory { get; set; }

    /// <summary>How many texts hold it; guarded by its <see cref="KvPages"/>.</summary>
    public int Holders { get; set; }
}
