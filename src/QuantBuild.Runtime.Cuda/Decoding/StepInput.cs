using System.Runtime.InteropServices;
using QuantBuild.Cuda.Driver;
using QuantBuild.Decoding;
using QuantBuild.Kernels;

namespace QuantBuild.Cuda.Decoding;

/// <summary>What is different from pass to pass: embeddings, positions, tables of pages. It is put together in locked memory, and copied to fixed places of the device, so that a captured step finds it.</summary>
internal sealed unsafe class StepInput
{
    private readonly CudaDevice device;
    private readonly DecoderConfig config;
    private readonly int pairs;
    private readonly byte* staged;
    private readonly float* hiddenStaged;
    private readonly IntPtr fixedPart;
    private readonly long tilesOffset;
    private readonly long turnsOffset;
    private readonly long turnBytes;
    private readonly long localOffset;
    private readonly long fixedBytes;
    private readonly long tablePages;
    private readonly int* wantedStaged;
    private readonly IntPtr wanted;
    private float* logits;

    /// <param name="device">The GPU.</param>
    /// <param name="config">The decoder.</param>
    /// <param name="context">Tokens that a text may have.</param>
    /// <param name="largestBatch">Tokens of a pass at most.</param>
    public StepInput(CudaDevice device, DecoderConfig config, int context, int largestBatch)
    {
        (this.device, this.config) = (device, config);
        pairs = config.HasRotary ? config.TurnedDimensions / 2 : 0;
        turnBytes = DeviceArena.Rounded((long)largestBatch * pairs * sizeof(float));
        tilesOffset = DeviceArena.Rounded((long)largestBatch * sizeof(RowParameters));
        turnsOffset = tilesOffset + DeviceArena.Rounded((long)largestBatch * sizeof(TileParameters));
        localOffset = turnsOffset + (2 * turnBytes);
        fixedBytes = localOffset + (config.LocalRopeTheta is null ? 0 : 2 * turnBytes);
        // Each text of a pass has at least one token in it.
        tablePages = ((long)context + KvPages.Tokens - 1) / KvPages.Tokens * largestBatch;
        tablePages = Math.Min(tablePages, MostTablePages);
        fixedPart = device.Allocate(fixedBytes);
        Pages = device.Allocate(tablePages * sizeof(ulong));
        staged = (byte*)device.AllocateHost(fixedBytes + (tablePages * sizeof(ulong)));
        hiddenStaged = (float*)device.AllocateHost((long)largestBatch * config.HiddenSize * sizeof(float));
        wanted = device.Allocate(DeviceActivations.LogitRows * sizeof(int));
        wantedStaged = (int*)device.AllocateHost(DeviceActivations.LogitRows * sizeof(int));
        Found = device.Allocate(DeviceActivations.LogitRows * sizeof(int));
        FoundStaged = (int*)device.AllocateHost(DeviceActivations.LogitRows * sizeof(int));
    }

    // 512 texts of 64k tokens: 8 MB.
    private const long MostTablePages = 1 << 20;

    /// <summary>A <see cref="RowParameters"/> for each token.</summary>
    public IntPtr Rows => fixedPart;

    /// <summary>A <see cref="TileParameters"/> for each run of tokens of a text.</summary>
    public IntPtr Tiles => fixedPart + (nint)tilesOffset;

    /// <summary>How many of them the last pass has.</summary>
    public int TileCount { get; private set; }

    /// <summary>The pages of all texts, one text after the other.</summary>
    public IntPtr Pages { get; }

    /// <summary>Likeliest tokens, on the device.</summary>
    public IntPtr Found { get; }

    /// <summary>And in locked memory.</summary>
    public int* FoundStaged { get; }

    public IntPtr Cosines(bool local) => fixedPart + (nint)(local ? localOffset : turnsOffset);

    public IntPtr Sines(bool local) => Cosines(local) + (nint)turnBytes;

    /// <summary>Queues the copies for a pass.</summary>
    /// <returns>Tokens of the longest text.</returns>
    public int Upload(IReadOnlyList<BatchRow> rows, Activations hidden, IntPtr hiddenTarget, (RotaryEmbedding Most, RotaryEmbedding? Local) turns)
    {
        RowParameters* parameters = (RowParameters*)staged;
        ulong* table = (ulong*)(staged + fixedBytes);
        long pages = 0;
        int longest = 0;
        TileParameters* tiles = (TileParameters*)(staged + tilesOffset);
        TileCount = 0;
        KvCache? last = null;
        for (int t = 0; t < rows.Count; t++)
        {
            (KvCache cache, int position) = rows[t];
            if (cache != last)
            {
                last = cache;
                if (pages + cache.Pages.Count > tablePages)
                {
                    throw new QuantBuildException(
                        DiagnosticIds.GpuMemoryFull,
                        $"The texts of one step have more than {tablePages * KvPages.Tokens} tokens together, as many as are computed on a GPU at a time. Compute fewer texts at a time (LoadOptions.MaxConcurrentTexts).");
                }

                foreach (KvPage page in cache.Pages) table[pages++] = (ulong)page.DeviceMemory;
                tiles[TileCount++] = new TileParameters { First = t };
            }
            else if (tiles[TileCount - 1].Count == DeviceAttention.TileTokens)
            {
                tiles[TileCount++] = new TileParameters { First = t };
            }

            tiles[TileCount - 1].Count++;

            parameters[t] = new RowParameters { Position = position, Pages = (int)(pages - cache.Pages.Count) };
            longest = Math.Max(longest, position + 1);
            hidden.Span(t).CopyTo(new Span<float>(hiddenStaged + ((long)t * config.HiddenSize), config.HiddenSize));
            if (!config.HasRotary) continue;
            Turn(turns.Most, position, t, turnsOffset);
            if (turns.Local is { } local) Turn(local, position, t, localOffset);
        }

        device.CopyTo(hiddenTarget, hiddenStaged, (long)rows.Count * config.HiddenSize * sizeof(float));
        device.CopyTo(fixedPart, staged, turnsOffset);
        // Of each table no more than the pass has: the whole would be half a megabyte for a single token.
        long turned = (long)rows.Count * pairs * sizeof(float);
        for (long place = turnsOffset; turned > 0 && place < fixedBytes; place += turnBytes) device.CopyTo(fixedPart + (nint)place, staged + place, turned);
        device.CopyTo(Pages, table, pages * sizeof(ulong));
        return longest;
    }

    /// <summary>Queues the copy of which rows are wanted.</summary>
    public IntPtr UploadWanted(IEnumerable<int> rows)
    {
        int count = 0;
        foreach (int row in rows) wantedStaged[count++] = row;
        device.CopyTo(wanted, wantedStaged, count * sizeof(int));
        return wanted;
    }

    /// <summary>Locked memory that logits are copied to.</summary>
    public float* Logits(int vocabulary)
    {
        if (logits is null) logits = (float*)device.AllocateHost((long)DeviceActivations.LogitRows * vocabulary * sizeof(float));
        return logits;
    }

    private void Turn(RotaryEmbedding by, int position, int token, long offset)
    {
        float* cosines = (float*)(staged + offset), sines = cosines + (turnBytes / sizeof(float));
        by.Cosines(position).CopyTo(new Span<float>(cosines + ((long)token * pairs), pairs));
        by.Sines(position).CopyTo(new Span<float>(sines + ((long)token * pairs), pairs));
    }
}
