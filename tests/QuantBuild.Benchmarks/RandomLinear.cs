using QuantBuild.Quantization;
using TorchSharp;

namespace QuantBuild.Benchmarks;

/// <summary>A linear and its inputs as trained models have them: a few columns that matter more, and inputs that go together.</summary>
static class RandomLinear
{
    private const int SalientEvery = 256;
    private const int Directions = 256;

    /// <summary>Normal of standard deviation 0.02, four times that in one column of 256, float32 [outputs, inputs].</summary>
    public static torch.Tensor Weight(int outputs, int inputs)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        float[] deviations = [.. Enumerable.Range(0, inputs).Select(column => column % SalientEvery == 0 ? 0.08f : 0.02f)];
        return torch.randn(outputs, inputs).mul(torch.tensor(deviations)).DetachFromDisposeScope();
    }

    /// <summary>Of tokens that mix a number of common directions with noise, channels of unlike size, float32 [inputs, inputs].</summary>
    public static torch.Tensor Hessian(int inputs, int tokens)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor directions = torch.randn(Directions, inputs).mul(torch.tensor(1 / MathF.Sqrt(Directions)));
        // Log-normal: the largest channels are some thirty times the usual one.
        torch.Tensor sizes = torch.randn(inputs).exp();
        using Hessian hessian = new(inputs, torch.CPU);
        for (int batch = 0; batch < tokens; batch += 1024)
        {
            using DisposeScope step = torch.NewDisposeScope();
            torch.Tensor common = torch.randn(1024, Directions).mm(directions);
            hessian.Add(torch.randn(1024, inputs).add_(common, One).mul(sizes));
        }

        return hessian.Matrix.clone().MoveToOuterDisposeScope();
    }

    private static readonly Scalar One = 1f;
}
