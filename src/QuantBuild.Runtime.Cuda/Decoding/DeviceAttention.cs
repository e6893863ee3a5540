using System.Globalization;
using System.Numerics;
using QuantBuild.Cuda.Driver;
using QuantBuild.Decoding;

namespace QuantBuild.Cuda.Decoding;

/// <summary>Attention on a device, over the pages that <see cref="KvPages"/> lays out.</summary>
internal sealed unsafe class DeviceAttention(KernelLibrary kernels, DecoderConfig config, KvPages pages, DeviceActivations activations, StepInput step, IntPtr slopes)
{
    /// <summary>The widest head that the kernels take.</summary>
    public const int WidestHead = 256;

    /// <summary>Tokens of a text that a block of the kernel for prompts takes.</summary>
    public const int TileTokens = 64;

    // Tensor cores are worth it from about so many tokens of a text on.
    private const int LeastTileTokens = 8;

    private const int RememberThreads = 256;
    private const int AttendThreads = 128;

    private const int JoinThreads = 256;

    // Query heads that read a page together.
    private const int QueriesTogether = 8;

    // A text is divided between blocks until there are about so many. No part is shorter than some pages, and texts of some pages are not divided at all (attention.cu).
    private const int Blocks = 256;
    private const int MostParts = 64;
    private const int PartPages = 4;
    private const int WholePages = 8;

    // Tokens of a pass whose texts are divided: with more there are enough blocks anyway.
    private const int DividedTokens = 16;

    /// <summary>Bytes for the results of parts of texts.</summary>
    public static long PartialBytes(DecoderConfig config) => (long)DividedTokens * MostPartsFor(config) * config.Heads * (config.HeadDim + 2) * sizeof(float);

    /// <summary>Into how many parts the texts of a pass are divided at most: a power of two, so that few different steps have to be captured. Into how many a text is depends on its length alone.</summary>
    /// <param name="tokens">Tokens of the pass.</param>
    /// <param name="longest">Tokens of the longest text.</param>
    public int PartsFor(int tokens, int longest)
    {
        int pages = (longest + KvPages.Tokens - 1) / KvPages.Tokens;
        if (tokens > DividedTokens || pages <= WholePages) return 1;
        return Math.Min(MostPartsFor(config), (int)BitOperations.RoundUpToPowerOf2((uint)((pages + PartPages - 1) / PartPages)));
    }

    /// <summary>Queues: norms queries and keys, turns them, and puts keys and values into their pages.</summary>
    public void Remember(int layer, int tokens, NormParameters queryNorm, NormParameters keyNorm)
    {
        bool rotary = config.IsRotary(layer), local = config.IsLocal(layer);
        HeadsParameters heads = new()
        {
            Queries = activations.Queries,
            Keys = activations.Keys,
            Values = activations.Values,
            QueryNorm = queryNorm.Weight,
            KeyNorm = keyNorm.Weight,
            Cosines = rotary ? step.Cosines(local) : 0,
            Sines = rotary ? step.Sines(local) : 0,
            Rows = step.Rows,
            Pages = step.Pages,
            LayerOffset = layer * pages.LayerBytes,
            BlockBytes = pages.BlockBytes,
            Epsilon = (float)config.NormEpsilon,
            Heads = config.Heads,
            KvHeads = config.KvHeads,
            HeadDim = config.HeadDim,
            Half = config.TurnedDimensions / 2,
            Interleaved = config.RopeInterleaved ? 1 : 0,
            WholeNorm = config.QueryKeyNorm == QueryKeyNorm.Width ? 1 : 0,
            EachNorm = config.QueryKeyNorm == QueryKeyNorm.EachHead ? 1 : 0,
            NormKind = (int)config.Norm,
            Bytes = pages.Precision == KvPrecision.Int8 ? 1 : 0,
        };
        void** parameters = stackalloc void*[] { &heads };
        // A warp has a head; where heads are normed together, a block has all of a token's.
        const int warps = RememberThreads / 32;
        int blocks = heads.QueryNorm != 0 && heads.WholeNorm != 0 ? 1 : (config.Heads + (2 * config.KvHeads) + warps - 1) / warps;
        kernels.Launch("decoder", "remember", (blocks, tokens, 1), RememberThreads, parameters);
    }

    /// <summary>Queues attention.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="sinks">The scores of its query heads beside those of the tokens, or 0.</param>
    /// <param name="tokens">Tokens of the pass.</param>
    /// <param name="parts">Into how many parts texts are divided.</param>
    public void Attend(int layer, IntPtr sinks, int tokens, int parts)
    {
        AttentionParameters attention = new()
        {
            Queries = activations.Queries,
            Results = activations.Attended,
            Partial = activations.Partial,
            Rows = step.Rows,
            Pages = step.Pages,
            Sinks = sinks,
            Slopes = slopes,
            LayerOffset = layer * pages.LayerBytes,
            BlockBytes = pages.BlockBytes,
            Scale = config.ScoreScale,
            Cap = (float)(config.ScoreCap ?? 0),
            Heads = config.Heads,
            KvHeads = config.KvHeads,
            HeadDim = config.HeadDim,
            Window = config.WindowOf(layer) ?? int.MaxValue,
            Bytes = pages.Precision == KvPrecision.Int8 ? 1 : 0,
            MostParts = tokens > DividedTokens ? 1 : MostPartsFor(config),
        };
        if (tokens > DividedTokens && tokens >= LeastTileTokens * step.TileCount)
        {
            IntPtr tiles = step.Tiles;
            void** prompt = stackalloc void*[] { &attention, &tiles };
            kernels.Launch("prompt", PromptName, (config.Heads, step.TileCount, 1), AttendThreads, prompt);
            return;
        }

        void** parameters = stackalloc void*[] { &attention, &parts };
        kernels.Launch("attention", Name, (BlocksOfPart(config), tokens, parts), AttendThreads, parameters);
        if (parts > 1) kernels.Launch("attention", "join_parts", (config.Heads, tokens, 1), JoinThreads, parameters);
    }

    // Blocks of a token and a part of its text: groups of query heads that share a key-value head.
    private static int BlocksOfPart(DecoderConfig config) => config.KvHeads * (((config.Heads / config.KvHeads) + QueriesTogether - 1) / QueriesTogether);

    private static int MostPartsFor(DecoderConfig config) => Math.Clamp(Blocks / BlocksOfPart(config), 1, MostParts);

    private string PromptName { get; } = string.Create(CultureInfo.InvariantCulture, $"attend_prompt_{(pages.Precision == KvPrecision.Int8 ? "s8" : "f16")}_{Rounded(config.HeadDim)}");

    // Heads whose values cannot be read eight at a time have a kernel of their own.
    private string Name { get; } = string.Create(
        CultureInfo.InvariantCulture,
        $"attend_{(pages.Precision == KvPrecision.Int8 ? "s8" : "f16")}_{(config.HeadDim % 8 == 0 ? Rounded(config.HeadDim) : "any")}");

    // The width of a head, as kernels have it.
    private static int Rounded(int headDim) => headDim <= 64 ? 64 : headDim <= 128 ? 128 : WidestHead;
}
