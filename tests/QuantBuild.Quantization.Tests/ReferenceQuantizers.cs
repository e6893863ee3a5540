namespace QuantBuild.Quantization.Tests;

/// <summary>
/// Round to nearest and GPTQ in float64, written straight from the equations of the paper (arXiv:2210.17323, algorithm 1) without blocks, tiles or
/// permuted factors: the inverse Hessian is kept whole, and a quantized column is eliminated from it by one step of Gaussian elimination.
/// </summary>
internal sealed class ReferenceQuantizers(int bits, bool symmetric, int groupSize)
{
    private readonly int largest = (1 << bits) - 1;

    /// <summary>The integers [N, K], each row's group grids, all in the order of quantization.</summary>
    public sealed record Result(int[,] Values, double[,] Scales, int[,] Zeros, int[] Order);

    /// <summary>Round to nearest on the grids of least error: in the weights, or in the outputs where a Hessian is given.</summary>
    public Result Rtn(double[,] weight, double[,]? hessian = null)
    {
        (int rows, int columns) = (weight.GetLength(0), weight.GetLength(1));
        Result result = Empty(rows, columns, [.. Enumerable.Range(0, columns)]);
        for (int n = 0; n < rows; n++)
        {
            for (int k = 0; k < columns; k++)
            {
                if (k % groupSize == 0) Fit(result, n, k, [.. Enumerable.Range(k, groupSize).Select(i => weight[n, i])], hessian);
                Round(result, n, k, weight[n, k]);
            }
        }

        return result;
    }

    /// <summary>The weights that a result of <see cref="Rtn"/> stands for.</summary>
    public double[,] Dequantize(Result result)
    {
        double[,] weight = new double[result.Values.GetLength(0), result.Values.GetLength(1)];
        for (int n = 0; n < weight.GetLength(0); n++)
        {
            for (int k = 0; k < weight.GetLength(1); k++) weight[n, k] = result.Scales[n, k / groupSize] * (result.Values[n, k] - result.Zeros[n, k / groupSize]);
        }

        return weight;
    }

    public Result Gptq(double[,] original, double[,] hessian, double damping, bool actOrder, bool staticGroups = false)
    {
        (int rows, int columns) = (original.GetLength(0), original.GetLength(1));
        int[] order = [.. Enumerable.Range(0, columns)];
        if (actOrder) order = [.. order.OrderByDescending(i => hessian[i, i])];
        double[,] h = new double[columns, columns];
        double[,] w = new double[rows, columns];
        for (int i = 0; i < columns; i++)
        {
            for (int j = 0; j < columns; j++) h[i, j] = hessian[order[i], order[j]];
            bool dead = h[i, i] == 0;
            if (dead) h[i, i] = 1;
            for (int n = 0; n < rows; n++) w[n, i] = dead ? 0 : original[n, order[i]];
        }

        double mean = Enumerable.Range(0, columns).Average(i => h[i, i]);
        for (int i = 0; i < columns; i++) h[i, i] += damping * mean;
        double[,] inverse = Invert(h);

        Result result = Empty(rows, columns, order);
        // Static groups are of neighbouring inputs, chosen before anything is quantized; values then stand at their inputs.
        for (int n = 0; n < (staticGroups ? rows : 0); n++)
        {
            for (int g = 0; g < columns; g += groupSize)
            {
                Fit(result, n, g, [.. Enumerable.Range(g, groupSize).Select(input => w[n, Array.IndexOf(order, input)])]);
            }
        }

        for (int q = 0; q < columns; q++)
        {
            for (int n = 0; n < rows; n++)
            {
                if (!staticGroups && q % groupSize == 0) Fit(result, n, q, [.. Enumerable.Range(q, groupSize).Select(i => w[n, i])]);
                // Equation 2: delta = -(w_q - quant(w_q)) / [H^-1]_qq * (H^-1)_:,q over the columns that are left.
                double error = (w[n, q] - Round(result, n, staticGroups ? order[q] : q, w[n, q])) / inverse[q, q];
                for (int k = q + 1; k < columns; k++) w[n, k] -= error * inverse[q, k];
            }

            // Equation 3: H^-1 without q.
            for (int i = q + 1; i < columns; i++)
            {
                for (int j = q + 1; j < columns; j++) inverse[i, j] -= inverse[i, q] * inverse[q, j] / inverse[q, q];
            }
        }

        return result;
    }

