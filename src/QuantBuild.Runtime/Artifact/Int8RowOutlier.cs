namespace QuantBuild;

/// <summary>
/// The format of a linear X with weight W [N outputs, K inputs] in signed bytes, one scale a row, that rounds its activations too: LLM.int8().
/// <c>W[n, k] = q[n, k] * absmax[n] / 127</c>.
/// </summary>
/// <remarks>
/// <c>X.weight</c> I8 [tiles, <see cref="PackedTiles.Bytes"/>] and <c>X.absmax</c> F32 [tiles, 8], 0 for rows that only fill the last tile.
/// Of each token's activations x, those with |x| at or above the threshold stay in float32; the others become <c>round(x * 127 / a) * a / 127</c>, where a is the
/// largest of their magnitudes. Which are which is decided for each token alone, so that a result does not depend on what else is computed with it.
/// </remarks>
public static class Int8RowOutlier
{
    /// <summary>The name of the format in a manifest.</summary>
    public const string FormatName = "Int8RowOutlier";

    /// <summary>What follows the linear's name in the name of its integers.</summary>
    public const string WeightSuffix = ".weight";

    /// <summary>What follows the linear's name in the name of its rows' absolute maxima.</summary>
    public const string AbsmaxSuffix = ".absmax";

    /// <summary>The largest integer; the smallest is minus this.</summary>
    public const int Largest = 127;

    /// <summary>A token whose activations are all smaller is rounded to zero: its scale must stay finite.</summary>
    public const float LeastAbsmax = 1e-30f;

    /// <summary>The weight that an integer stands for.</summary>
    public static float Dequantize(sbyte value, float absmax) => value * absmax * (1f / Largest);

    /// <summary>Rounds a token's activations, outliers excepted.</summary>
    /// <param name="x">The activations.</param>
    /// <param name="rounded">Receives them; may be the same memory.</param>
    /// <param name="threshold">Magnitudes from here on are outliers.</param>
    public static void RoundActivations(ReadOnlySpan<float> x, Span<float> rounded, float threshold)
    {
        float absmax = LeastAbsmax;
        foreach (float value in x)
        {
            float magnitude = MathF.Abs(value);
            if (magnitude < threshold) absmax = MathF.Max(absmax, magnitude);
        }

        float scale = Largest / absmax;
        float step = absmax / Largest;
        for (int k = 0; k < x.Length; k++)
        {
            // Written so that a NaN stays one.
            rounded[k] = MathF.Abs(x[k]) < threshold ? MathF.Round(x[k] * scale) * step : x[k];
        }
    }
}
