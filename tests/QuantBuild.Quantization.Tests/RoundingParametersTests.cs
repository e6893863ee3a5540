using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>The quantizer that learned rounding trains, forward and backward.</summary>
public sealed class RoundingParametersTests
{
    private const int Outputs = 12, Inputs = 64, GroupSize = 16;

    public RoundingParametersTests() => NativeLibraries.Load();

    [Theory]
    [InlineData(2, false)]
    [InlineData(2, true)]
    [InlineData(3, false)]
    [InlineData(4, true)]
    public void Steps_are_those_of_scalar_arithmetic_in_float64(int bits, bool symmetric)
    {
        const int steps = 20;
        const double size = 0.05;
        Random random = new(5);
        double[,] weight = RandomData.Weight(random, Outputs, Inputs);
        using torch.Tensor target = RandomData.Tensor(weight);
        AffineLinear start = Start(target, bits, symmetric);
        double[] scales = [.. start.Scales.Select(scale => (double)scale)], first = [.. scales], factors = [.. scales.Select(_ => 1.0)];
        double[] zeros = [.. start.Zeros.Select(zero => (double)zero)];
        double[] positions = [.. weight.Cast<double>().Select((w, i) =>
            Math.Clamp((w / scales[i / GroupSize]) + zeros[i / GroupSize], start.Values[i] - 0.49, start.Values[i] + 0.49))];
        (double[] Mean, double[] Square) ofPositions = (new double[positions.Length], new double[positions.Length]);
        (double[] Mean, double[] Square) ofFactors = (new double[factors.Length], new double[factors.Length]);

        using RoundingParameters actual = new(target, start);
        for (int step = 1; step <= steps; step++)
        {
            float[] gradient = RandomData.Normal(random, Outputs * Inputs);
            using torch.Tensor tensor = torch.tensor(gradient).view(Outputs, Inputs);
            actual.Step(tensor, (float)size);

            double[] values = [.. positions.Select(position => Math.Round(position))];
            for (int g = 0; g < factors.Length; g++)
            {
                double sum = 0;
                for (int i = g * GroupSize; i < (g + 1) * GroupSize; i++)
                {
                    sum += gradient[i] * (values[i] - zeros[g]) * first[g];
                    positions[i] = Math.Clamp(positions[i] - Adam(ofPositions, i, gradient[i] * scales[g], step), -0.49, (1 << bits) - 1 + 0.49);
                }

                factors[g] = Math.Clamp(factors[g] - Adam(ofFactors, g, sum, step), 0.5, 1.5);
                scales[g] = (double)(Half)(first[g] * factors[g]);
            }
        }

        float[] trained = actual.Weight.data<float>().ToArray();
        for (int i = 0; i < trained.Length; i++)
        {
            int g = i / GroupSize;
            // A position that float32 cannot tell from the middle of two integers may go either way.
            if (Math.Abs(positions[i] - Math.Floor(positions[i]) - 0.5) < 1e-4) continue;
            Assert.Equal(scales[g] * (Math.Round(positions[i]) - zeros[g]), trained[i], Math.Abs(scales[g]) * 5e-3);
        }

        double Adam((double[] Mean, double[] Square) memory, int index, double gradient, int step)
        {
            memory.Mean[index] = (0.9 * memory.Mean[index]) + (0.1 * gradient);
            memory.Square[index] = (0.99 * memory.Square[index]) + (0.01 * gradient * gradient);
            return size * memory.Mean[index] / (1 - Math.Pow(0.9, step)) / Math.Sqrt(memory.Square[index] / (1 - Math.Pow(0.99, step)));
        }
    }

    [Fact]
    public void A_scale_goes_against_the_finite_difference_of_the_error()
    {
        const float size = 0.05f;
        Random random = new(6);
        using torch.Tensor target = RandomData.Tensor(RandomData.Weight(random, Outputs, Inputs));
        AffineLinear start = Start(target, bits: 2, symmetric: false);
        double[] scales = [.. start.Scales.Select(scale => (double)scale)];
        byte[] values = [.. start.Values], zeros = [.. start.Zeros];
        float[] wanted = target.data<float>().ToArray();
        double Error(int group, double factor) => Enumerable.Range(group * GroupSize, GroupSize)
            .Sum(i => Math.Pow((scales[group] * factor * (values[i] - zeros[group])) - wanted[i], 2));

        using RoundingParameters parameters = new(target, start);
        using torch.Tensor gradient = parameters.Weight.Minus(target);
        parameters.Step(gradient, size);
        for (int g = 0; g < scales.Length; g++)
        {
            double slope = (Error(g, 1 + 1e-6) - Error(g, 1 - 1e-6)) / 2e-6;
            Assert.Equal(scales[g] * (1 - (size * Math.Sign(slope))), (double)parameters.Linear.Scales[g], Math.Abs(scales[g]) * 1e-3);
        }
    }

    [Theory]
    [InlineData(2, false)]
    [InlineData(3, true)]
    public void What_is_stored_dequantizes_to_what_was_trained_to_the_bit(int bits, bool symmetric)
    {
        Random random = new(7);
        using torch.Tensor target = RandomData.Tensor(RandomData.Weight(random, Outputs, Inputs));
        using RoundingParameters parameters = new(target, Start(target, bits, symmetric));
        for (int step = 0; step < 30; step++)
        {
            using torch.Tensor gradient = torch.tensor(RandomData.Normal(random, Outputs * Inputs)).view(Outputs, Inputs);
            parameters.Step(gradient, 0.1f);
        }

        using torch.Tensor stored = parameters.Linear.Dequantize(torch.CPU);
        Assert.Equal(parameters.Weight.data<float>().ToArray(), stored.data<float>().ToArray());
        Assert.All(parameters.Linear.Values, value => Assert.InRange(value, 0, (1 << bits) - 1));
    }

    [Fact]
    public void It_begins_with_the_values_that_it_is_given()
    {
        using torch.Tensor target = RandomData.Tensor(RandomData.Weight(new Random(8), Outputs, Inputs)), other = target.neg();
        AffineLinear start = Start(target, bits: 3, symmetric: false);
        byte[] values = [.. start.Values];
        using RoundingParameters parameters = new(other, start);
        Assert.Equal(values, parameters.Linear.Values);
    }

    private static AffineLinear Start(torch.Tensor weight, int bits, bool symmetric) =>
        Rtn.Quantize(weight, new QuantizationSpec { Bits = bits, Symmetric = symmetric, GroupSize = GroupSize });
}
