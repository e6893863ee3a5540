namespace QuantBuild;

/// <summary>
/// The format of an integer-quantized linear X with weight W [N outputs, K inputs]: <c>W[n, k] = scale * (q - z)</c>, with one scale and zero point
/// for each group of consecutive packed columns of a row.
/// </summary>
/// <remarks>
/// <c>X.weight</c> U8 [tiles, <see cref="PackedTiles.Bytes"/>]; <c>X.scales</c> F16 [tiles, groups, 8]; <c>X.zeros</c> U8 [tiles, groups, 8] (absent if symmetric, where
/// z = 2^(bits-1)); and <c>X.order</c> I32 [K] if the columns are permuted: packed column j is input order[j]. Rows that only fill the last tile have a scale of 0.
/// </remarks>
public static class IntAffine
{
    /// <summary>The name of the format in a manifest.</summary>
    public const string FormatName = "IntAffine";

    /// <summary>What follows the linear's name in the name of its packed integers.</summary>
    public const string WeightSuffix = ".weight";

    /// <summary>What follows the linear's name in the name of its scales.</summary>
    public const string ScalesSuffix = ".scales";

    /// <summary>What follows the linear's name in the name of its zero points.</summary>
    public const string ZerosSuffix = ".zeros";

    /// <summary>What follows the linear's name in the name of its column order.</summary>
    public const string OrderSuffix = ".order";
}
