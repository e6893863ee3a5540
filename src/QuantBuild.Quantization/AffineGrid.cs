using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;

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

    // Columns after which a candidate is given up where it is no better for any lane already.
    private const int Patience = 16;

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
    public void Fit(ReadOnlySpan<float> weights, Span<float> scales, Span<float> zeros) => Fit(weights, default, 0, scales, zeros);

    /// <summary>
    /// Finds the scale and zero point of each lane's group among the same ranges, with the least error in the linear's outputs where its Hessian is known:
    /// <c>e^T H e</c> for the group's rounding errors e.
    /// </summary>
    /// <param name="weights">The group, [columns, <see cref="Lanes"/>].</param>
    /// <param name="hessian">The group's <see cref="HessianBlocks"/>; empty for the least squared error.</param>
    /// <param name="width">Columns of a block.</param>
    /// <param name="scales">Receives the scales, float16 values, [<see cref="Lanes"/>].</param>
    /// <param name="zeros">Receives the zero points, integers, [<see cref="Lanes"/>].</param>
    public void Fit(ReadOnlySpan<float> weights, ReadOnlySpan<float> hessian, int width, Span<float> scales, Span<float> zeros)
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
        Span<float> errors = hessian.IsEmpty ? default : new float[width * Lanes];
        best.Fill(float.PositiveInfinity);
        for (int step = 0; step <= ShrinkSteps; step++)
        {
            float shrink = 1 - (LargestShrink * step / ShrinkSteps);
            for (int variant = 0; variant < (symmetric ? 2 : 1); variant++)
            {
                if (symmetric) SymmetricCandidates(low, high, shrink, flipped: variant == 1, scale, zero);
                else Candidates(low, high, shrink, scale, zero);
                if (hessian.IsEmpty) KeepBetter(weights, scale, zero, best, scales, zeros);
                else KeepBetterOutputs(weights, hessian, errors, scale, zero, best, scales, zeros);
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

    // What is not a number may become any integer: Gptq looks for it in the errors, and others have none.
    private static Vector<float> Quantize(Vector<float> weight, Vector<float> scale, Vector<float> zero, Vector<float> largest) =>
        Vector.MinNative(Vector.MaxNative(Vector.Round(weight / scale) + zero, Vector<float>.Zero), largest);

    private static void KeepBetter(
        ReadOnlySpan<float> weights, ReadOnlySpan<float> scale, ReadOnlySpan<float> zero, float largestValue,
        Span<float> best, Span<float> scales, Span<float> zeros)
    {
        Vector<float> largest = new(largestValue);
        ref float first = ref MemoryMarshal.GetReference(weights);
        for (int lane = 0; lane < Lanes; lane += Vector<float>.Count)
        {
            Vector<float> s = new(scale[lane..]);
            Vector<float> z = new(zero[lane..]);
            Vector<float> error = Vector<float>.Zero, known = new(best[lane..]);
            for (int i = lane; i < weights.Length;)
            {
                for (int end = Math.Min(weights.Length, i + (Patience * Lanes)); i < end; i += Lanes)
                {
                    Vector<float> w = Vector.LoadUnsafe(ref first, (nuint)i);
                    Vector<float> difference = w - (s * (Quantize(w, s, z, largest) - z));
                    error += difference * difference;
                }

                // Squares only add to it.
                if (!Vector.LessThanAny(error, known)) break;
            }

            KeepBetter(error, s, z, best[lane..], scales[lane..], zeros[lane..]);
        }
    }

    private static void KeepBetter(Vector<float> error, Vector<float> scale, Vector<float> zero, Span<float> best, Span<float> scales, Span<float> zeros)
    {
        Vector<float> known = new(best);
        Vector<int> better = Vector.LessThan(error, known);
        Vector.ConditionalSelect(better, error, known).CopyTo(best);
        Vector.ConditionalSelect(better, scale, new Vector<float>(scales)).CopyTo(scales);
        Vector.ConditionalSelect(better, zero, new Vector<float>(zeros)).CopyTo(zeros);
    }

    /// <summary>Keeps the grids whose rounding errors cost less in the outputs.</summary>
    /// <param name="weights">The group, [columns, <see cref="Lanes"/>].</param>
    /// <param name="hessian">The group's <see cref="HessianBlocks"/>.</param>
    /// <param name="errors">Room for the errors of a block, [width, <see cref="Lanes"/>].</param>
    /// <param name="scale">The scales to try.</param>
    /// <param name="zero">The zero points to try.</param>
    /// <param name="best">The least cost so far.</param>
    /// <param name="scales">Its scales.</param>
    /// <param name="zeros">Its zero points.</param>
    private void KeepBetterOutputs(
        ReadOnlySpan<float> weights, ReadOnlySpan<float> hessian, Span<float> errors, ReadOnlySpan<float> scale, ReadOnlySpan<float> zero,
        Span<float> best, Span<float> scales, Span<float> zeros)
    {
        Vector<float> largest = new(Largest);
        int width = errors.Length / Lanes, columns = weights.Length / Lanes;
        for (int lane = 0; lane < Lanes; lane += Vector<float>.Count)
        {
            Vector<float> s = new(scale[lane..]);
            Vector<float> z = new(zero[lane..]);
            Vector<float> cost = Vector<float>.Zero;
            for (int start = 0, block = 0; start < columns; start += width, block += width * width)
            {
                int count = Math.Min(width, columns - start);
                for (int i = 0; i < count; i++)
                {
                    Vector<float> w = new(weights[(((start + i) * Lanes) + lane)..]);
                    (w - (s * (Quantize(w, s, z, largest) - z))).CopyTo(errors[((i * Lanes) + lane)..]);
                }

                cost += Cost(hessian.Slice(block, width * width), width, errors[lane..], count);
            }

            KeepBetter(cost, s, z, best[lane..], scales[lane..], zeros[lane..]);
        }
    }

    /// <summary>e^T H e of one vector's lanes: <c>sum_i e_i sum_(j &lt;= i) L_ij e_j</c>, four rows of L side by side so that no sum waits for another.</summary>
    private static Vector<float> Cost(ReadOnlySpan<float> lower, int width, ReadOnlySpan<float> errors, int count)
    {
        Vector<float> cost = Vector<float>.Zero;
        int i = 0;
        for (; i + 4 <= count; i += 4)
        {
            ReadOnlySpan<float> l0 = lower.Slice(i * width, i + 4), l1 = lower.Slice((i + 1) * width, i + 4);
            ReadOnlySpan<float> l2 = lower.Slice((i + 2) * width, i + 4), l3 = lower.Slice((i + 3) * width, i + 4);
            Vector<float> y0 = Vector<float>.Zero, y1 = y0, y2 = y0, y3 = y0;
            // Above the diagonal there are zeros.
            for (int j = 0; j < l0.Length; j++)
            {
                Vector<float> e = new(errors[(j * Lanes)..]);
                y0 += e * l0[j];
                y1 += e * l1[j];
                y2 += e * l2[j];
                y3 += e * l3[j];
            }

            cost += (new Vector<float>(errors[(i * Lanes)..]) * y0) + (new Vector<float>(errors[((i + 1) * Lanes)..]) * y1)
                + (new Vector<float>(errors[((i + 2) * Lanes)..]) * y2) + (new Vector<float>(errors[((i + 3) * Lanes)..]) * y3);
        }

        for (; i < count; i++)
        {
            Vector<float> y = Vector<float>.Zero;
            for (int j = 0; j <= i; j++) y += new Vector<float>(errors[(j * Lanes)..]) * lower[(i * width) + j];
            cost += new Vector<float>(errors[(i * Lanes)..]) * y;
        }

        return cost;
    }

    private void KeepBetter(
        ReadOnlySpan<float> weights, ReadOnlySpan<float> scale, ReadOnlySpan<float> zero,
        Span<float> best, Span<float> scales, Span<float> zeros) =>
        KeepBetter(weights, scale, zero, Largest, best, scales, zeros);

    /// <summary>The grid of each lane's range [low, high] that holds 0, shrunk towards 0.</summary>
    private void Candidates(ReadOnlySpan<float> low, ReadOnlySpan<float> high, float shrink, Span<float> scales, Span<float> zeros)
    {
        Vector<float> largest = new(Largest), share = new(shrink);
        for (int lane = 0; lane < Lanes; lane += Vector<float>.Count) ((new Vector<float>(high[lane..]) - new Vector<float>(low[lane..])) * share / largest).CopyTo(scales[lane..]);
        ToFloat16(scales);
        for (int lane = 0; lane < Lanes; lane += Vector<float>.Count)
        {
            Vector<float> zero = Vector.Round(-new Vector<float>(low[lane..]) * share / new Vector<float>(scales[lane..]));
            Vector.Min(Vector.Max(zero, Vector<float>.Zero), largest).CopyTo(zeros[lane..]);
        }
    }

    /// <summary>
    /// The grid of each lane's range symmetric about 0. There is one more step below the zero point than above it: a scale of the other sign gives that
    /// step to the positive side.
    /// </summary>
    private void SymmetricCandidates(ReadOnlySpan<float> low, ReadOnlySpan<float> high, float shrink, bool flipped, Span<float> scales, Span<float> zeros)
    {
        Vector<float> largest = new(Largest), share = new(shrink), two = new(2f);
        for (int lane = 0; lane < Lanes; lane += Vector<float>.Count)
        {
            (two * Vector.Max(-new Vector<float>(low[lane..]), new Vector<float>(high[lane..])) * share / largest).CopyTo(scales[lane..]);
        }

        ToFloat16(scales);
        if (flipped) TensorPrimitives.Negate(scales, scales);
        zeros.Fill((Largest + 1) / 2);
    }

    /// <summary>Replaces each lane's scale by the nearest float16 that is a usable one: positive and finite; 1 for a group of zeros.</summary>
    private static void ToFloat16(Span<float> scales)
    {
        Span<Half> half = stackalloc Half[Lanes];
        Span<float> rounded = stackalloc float[Lanes];
        TensorPrimitives.ConvertToHalf(scales, half);
        TensorPrimitives.ConvertToSingle(half, rounded);
        Vector<float> least = new((float)Half.Epsilon), most = new((float)Half.MaxValue);
        for (int lane = 0; lane < Lanes; lane += Vector<float>.Count)
        {
            Vector<int> isZero = Vector.Equals(new Vector<float>(scales[lane..]), Vector<float>.Zero);
            Vector.ConditionalSelect(isZero, Vector<float>.One, Vector.Min(Vector.Max(new Vector<float>(rounded[lane..]), least), most)).CopyTo(scales[lane..]);
        }
    }
}
