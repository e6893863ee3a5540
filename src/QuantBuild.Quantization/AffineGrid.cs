using System.Numerics;

namespace QuantBuild.Quantization;

/// <summary>
/// Scales and zero points of groups of weights, and rounding to their grid. Works on a tile: <see cref="Lanes"/> rows of a weight side by
/// side, so that one vector instruction does the same to several rows.
/// </summary>
/// <param name="bits">Bits of a value.</param>
/// <param name="symmetric">Whether the zero point is always 2^(bits-1).</param>
internal readonly struct AffineGrid(int bits, bool symmetric)
{
    /// <summary>Rows of a tile.</summary>
    public const int Lanes = 32;

    // How much of a group's range the search gives up at most, and in how many steps. Few weights are at the ends of the range, and
    // a finer grid for the many can be worth more than the clipped few.
    internal const int ShrinkSteps = 40;
    internal const float LargestShrink = 0.6f;

    /// <summary>Tiles that a weight of some rows needs; the last may be partly unused.</summary>
    public static int Tiles(int rows) => (rows + Lanes - 1) / Lanes;

    /// <summary>The largest value.</summary>
    public int Largest { get; } = (1 << bits) - 1;

    /// <summary>
    /// Finds the scale and zero point of each lane's group with the least squared error <c>sum_k (w[k] - dequantize(quantize(w[k])))^2</c> among
    /// the group's range and shrunk ranges.
    /// </summary>
    /// <param name="weights">The group, [columns, <see cref="Lanes"/>].</param>
    /// <param name="scales">Receives the scales, float16 values, [<see cref="Lanes"/>].</param>
    /// <param name="zeros">Receives the zero points, integers, [<see cref="Lanes"/>].</param>
    public void Fit(ReadOnlySpan<float> weights, Span<float> scales, Span<float> zeros)
    {
        Span<float> low = stackalloc float[Lanes], high = stackalloc float[Lanes];
        low.Clear();
        high.Clear();
        for (int i = 0; i < weights.Length; i += Lanes)
        {
            for (int lane = 0; lane < Lanes; lane += Vector<float>.Count)
            {
                Vector<float> w = new(weights.Slice(i + lane));
                Vector.Min(new Vector<float>(low[lane..]), w).CopyTo(low[lane..]);
                Vector.Max(new Vector<float>(high[lane..]), w).CopyTo(high[lane..]);
            }
        }

        Span<float> best = stackalloc float[Lanes], scale = stackalloc float[Lanes], zero = stackalloc float[Lanes];
        best.Fill(float.PositiveInfinity);
        for (int step = 0; step <= ShrinkSteps; step++)
        {
            float shrink = 1 - (LargestShrink * step / ShrinkSteps);
            for (int variant = 0; variant < (symmetric ? 2 : 1); variant++)
            {
                for (int lane = 0; lane < Lanes; lane++)
                {
                    (scale[lane], zero[lane]) = symmetric
                        ? SymmetricCandidate(low[lane], high[lane], shrink, flipped: variant == 1)
                        : Candidate(low[lane], high[lane], shrink);
                }

                KeepBetter(weights, scale, zero, best, scales, zeros);
            }
        }
    }

    /// <summary>Rounds a column of the tile: the integers as floats, and what they stand for.</summary>
    public void Round(ReadOnlySpan<float> column, ReadOnlySpan<float> scales, ReadOnlySpan<float> zeros, Span<float> values, Span<float> dequantized)
    {
        Vector<float> largest = new(Largest);
        for (int lane = 0; lane < Lanes; lane += Vector<float>.Count)
        {
            Vector<float> scale = new(scales[lane..]);
            Vector<float> zero = new(zeros[lane..]);
            Vector<float> value = Quantize(new Vector<float>(column[lane..]), scale, zero, largest);
            value.CopyTo(values[lane..]);
            (scale * (value - zero)).CopyTo(dequantized[lane..]);
        }
    }

    private static Vector<float> Quantize(Vector<float> weight, Vector<float> scale, Vector<float> zero, Vector<float> largest) =>
        Vector.Min(Vector.Max(Vector.Round(weight / scale) + zero, Vector<float>.Zero), largest);

    private static void KeepBetter(
        ReadOnlySpan<float> weights, ReadOnlySpan<float> scale, ReadOnlySpan<float> zero, float largestValue,
        Span<float> best, Span<float> scales, Span<float> zeros)
    {
        Vector<float> largest = new(largestValue);
        for (int lane = 0; lane < Lanes; lane += Vector<float>.Count)
        {
            Vector<float> s = new(scale[lane..]);
            Vector<float> z = new(zero[lane..]);
            Vector<float> error = Vector<float>.Zero;
            for (int i = lane; i < weights.Length; i += Lanes)
            {
                Vector<float> w = new(weights[i..]);
                Vector<float> difference = w - (s * (Quantize(w, s, z, largest) - z));
                error += difference * difference;
            }

            Vector<float> known = new(best[lane..]);
            Vector<int> better = Vector.LessThan(error, known);
            Vector.ConditionalSelect(better, error, known).CopyTo(best[lane..]);
            Vector.ConditionalSelect(better, s, new Vector<float>(scales[lane..])).CopyTo(scales[lane..]);
            Vector.ConditionalSelect(better, z, new Vector<float>(zeros[lane..])).CopyTo(zeros[lane..]);
        }
    }

    private void KeepBetter(
        ReadOnlySpan<float> weights, ReadOnlySpan<float> scale, ReadOnlySpan<float> zero,
        Span<float> best, Span<float> scales, Span<float> zeros) =>
        KeepBetter(weights, scale, zero, Largest, best, scales, zeros);

    /// <summary>The grid of a range [low, high] that holds 0, shrunk towards 0.</summary>
    private (float Scale, float Zero) Candidate(float low, float high, float shrink)
    {
        float scale = Float16((high - low) * shrink / Largest);
        return (scale, Math.Clamp(MathF.Round(-low * shrink / scale), 0, Largest));
    }

    /// <summary>
    /// The grid of a range symmetric about 0. There is one more step below the zero point than above it: a scale of the other sign gives that
    /// step to the positive side.
    /// </summary>
    private (float Scale, float Zero) SymmetricCandidate(float low, float high, float shrink, bool flipped)
    {
        float scale = Float16(2 * Math.Max(-low, high) * shrink / Largest);
        return (flipped ? -scale : scale, (Largest + 1) / 2);
    }

    /// <summary>The nearest float16 that is a usable scale: positive and finite; 1 for a group of zeros.</summary>
    private static float Float16(float scale) =>
        scale == 0 ? 1 : Math.Clamp((float)(Half)scale, (float)Half.Epsilon, (float)Half.MaxValue);
}
