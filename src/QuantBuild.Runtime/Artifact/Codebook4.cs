using System.Text.Json.Serialization;

namespace QuantBuild;

/// <summary>A table of the 16 values that a weight of 4 bits can have, times the absolute maximum of its block.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<Codebook>))]
public enum Codebook
{
    /// <summary>bitsandbytes' NF4: quantiles of a normal distribution, with an exact zero.</summary>
    Nf4,

    /// <summary>bitsandbytes' FP4: a sign and three bits, over 12.</summary>
    Fp4,

    /// <summary>The E2M1 of the OCP Microscaling Formats: a sign, two bits of exponent and one of mantissa, over 8.</summary>
    Mxfp4,
}

/// <summary>
/// The format of a linear X with weight W [N outputs, K inputs] whose values are entries of a table:
/// <c>W[n, k] = table[q] * absmax[(n * K + k) / blockSize]</c>. Blocks are those of bitsandbytes: they run over the flattened weight, row after row, so
/// that one may end in the next row, and the last one of a weight may be short.
/// </summary>
/// <remarks>
/// <c>X.weight</c> U8 [tiles, <see cref="PackedTiles.Bytes"/>] holds the indices, 4 bits each. <c>X.absmax</c> is F32 [blocks]; or, double-quantized, U8 [blocks], with <c>X.nested_absmax</c> F32 [blocks / 256, rounded up] and
/// <c>X.offset</c> F32 [1]: <c>absmax[i] = DynamicMap[u[i]] * nested_absmax[i / 256] + offset</c>, in float32. Of MXFP4 it is a power of two in place of a maximum: <c>X.exponent</c> U8 [blocks],
/// <c>absmax[i] = 8 * 2^(u[i] - 127)</c>.
/// </remarks>
public static class Codebook4
{
    /// <summary>The name of the format in a manifest.</summary>
    public const string FormatName = "Codebook4";

    /// <summary>What follows the linear's name in the name of its packed indices.</summary>
    public const string WeightSuffix = ".weight";

    /// <summary>What follows the linear's name in the name of its blocks' absolute maxima.</summary>
    public const string AbsmaxSuffix = ".absmax";

    /// <summary>What follows the linear's name in the name of the absolute maxima of the absolute maxima.</summary>
    public const string NestedAbsmaxSuffix = ".nested_absmax";

    /// <summary>What follows the linear's name in the name of the mean absolute maximum.</summary>
    public const string OffsetSuffix = ".offset";

    /// <summary>What follows the linear's name in the name of its blocks' exponents.</summary>
    public const string ExponentSuffix = ".exponent";

    /// <summary>Bits of an index.</summary>
    public const int Bits = 4;

    /// <summary>Absolute maxima that share a scale when they are quantized themselves.</summary>
    public const int NestedBlockSize = 256;

    private static readonly float[] Nf4 =
    [
        -1f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0f,
        0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1f,
    ];

    private static readonly float[] Fp4 =
    [
        0f / 12, 0.0625f / 12, 8f / 12, 12f / 12, 4f / 12, 6f / 12, 2f / 12, 3f / 12,
        -0f / 12, -0.0625f / 12, -8f / 12, -12f / 12, -4f / 12, -6f / 12, -2f / 12, -3f / 12,
    ];

    private static readonly float[] Mxfp4 =
    [
        0f / 8, 0.5f / 8, 1f / 8, 1.5f / 8, 2f / 8, 3f / 8, 4f / 8, 6f / 8,
        -0f / 8, -0.5f / 8, -1f / 8, -1.5f / 8, -2f / 8, -3f / 8, -4f / 8, -6f / 8,
    ];

    private static readonly float[] Dynamic = CreateDynamicMap();

    /// <summary>The 256 values, ascending, that an absolute maximum can have when it is quantized itself: bitsandbytes' signed dynamic map.</summary>
    public static ReadOnlySpan<float> DynamicMap => Dynamic;

    /// <summary>The 16 values of a table, by index.</summary>
    public static ReadOnlySpan<float> Values(Codebook codebook) => codebook switch
    {
        Codebook.Nf4 => Nf4,
        Codebook.Fp4 => Fp4,
        _ => Mxfp4,
    };

    /// <summary>The largest exponent of a block of MXFP4 whose values are all finite numbers.</summary>
    public const byte LargestExponent = 251;

    /// <summary>What the table is multiplied by in a block of MXFP4: <c>8 * 2^(exponent - 127)</c>.</summary>
    public static float Power(byte exponent) => MathF.ScaleB(8, exponent - 127);

    /// <summary>
    /// By how much a table and what it is multiplied by are larger and smaller in kernels, which make the table times 127 bytes: whole numbers come of MXFP4's, and nothing is rounded.
    /// </summary>
    internal static float KernelFactor(Codebook codebook) => codebook == Codebook.Mxfp4 ? 160f / 127 : 1;

    /// <summary>Whether blocks can have a size: a power of two from 32 to 4,096.</summary>
    public static bool IsBlockSize(int blockSize) => blockSize is >= 32 and <= 4096 && (blockSize & (blockSize - 1)) == 0;

    /// <summary>Blocks of a weight.</summary>
    public static long Blocks(int outputs, int inputs, int blockSize) => (((long)outputs * inputs) + blockSize - 1) / blockSize;

    /// <summary>Blocks of absolute maxima of a weight.</summary>
    public static long NestedBlocks(int outputs, int inputs, int blockSize) => (Blocks(outputs, inputs, blockSize) + NestedBlockSize - 1) / NestedBlockSize;

    /// <summary>
    /// For i = 0 … 6: plus and minus 10^(i - 6) times the 2^i middles of an even division of [0.1, 1]; and 0; and 1. Rounded to float32 where
    /// bitsandbytes rounds on a processor with fused multiplication and addition.
    /// </summary>
    private static float[] CreateDynamicMap()
    {
        List<float> map = [0f, 1f];
        for (int i = 0; i < 7; i++)
        {
            int pieces = 1 << i;
            float step = (1f - 0.1f) / pieces;
            // Even division from both ends, as torch.linspace has it.
            float Boundary(int j) => j < (pieces + 1) / 2 ? MathF.FusedMultiplyAdd(step, j, 0.1f) : MathF.FusedMultiplyAdd(-step, pieces - j, 1f);
            float power = (float)Math.Pow(10, i - 6);
            for (int j = 0; j < pieces; j++)
            {
                float middle = power * ((Boundary(j) + Boundary(j + 1)) / 2f);
                map.Add(middle);
                map.Add(-middle);
            }
        }

        return [.. map.Order()];
    }
}
