using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class ErrorCorrectionTests
{
    private const int Inputs = 24, Outputs = 10, Tokens = 4000;

    public ErrorCorrectionTests() => NativeLibraries.Load();

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void The_target_is_the_weight_of_least_squared_error_against_the_float_outputs(bool actOrder, bool adds)
    {
        Random random = new(3);
        double[,] x = Random(random, Tokens, Inputs), seen = Random(random, Tokens, Inputs, 0.3), weight = RandomData.Weight(random, Outputs, Inputs);
        double[,] lostBefore = Random(random, Tokens, Outputs, 0.1);
        for (int t = 0; t < Tokens; t++)
        {
            for (int k = 0; k < Inputs; k++) seen[t, k] += x[t, k] * (1 + (k % 5));
        }

        using DisposeScope scope = torch.NewDisposeScope();
        using ErrorCorrection correction = adds ? ErrorCorrection.OfOutputs(Outputs, Inputs, torch.CPU) : ErrorCorrection.OfInputs(Inputs, torch.CPU);
        using Hessian hessian = new(Inputs, torch.CPU);
        torch.Tensor input = RandomData.Tensor(seen);
        hessian.Add(input);
        torch.Tensor missing = RandomData.Tensor(x).Minus(input);
        correction.Add(adds ? missing.matmul(RandomData.Tensor(weight).t()).Plus(RandomData.Tensor(lostBefore)) : missing, input);
        QuantizationSpec spec = new() { ActOrder = actOrder, Damping = 0.01 };
        using InverseFactor factor = InverseFactor.Create(hessian.Matrix, spec, "test");
        // As two devices ask for it: some rows each.
        torch.Tensor whole = RandomData.Tensor(weight);
        float[] actual = [.. new RowRange[] { new(0, 4), new(4, Outputs - 4) }.SelectMany(rows => correction.Target(whole.narrow(0, rows.First, rows.Count), rows.First, factor).data<float>().ToArray())];

        // The normal equations of sum ||W x + r - W* x'||^2 + damping ||W* - W||^2, solved as they stand; then a step towards the solution that 4,000 tokens deserve.
        double[,] normal = new double[Inputs, Inputs], right = new double[Inputs, Outputs];
        for (int t = 0; t < Tokens; t++)
        {
            for (int i = 0; i < Inputs; i++)
            {
                for (int j = 0; j < Inputs; j++) normal[i, j] += seen[t, i] * seen[t, j];
                for (int n = 0; n < Outputs; n++)
                {
                    double lost = adds ? lostBefore[t, n] : 0;
                    for (int k = 0; k < Inputs; k++) lost += weight[n, k] * (x[t, k] - seen[t, k]);
                    right[i, n] += seen[t, i] * lost;
                }
            }
        }

        double mean = Enumerable.Range(0, Inputs).Average(i => normal[i, i]);
        for (int i = 0; i < Inputs; i++) normal[i, i] += 0.01 * mean;
        double[,] change = Solve(normal, right);
        const double trust = Tokens / (Tokens + (10.0 * Inputs));
        for (int n = 0; n < Outputs; n++)
        {
            for (int k = 0; k < Inputs; k++) Assert.Equal(weight[n, k] + (trust * change[k, n]), actual[(n * Inputs) + k], 2e-4);
        }
    }

    private static double[,] Random(Random random, int rows, int columns, double scale = 1)
    {
        float[] values = RandomData.Normal(random, rows * columns);
        double[,] matrix = new double[rows, columns];
        for (int i = 0; i < values.Length; i++) matrix[i / columns, i % columns] = (float)(values[i] * scale);
        return matrix;
    }

    /// <summary>Gaussian elimination of a positive definite matrix.</summary>
    private static double[,] Solve(double[,] matrix, double[,] right)
    {
        int size = matrix.GetLength(0), columns = right.GetLength(1);
        for (int p = 0; p < size; p++)
        {
            for (int i = 0; i < size; i++)
            {
                if (i == p) continue;
                double factor = matrix[i, p] / matrix[p, p];
                for (int j = p; j < size; j++) matrix[i, j] -= factor * matrix[p, j];
                for (int j = 0; j < columns; j++) right[i, j] -= factor * right[p, j];
            }
        }

        for (int i = 0; i < size; i++)
        {
            for (int j = 0; j < columns; j++) right[i, j] /= matrix[i, i];
        }

        return right;
    }
}
