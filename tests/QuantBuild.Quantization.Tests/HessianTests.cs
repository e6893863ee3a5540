using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class HessianTests
{
    public HessianTests() => NativeLibraries.Load();

    [Fact]
    public void It_is_twice_the_sum_of_outer_products_over_all_batches()
    {
        Random random = new(1);
        float[][] tokens = [.. Enumerable.Range(0, 300).Select(_ => RandomData.Normal(random, 20))];
        double[,] expected = new double[20, 20];
        foreach (float[] x in tokens)
        {
            for (int i = 0; i < 20; i++)
            {
                for (int j = 0; j < 20; j++) expected[i, j] += 2.0 * x[i] * x[j];
            }
        }

        using Hessian hessian = new(20, torch.CPU);
        foreach (float[][] batch in tokens.Chunk(100))
        {
            using torch.Tensor input = torch.tensor(batch.SelectMany(x => x).ToArray()).view(2, 50, 20);
            hessian.Add(input);
        }

        float[] actual = hessian.Matrix.data<float>().ToArray();
        for (int i = 0; i < 400; i++) Assert.Equal(expected[i / 20, i % 20], actual[i], 2e-3);
    }

    [Fact]
    public void In_one_step_as_on_a_GPU_it_is_the_same_but_for_the_order_of_its_sums()
    {
        using torch.Tensor input = torch.tensor(RandomData.Normal(new Random(3), 200 * 300)).view(200, 300);
        using Hessian tiles = new(300, torch.CPU, tile: 64), whole = new(300, torch.CPU, tile: 300);
        tiles.Add(input);
        whole.Add(input);
        Assert.Equal(tiles.Matrix.data<float>().ToArray(), whole.Matrix.data<float>().ToArray(), (a, b) => Math.Abs(a - b) < 1e-3);
    }

    [Fact]
    public void The_factor_squared_is_the_inverse_of_the_damped_Hessian()
    {
        double[,] hessian = RandomData.Hessian(new Random(2), 24, tokens: 100);
        QuantizationSpec spec = new() { ActOrder = true, Damping = 0.02 };
        using torch.Tensor matrix = RandomData.Tensor(hessian);
        using InverseFactor factor = InverseFactor.Create(matrix, spec, "test");
        double mean = Enumerable.Range(0, 24).Average(i => hessian[i, i]);
        float[] u = factor.Upper.data<float>().ToArray();
        // (H + d) * U^T U = I, with H in the factor's order.
        for (int i = 0; i < 24; i++)
        {
            for (int j = 0; j < 24; j++)
            {
                double sum = 0;
                for (int k = 0; k < 24; k++)
                {
                    double inverse = 0;
                    for (int m = 0; m < 24; m++) inverse += (double)u[(m * 24) + k] * u[(m * 24) + j];
                    double h = hessian[factor.Order![i], factor.Order[k]] + (i == k ? 0.02 * mean : 0);
                    sum += h * inverse;
                }

                Assert.Equal(i == j ? 1 : 0, sum, 1e-3);
            }
        }

        double[] diagonal = [.. factor.Order!.Select(i => hessian[i, i])];
        Assert.Equal(diagonal.OrderDescending(), diagonal);
    }

    [Fact]
    public void Damping_grows_until_the_Hessian_can_be_factored()
    {
        // Eigenvalues 2.05 and -0.05: a fraction of the mean diagonal of 1 beyond 0.05 is needed.
        using torch.Tensor matrix = RandomData.Tensor(new double[,] { { 1, 1.05 }, { 1.05, 1 } });
        using InverseFactor factor = InverseFactor.Create(matrix, new QuantizationSpec { ActOrder = false, Damping = 0.01 }, "test");
        Assert.Equal(0.1, factor.Damping, 1e-12);
    }

    [Fact]
    public void A_damping_that_was_too_small_leaves_no_trace_in_the_factor()
    {
        // 700 columns are several blocks; all eigenvalues but one are 0 or, by rounding, a little less.
        const int size = 700;
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor ones = torch.tensor(RandomData.Normal(new Random(4), size)).view(size, 1), matrix = ones.mm(ones.t());
        using InverseFactor found = InverseFactor.Create(matrix, new QuantizationSpec { Damping = 1e-9 }, "test");
        Assert.InRange(found.Damping, 1e-8, 1e-3);
        using InverseFactor direct = InverseFactor.Create(matrix, new QuantizationSpec { Damping = found.Damping }, "test");
        Assert.Equal(found.Damping, direct.Damping);
        Assert.Equal(direct.Upper.data<float>().ToArray(), found.Upper.data<float>().ToArray());
    }

    [Fact]
    public void A_Hessian_that_no_damping_helps_is_QB3007_and_names_the_linear()
    {
        using torch.Tensor matrix = RandomData.Tensor(new double[,] { { 1, 9 }, { 9, 1 } });
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => InverseFactor.Create(matrix, new QuantizationSpec(), "layers.3.q_proj"));
        Assert.Equal(DiagnosticIds.HessianSingular, error.Id);
        Assert.Contains("layers.3.q_proj", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_Hessian_that_is_not_finite_is_QB3006_and_names_the_linear()
    {
        using torch.Tensor matrix = RandomData.Tensor(new double[,] { { 1, 0 }, { 0, double.NaN } });
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => InverseFactor.Create(matrix, new QuantizationSpec(), "layers.3.q_proj"));
        Assert.Equal(DiagnosticIds.NonFinite, error.Id);
        Assert.Contains("layers.3.q_proj", error.Message, StringComparison.Ordinal);
    }
}
