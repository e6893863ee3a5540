using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>Problems for the algorithms, the same in every run.</summary>
internal static partial class RandomData
{
    /// <summary>A weight [outputs, inputs] of float32 values.</summary>
    public static double[,] Weight(Random random, int outputs, int inputs)
    {
        float[] values = Normal(random, outputs * inputs);
        double[,] weight = new double[outputs, inputs];
        for (int i = 0; i < values.Length; i++) weight[i / inputs, i % inputs] = values[i] * 0.05f;
        return weight;
    }

    /// <summary><c>2 sum x x^T</c> of inputs that depend on each other, as float32 values.</summary>
    public static double[,] Hessian(Random random, int inputs, int tokens, int dead = -1)
    {
        double[,] hessian = new double[inputs, inputs];
        float[] mix = Normal(random, inputs * inputs);
        for (int t = 0; t < tokens; t++)
        {
            float[] source = Normal(random, inputs);
            double[] x = new double[inputs];
            for (int i = 0; i < inputs; i++)
            {
                if (i == dead) continue;
                x[i] = source[i] * (1 + (i % 7));
                for (int j = 0; j < inputs; j++) x[i] += 0.2 * mix[(i * inputs) + j] * source[j];
            }

            for (int i = 0; i < inputs; i++)
            {
                for (int j = 0; j < inputs; j++) hessian[i, j] += 2 * x[i] * x[j];
            }
        }

        for (int i = 0; i < inputs; i++)
        {
            for (int j = 0; j < inputs; j++) hessian[i, j] = (float)hessian[i, j];
        }

        return hessian;
    }

    public static torch.Tensor Tensor(double[,] values) =>
        torch.tensor(values.Cast<double>().Select(value => (float)value).ToArray()).view(values.GetLength(0), values.GetLength(1));
}
