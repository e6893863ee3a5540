using System.Numerics;
using QuantBuild.Cuda.Driver;

namespace QuantBuild.Cuda.Decoding;

/// <summary>Which experts compute which tokens. The device finds that out by itself: what is queued depends on the number of tokens alone, so that a step with experts can be captured too.</summary>
internal sealed unsafe class ExpertRouting
{
    /// <summary>Experts of a token at most: a lane has each. Of a layer no model has more than the 1,024 that the kernel takes, or its config.json is refused.</summary>
    public const int MostEach = 32;

    private const int RouteThreads = 1024;
    private const int MixThreads = 256;

    private readonly KernelLibrary kernels;
    private readonly DecoderConfig config;
    private readonly IntPtr chosen;
    private readonly IntPtr shares;
    private readonly IntPtr places;
    private readonly IntPtr slots;
    private readonly IntPtr runs;

    /// <param name="kernels">The kernels.</param>
    /// <param name="arena">Where memory is from.</param>
    /// <param name="config">The decoder.</param>
    /// <param name="tokens">Most tokens.</param>
    public ExpertRouting(KernelLibrary kernels, DeviceArena arena, DecoderConfig config, int tokens)
    {
        (this.kernels, this.config) = (kernels, config);
        long most = SlotsOf(config, tokens);
        chosen = arena.Take(most * sizeof(int));
        shares = arena.Take(most * sizeof(float));
        places = arena.Take(most * sizeof(int));
        slots = arena.Take(most * 2 * sizeof(int));
        // No run is without a slot.
        runs = arena.Take(most * 3 * sizeof(int));
    }

    /// <summary>Bytes that it takes.</summary>
    public static long BytesFor(DecoderConfig config, int tokens) => SlotsOf(config, tokens) * 8 * sizeof(int);

    /// <summary>Tokens of all experts, each counted as often as experts compute it.</summary>
    public static int SlotsOf(DecoderConfig config, int tokens) => tokens * config.ExpertsPerToken;

    /// <summary>Queues the choice.</summary>
    /// <param name="scores">The router's scores, [tokens, experts].</param>
    /// <param name="tokens">How many.</param>
    /// <param name="experts">What they compute.</param>
    public ExpertRuns Route(IntPtr scores, int tokens, DeviceMlp experts)
    {
        int count = SlotsOf(config, tokens), each = count / config.Experts, size = Math.Min(experts.GateUp.RunTokens(each), experts.Down.RunTokens(each));
        // An expert that sees tokens has one run that may not be full; where all tokens fit into that, no other.
        int most = Math.Min(config.Experts, count) + (tokens <= size ? 0 : count / size);
        ExpertRuns its = new(slots, runs, count, Math.Min(count, most), size);
        RoutingParameters routing = new()
        {
            Scores = scores,
            Chosen = chosen,
            Shares = shares,
            Places = places,
            Slots = slots,
            Runs = runs,
            Tokens = tokens,
            Experts = config.Experts,
            Each = config.ExpertsPerToken,
            Normalizes = config.NormalizesExperts ? 1 : 0,
            RunShift = BitOperations.Log2((uint)size),
            RunCount = its.RunCount,
        };
        void** parameters = stackalloc void*[] { &routing };
        kernels.Launch("experts", "route", (1, 1, 1), RouteThreads, parameters);
        return its;
    }

    /// <summary>Queues what brings together what experts give.</summary>
    /// <param name="given">[slots, hidden].</param>
    /// <param name="tokens">How many.</param>
    /// <param name="shared">What an MLP gives that sees every token, [tokens, hidden]; 0 where there is none.</param>
    /// <param name="gates">The number that says its share for each token; 0 for all of it.</param>
    /// <param name="y">[tokens, hidden].</param>
    public void Mix(IntPtr given, int tokens, IntPtr shared, IntPtr gates, IntPtr y)
    {
        MixingParameters mixing = new() { Given = given, Places = places, Shares = shares, Shared = shared, Gates = gates, Y = y, Each = config.ExpertsPerToken, Width = config.HiddenSize };
        void** parameters = stackalloc void*[] { &mixing };
        kernels.Launch("experts", "mix", ((config.HiddenSize + MixThreads - 1) / MixThreads, tokens, 1), MixThreads, parameters);
    }
}

/// <summary>What the experts of a layer compute, in memory of the device (experts.h).</summary>
/// <param name="Slots">A token and its expert for each row, [<paramref name="SlotCount"/>].</param>
/// <param name="Runs">Rows of an expert that blocks compute together, [<paramref name="RunCount"/>].</param>
/// <param name="SlotCount">Rows.</param>
/// <param name="RunCount">Runs at most: the last ones may have no row.</param>
/// <param name="RunTokens">Rows of a run at most.</param>
internal readonly record struct ExpertRuns(IntPtr Slots, IntPtr Runs, int SlotCount, int RunCount, int RunTokens);
