using System.Numerics.Tensors;

namespace QuantBuild.Kernels;

/// <summary>The activations of MLPs, in place.</summary>
internal static class Activation
{
    // Numbers at a time, so that what is made of them stays in the nearest cache.
    private const int Piece = 256;

    /// <summary>Replaces each number by the activation of it.</summary>
    public static void Apply(ActivationKind kind, Span<float> values)
    {
        switch (kind)
        {
            case ActivationKind.Silu:
                for (int i = 0; i < values.Length; i++) values[i] /= 1 + MathF.Exp(-values[i]);
                break;
            case ActivationKind.Gelu:
                for (int i = 0; i < values.Length; i++) values[i] *= Normal(values[i]);
                break;
            case ActivationKind.GeluTanh:
                GeluTanh(values);
                break;
            case ActivationKind.GeluSigmoid:
                GeluSigmoid(values);
                break;
            case ActivationKind.ReluSquared:
                TensorPrimitives.Max(values, 0, values);
                TensorPrimitives.Multiply(values, values, values);
                break;
            default:
                TensorPrimitives.Max(values, 0, values);
                break;
        }
    }

    /// <summary><c>x sigmoid(1.702 x)</c>.</summary>
    private static void GeluSigmoid(Span<float> values)
    {
        Span<float> inner = stackalloc float[Piece];
        for (; values.Length > 0; values = values[Math.Min(Piece, values.Length)..])
        {
            Span<float> x = values[..Math.Min(Piece, values.Length)], u = inner[..x.Length];
            TensorPrimitives.Multiply(x, 1.702f, u);
            TensorPrimitives.Sigmoid(u, u);
            TensorPrimitives.Multiply(x, u, x);
        }
    }

    /// <summary><c>x / 2 (1 + tanh u) = x sigmoid(2u)</c> with <c>u = sqrt(2 / pi) (x + 0.044715 x^3)</c>.</summary>
    private static void GeluTanh(Span<float> values)
    {
        const float root = 1.5957691216f;
        Span<float> inner = stackalloc float[Piece];
        for (; values.Length > 0; values = values[Math.Min(Piece, values.Length)..])
        {
            Span<float> x = values[..Math.Min(Piece, values.Length)], u = inner[..x.Length];
            TensorPrimitives.Multiply(x, x, u);
            TensorPrimitives.Multiply(u, 0.044715f * root, u);
            TensorPrimitives.Add(u, root, u);
            TensorPrimitives.Multiply(u, x, u);
            TensorPrimitives.Sigmoid(u, u);
            TensorPrimitives.Multiply(x, u, x);
        }
    }

    /// <summary>The cumulative normal distribution, <c>(1 + erf(x / sqrt 2)) / 2</c>, to 1e-7.</summary>
    private static float Normal(float x)
    {
        // erfc(z) = t exp(-z^2 + P(t)) with t = 1 / (1 + z / 2), whose relative error is below 1.2e-7 (Press et al., Numerical Recipes, 6.2).
        double z = Math.Abs(x) / Math.Sqrt(2), t = 1 / (1 + (0.5 * z));
        double p = -1.26551223 + (t * (1.00002368 + (t * (0.37409196 + (t * (0.09678418 + (t * (-0.18628806 + (t * (0.27886807
            + (t * (-1.13520398 + (t * (1.48851587 + (t * (-0.82215223 + (t * 0.17087277)))))))))))))))));
        double tail = 0.5 * t * Math.Exp((-z * z) + p);
        return (float)(x < 0 ? tail : 1 - tail);
    }
}
