using QuantBuild.Kernels;

namespace QuantBuild.Runtime.Tests.Kernels;

public sealed class ActivationTests
{
    public static TheoryData<ActivationKind> Kinds { get; } = [.. Enum.GetValues<ActivationKind>()];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void An_activation_is_what_its_definition_gives_in_float64(ActivationKind kind)
    {
        float[] values = [.. Enumerable.Range(-1200, 2401).Select(i => i / 100f)], actual = [.. values];
        Activation.Apply(kind, actual);
        for (int i = 0; i < values.Length; i++)
        {
            double x = values[i];
            double expected = kind switch
            {
                ActivationKind.Silu => x / (1 + Math.Exp(-x)),
                ActivationKind.Gelu => x * Normal(x),
                ActivationKind.GeluTanh => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))),
                ActivationKind.GeluSigmoid => x / (1 + Math.Exp(-1.702 * x)),
                ActivationKind.ReluSquared => Math.Pow(Math.Max(x, 0), 2),
                _ => Math.Max(x, 0),
            };
            Assert.Equal(expected, actual[i], 1e-6 * (1 + Math.Abs(x) + Math.Abs(expected)));
        }
    }

    /// <summary>The cumulative normal distribution, by Simpson's rule from far below.</summary>
    private static double Normal(double x)
    {
        const int steps = 2000;
        const double from = -14;
        double width = (x - from) / steps, sum = 0;
        for (int i = 0; i <= steps; i++)
        {
            double z = from + (i * width);
            sum += (i == 0 || i == steps ? 1 : i % 2 == 0 ? 2 : 4) * Math.Exp(-z * z / 2);
        }

        return sum * width / 3 / Math.Sqrt(2 * Math.PI);
    }
}
