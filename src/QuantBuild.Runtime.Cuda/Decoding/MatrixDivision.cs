using QuantBuild.Cuda.Driver;

namespace QuantBuild.Cuda.Decoding;

/// <summary>How a product of many tokens is divided into blocks (matrix.cu).</summary>
/// <param name="Kernel">The kernel.</param>
/// <param name="Tokens">Tokens of a block.</param>
/// <param name="Grid">Blocks: of tokens, which come first so that those that run together read the same weights, of rows, and of runs.</param>
/// <param name="Threads">Threads of a block.</param>
/// <param name="SharedBytes">Its shared memory.</param>
internal readonly record struct MatrixDivision(string Kernel, int Tokens, (int X, int Y, int Z) Grid, int Threads, int SharedBytes)
{
    // As matrix.cu has them.
    private const int WarpsOfBlock = 8;
    private const int Stages = 3;
    private const int SliceInputs = 128;
    private const int LargestSliceSegments = 4;
    private const int HalfChunk = 16;
    private const int MapBytes = 1024;

    // A warp takes some 600 instructions to multiply a slice, and a multiprocessor begins four a cycle.
    private const double SliceCycles = 600 * WarpsOfBlock / 4;

    // What a multiprocessor has of the L2 cache when all read it: some 5.5 TB/s divided among the 132 of an H200.
    private const double CacheBytesPerCycle = 24;

    /// <summary>The division that takes least time, by what it computes and what it reads.</summary>
    /// <param name="group">The linears.</param>
    /// <param name="tokens">Tokens.</param>
    /// <param name="segmentHalves">Half chunks of a segment.</param>
    /// <param name="device">The device.</param>
    public static MatrixDivision Choose(LinearGroup group, int tokens, int segmentHalves, CudaDevice device) => Choose(group, tokens, 1, segmentHalves, device, null);

    /// <summary>The division of experts' products.</summary>
    /// <param name="group">The linears.</param>
    /// <param name="runTokens">Tokens of a run at most, which are those of a block.</param>
    /// <param name="runs">Runs.</param>
    /// <param name="segmentHalves">Half chunks of a segment.</param>
    /// <param name="device">The device.</param>
    public static MatrixDivision OfRuns(LinearGroup group, int runTokens, int runs, int segmentHalves, CudaDevice device) => Choose(group, runTokens, runs, segmentHalves, device, runTokens);

    private static MatrixDivision Choose(LinearGroup group, int tokens, int runs, int segmentHalves, CudaDevice device, int? tokensOfBlock)
    {
        MatrixDivision best = default;
        double least = double.PositiveInfinity;
        if (device.Capability >= 80) Try("multiply_128x128", 128, 128, WarpsOfBlock, group.MatrixBlocks128);
        Try("multiply_64x64", 64, 64, 2, group.MatrixBlocks64);
        Try("multiply_64x32", 64, 32, 1, group.MatrixBlocks64);
        return best;

        void Try(string kernel, int blockRows, int blockTokens, int warpsOfGroup, int rowBlocks)
        {
            if (tokensOfBlock is { } asked && asked != blockTokens) return;
            int segments = Math.Min(LargestSliceSegments, SliceInputs / HalfChunk / segmentHalves);
            int weightBytes = blockRows * SliceInputs * group.Bits / 8, tokenBytes = blockTokens * SliceInputs;
            // A segment has a scale and a sum of each token, and a scale and a zero point of each row.
            int ofGroup = Stages * (weightBytes + tokenBytes + (segments * (blockRows + blockTokens) * 8)), map = group.IsCodebook ? MapBytes : 0;
            int groups = Math.Min(WarpsOfBlock / warpsOfGroup, (device.SharedMemoryOfBlock - map) / ofGroup);
            if (groups == 0) return;
            int tokenBlocks = (tokens + blockTokens - 1) / blockTokens, blocks = rowBlocks * tokenBlocks * runs, rounds = (blocks + device.Multiprocessors - 1) / device.Multiprocessors;
            double computing = rounds * SliceCycles / groups;
            double reading = (double)blocks * (weightBytes + (Math.Min(tokens, blockTokens) * SliceInputs)) / (CacheBytesPerCycle * device.Multiprocessors);
            double cycles = Math.Max(computing, reading);
            if (cycles >= least) return;
            least = cycles;
            best = new MatrixDivision(kernel, blockTokens, (tokenBlocks, rowBlocks, runs), groups * warpsOfGroup * 32, map + (groups * ofGroup));
        }
    }
}
