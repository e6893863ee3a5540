using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class TriangularTests
{
    public TriangularTests() => NativeLibraries.Load();

    [Theory]
    [InlineData(1)]
    [InlineData(255)]
    [InlineData(256)]
    [InlineData(300)]
    [InlineData(600)]
    public void The_factor_times_its_transpose_is_the_matrix_and_the_inverse_undoes_it(int size)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor source = torch.tensor(RandomData.Normal(new Random(size), size * (size + 50))).view(size, size + 50);
        torch.Tensor matrix = source.mm(source.t()), factor = matrix.clone();
        Assert.True(Triangular.FactorUpper(factor));
        Triangular.ClearLower(factor);
        Assert.Equal(0, factor.tril(-1).abs().max().data<float>()[0]);
        Near(matrix, factor.to(torch.float64).mm(factor.to(torch.float64).t()), 1e-5);

        torch.Tensor inverse = factor.clone();
        Triangular.InvertUpper(inverse);
        Assert.Equal(0, inverse.tril(-1).abs().max().data<float>()[0]);
        Near(torch.eye(size), inverse.to(torch.float64).mm(factor.to(torch.float64)), 1e-3);
    }

    [Fact]
    public void A_matrix_that_is_not_positive_definite_has_no_factor()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor matrix = torch.eye(300);
        matrix[7, 7].zero_();
        Assert.False(Triangular.FactorUpper(matrix));
    }

    [Theory]
    [InlineData(200)]
    [InlineData(700)]
    public void A_matrix_that_was_factored_and_inverted_in_its_place_can_be_had_back(int size)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor source = torch.tensor(RandomData.Normal(new Random(size), size * (size + 50))).view(size, size + 50);
        torch.Tensor matrix = source.mm(source.t()), inPlace = matrix.tril().Plus(matrix.tril(-1).t()), symmetric = inPlace.clone();
        torch.Tensor[] diagonal = Triangular.Diagonal(inPlace);
        Assert.True(Triangular.FactorUpper(inPlace));
        Triangular.InvertUpper(inPlace);
        Assert.NotEqual(symmetric.data<float>().ToArray(), inPlace.data<float>().ToArray());
        Triangular.Restore(inPlace, diagonal);
        Assert.Equal(symmetric.data<float>().ToArray(), inPlace.data<float>().ToArray());
    }

    [Fact]
    public void Rows_and_columns_come_into_an_order()
    {
        const int size = 600;
        using DisposeScope scope = torch.NewDisposeScope();
        float[] values = RandomData.Normal(new Random(1), size * size);
        int[] order = [.. Enumerable.Range(0, size)];
        new Random(2).Shuffle(order);
        torch.Tensor matrix = torch.tensor(values).view(size, size);
        Triangular.Permute(matrix, torch.tensor(order, torch.int64));
        float[] actual = matrix.data<float>().ToArray();
        for (int i = 0; i < actual.Length; i++) Assert.Equal(values[(order[i / size] * size) + order[i % size]], actual[i]);
    }

    /// <summary>Whether the largest difference is small against the largest value.</summary>
    private static void Near(torch.Tensor expected, torch.Tensor actual, double tolerance)
    {
        double largest = expected.abs().max().to(torch.float64).data<double>()[0];
        double difference = actual.Plus(expected.to(torch.float64).neg()).abs().max().data<double>()[0];
        Assert.InRange(difference, 0, tolerance * largest);
    }
}
