using System.Buffers;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace QuantBuild.Kernels;

/// <summary>A weight W [outputs, inputs] in memory that it does not own, and its product with activations: <c>y = W x</c>.</summary>
/// <remarks>Inner loops are compiled with full optimization at once: the first text of a program would otherwise be generated in code ten times slower.</remarks>
internal abstract unsafe class WeightMatrix(int outputs, int inputs)
{
    /// <summary>A part of a product begins and ends at multiples of so many rows.</summary>
    public const int RowsAtOnce = PackedTiles.Rows;

    // Weight rows and activations of one step of the inner product of floats: 12 accumulators fit the 16 vector registers of AVX2.
    private const int StepRows = 4;
    private const int StepTokens = 3;

    public int Outputs { get; } = outputs;

    public int Inputs { get; } = inputs;

    /// <summary>Inputs of a row of activations with its padding.</summary>
    public int PaddedInputs { get; } = PackedTiles.PaddedInputs(inputs);

    /// <summary>What is added to the product, [outputs], if anything.</summary>
    public float[]? Bias { get; set; }

    /// <summary>What the product asks of its input.</summary>
    public abstract InputForm Form { get; }

    /// <summary>What it asks where activations stay in float32.</summary>
    public virtual InputForm FloatForm => Form with { SegmentInputs = 0 };

    /// <summary>Writes rows as float32: of each, <see cref="PaddedInputs"/> values in the order of the packed columns, the padding zero.</summary>
    /// <param name="first">The first row.</param>
    /// <param name="count">How many: 1, or up to <see cref="RowsAtOnce"/> from a multiple of it on.</param>
    /// <param name="weights">Receives them.</param>
    public abstract void ReadRows(int first, int count, float* weights);

    /// <summary>y[t, n] = W[n] x[t] + b[n] for all tokens and the rows from <paramref name="from"/> to before <paramref name="to"/>.</summary>
    /// <param name="x">Activations in the form that was asked for, or in float32.</param>
    /// <param name="from">The first row, a multiple of <see cref="RowsAtOnce"/>.</param>
    /// <param name="to">The row after the last: a multiple too, or the number of rows.</param>
    /// <param name="y">Receives the products: [tokens, outputs].</param>
    /// <param name="yStride">Floats from a token to the next.</param>
    public void Multiply(LinearInput x, int from, int to, float* y, long yStride)
    {
        if (x.Form.SegmentInputs > 0) MultiplyBytes(x, from, to, y, yStride);
        else MultiplyFloats(x.Floats, x.FloatStride, x.Tokens, from, to, y, yStride);
        if (Bias is null) return;
        for (int t = 0; t < x.Tokens; t++)
        {
            Span<float> products = new(y + (t * yStride) + from, to - from);
            TensorPrimitives.Add(products, Bias.AsSpan(from, to - from), products);
        }
    }

    /// <summary>The product with activations in bytes.</summary>
    protected abstract void MultiplyBytes(LinearInput x, int from, int to, float* y, long yStride);

    /// <summary>Makes some rows float once and uses them for every token.</summary>
    protected virtual void MultiplyFloats(float* x, long xStride, int tokens, int from, int to, float* y, long yStride)
    {
        float[] rented = ArrayPool<float>.Shared.Rent(RowsAtOnce * PaddedInputs);
        fixed (float* tile = rented)
        {
            for (int first = from; first < to; first += RowsAtOnce)
            {
                int rows = Math.Min(RowsAtOnce, to - first);
                ReadRows(first, rows, tile);
                for (int t = 0; t < tokens; t += StepTokens)
                {
                    int stepTokens = Math.Min(StepTokens, tokens - t);
                    for (int r = 0; r < rows; r += StepRows)
                    {
                        Step(
                            tile + ((long)r * PaddedInputs), Math.Min(StepRows, rows - r), x + (t * xStride), xStride, stepTokens,
                            y + (t * yStride) + first + r, yStride);
                    }
                }
            }
        }

        ArrayPool<float>.Shared.Return(rented);
    }

    /// <summary>
    /// Up to 4 rows times up to 3 tokens. Each product sums in the same order whatever the others are, so that a result does not depend on its place in a tile.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Step(float* w, int rows, float* x, long xStride, int tokens, float* y, long yStride)
    {
        if (rows == StepRows && tokens == StepTokens)
        {
            FullStep(w, x, xStride, y, yStride);
            return;
        }

        for (int t = 0; t < tokens; t++)
        {
            for (int r = 0; r < rows; r++)
            {
                float* weights = w + ((long)r * PaddedInputs);
                float* activations = x + (t * xStride);
                Vector256<float> sum = default;
                for (int k = 0; k < PaddedInputs; k += 8)
                {
                    sum = Vector256.MultiplyAddEstimate(Vector256.Load(weights + k), Vector256.Load(activations + k), sum);
                }

                y[(t * yStride) + r] = Vector256.Sum(sum);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void FullStep(float* w0, float* x0, long xStride, float* y, long yStride)
    {
        int count = PaddedInputs;
        float* w1 = w0 + count;
        float* w2 = w1 + count;
        float* w3 = w2 + count;
        float* x1 = x0 + xStride;
        float* x2 = x1 + xStride;
        Vector256<float> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector256<float> b0 = default, b1 = default, b2 = default, b3 = default;
        Vector256<float> c0 = default, c1 = default, c2 = default, c3 = default;
        for (int k = 0; k < count; k += 8)
        {
            Vector256<float> a = Vector256.Load(x0 + k);
            Vector256<float> b = Vector256.Load(x1 + k);
            Vector256<float> c = Vector256.Load(x2 + k);
            Vector256<float> w = Vector256.Load(w0 + k);
            a0 = Vector256.MultiplyAddEstimate(w, a, a0);
            b0 = Vector256.MultiplyAddEstimate(w, b, b0);
            c0 = Vector256.MultiplyAddEstimate(w, c, c0);
            w = Vector256.Load(w1 + k);
            a1 = Vector256.MultiplyAddEstimate(w, a, a1);
            b1 = Vector256.MultiplyAddEstimate(w, b, b1);
            c1 = Vector256.MultiplyAddEstimate(w, c, c1);
            w = Vector256.Load(w2 + k);
            a2 = Vector256.MultiplyAddEstimate(w, a, a2);
            b2 = Vector256.MultiplyAddEstimate(w, b, b2);
            c2 = Vector256.MultiplyAddEstimate(w, c, c2);
            w = Vector256.Load(w3 + k);
            a3 = Vector256.MultiplyAddEstimate(w, a, a3);
            b3 = Vector256.MultiplyAddEstimate(w, b, b3);
            c3 = Vector256.MultiplyAddEstimate(w, c, c3);
        }

        Store(y, a0, a1, a2, a3);
        Store(y + yStride, b0, b1, b2, b3);
        Store(y + (2 * yStride), c0, c1, c2, c3);
    }

    private static void Store(float* y, Vector256<float> v0, Vector256<float> v1, Vector256<float> v2, Vector256<float> v3)
    {
        y[0] = Vector256.Sum(v0);
        y[1] = Vector256.Sum(v1);
        y[2] = Vector256.Sum(v2);
        y[3] = Vector256.Sum(v3);
    }
}