    private static double[,] Invert(double[,] matrix)
    {
        int n = matrix.GetLength(0);
        double[,] a = (double[,])matrix.Clone();
        double[,] inverse = new double[n, n];
        for (int i = 0; i < n; i++) inverse[i, i] = 1;
        for (int p = 0; p < n; p++)
        {
            double pivot = a[p, p];
            for (int j = 0; j < n; j++)
            {
                a[p, j] /= pivot;
                inverse[p, j] /= pivot;
            }

            for (int i = 0; i < n; i++)
            {
                double factor = a[i, p];
                if (i == p || factor == 0) continue;
                for (int j = 0; j < n; j++)
                {
                    a[i, j] -= factor * a[p, j];
                    inverse[i, j] -= factor * inverse[p, j];
                }
            }
        }

        return inverse;
    }

    private Result Empty(int rows, int columns, int[] order) =>
        new(new int[rows, columns], new double[rows, columns / groupSize], new int[rows, columns / groupSize], order);

    private double Round(Result result, int row, int column, double weight)
    {
        int group = column / groupSize;
        (double scale, int zero) = (result.Scales[row, group], result.Zeros[row, group]);
        int value = Quantize(weight, scale, zero);
        result.Values[row, column] = value;
        return scale * (value - zero);
    }

    private int Quantize(double weight, double scale, int zero) => (int)Math.Clamp(Math.Round(weight / scale) + zero, 0, largest);

    /// <summary>The grid of least squared error among the candidates that <see cref="AffineGrid"/> documents.</summary>
    private void Fit(Result result, int row, int column, double[] group, double[,]? hessian = null)
    {
        // Errors of one group, in blocks of 128 columns.
        double Cost(double[] errors) => hessian is null
            ? errors.Sum(e => e * e)
            : Enumerable.Range(0, errors.Length).Sum(i => Enumerable.Range(0, errors.Length).Where(j => i / 128 == j / 128)
                .Sum(j => errors[i] * hessian[column + i, column + j] * errors[j]));
        double low = Math.Min(0, group.Min()), high = Math.Max(0, group.Max());
        double best = double.PositiveInfinity;
        for (int step = 0; step <= AffineGrid.ShrinkSteps; step++)
        {
            double shrink = 1 - (AffineGrid.LargestShrink * (double)step / AffineGrid.ShrinkSteps);
            foreach ((double scale, int zero) in symmetric ? SymmetricGrids(low, high, shrink) : [Grid(low, high, shrink)])
            {
                double error = Cost([.. group.Select(w => w - (scale * (Quantize(w, scale, zero) - zero)))]);
                if (error >= best) continue;
                best = error;
                (result.Scales[row, column / groupSize], result.Zeros[row, column / groupSize]) = (scale, zero);
            }
        }
    }

    private (double Scale, int Zero) Grid(double low, double high, double shrink)
    {
        double scale = (double)(Half)((high - low) * shrink / largest);
        if (high == low) scale = 1;
        return (scale, (int)Math.Clamp(Math.Round(-low * shrink / scale), 0, largest));
    }

    private (double Scale, int Zero)[] SymmetricGrids(double low, double high, double shrink)
    {
        double scale = (double)(Half)(2 * Math.Max(-low, high) * shrink / largest);
        if (high == low) scale = 1;
        return [(scale, 1 << (bits - 1)), (-scale, 1 << (bits - 1))];
    }
}
