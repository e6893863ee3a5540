using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class GptqTests
{
    private const int Outputs = 64, Inputs = 96;

    public GptqTests() => NativeLibraries.Load();

    public static TheoryData<int, bool, bool, int> Problems()
    {
        TheoryData<int, bool, bool, int> problems = [];
        foreach (bool symmetric in new[] { false, true })
        {
            foreach (bool actOrder in new[] { false, true })
            {
                foreach (int groupSize in new[] { 16, 32, QuantizationSpec.PerChannel })
                {
                    foreach (int bits in new[] { 2, 3, 4 }) problems.Add(bits, symmetric, actOrder, groupSize);
                }
            }
        }

        return problems;
    }

    [Theory]
    [MemberData(nameof(Problems))]
    public void It_chooses_the_integers_of_the_papers_equations_in_float64(int bits, bool symmetric, bool actOrder, int groupSize)
    {
        Random random = new(13);
        double[,] weight = RandomData.Weight(random, Outputs, Inputs);
        double[,] hessian = RandomData.Hessian(random, Inputs, tokens: 400, dead: 17);
        QuantizationSpec spec = new() { Bits = bits, Symmetric = symmetric, ActOrder = actOrder, GroupSize = groupSize, Damping = 0.01 };
        ReferenceQuantizers.Result expected =
            new ReferenceQuantizers(bits, symmetric, groupSize < 0 ? Inputs : groupSize).Gptq(weight, hessian, spec.Damping, actOrder);

        using torch.Tensor matrix = RandomData.Tensor(hessian), tensor = RandomData.Tensor(weight);
        using InverseFactor factor = InverseFactor.Create(matrix, spec, "test");
        AffineLinear actual = Gptq.Quantize(tensor, factor, spec);

        AssertSame(expected, actual);
        Assert.Equal(actOrder ? expected.Order : null, actual.Order);
    }

    [Theory]
    [InlineData(2, false)]
    [InlineData(3, false)]
    [InlineData(4, true)]
    public void Static_groups_are_of_neighbouring_inputs_and_chosen_before_the_first_column(int bits, bool symmetric)
    {
        Random random = new(14);
        double[,] weight = RandomData.Weight(random, Outputs, Inputs);
        double[,] hessian = RandomData.Hessian(random, Inputs, tokens: 400, dead: 17);
        QuantizationSpec spec = new() { Bits = bits, Symmetric = symmetric, StaticGroups = true, GroupSize = 32, Damping = 0.01 };
        ReferenceQuantizers.Result expected = new ReferenceQuantizers(bits, symmetric, 32).Gptq(weight, hessian, 0.01, actOrder: true, staticGroups: true);

        using torch.Tensor matrix = RandomData.Tensor(hessian), tensor = RandomData.Tensor(weight);
        using InverseFactor factor = InverseFactor.Create(matrix, spec, "test");
        AffineLinear actual = Gptq.Quantize(tensor, factor, spec);

        AssertSame(expected, actual);
        Assert.Null(actual.Order);
    }

    [Theory]
    [InlineData(48)]
    [InlineData(192)]
    [InlineData(128)]
    [InlineData(QuantizationSpec.PerChannel)]
    public void Groups_that_fit_no_block_and_rows_that_fill_no_tile_make_no_difference(int groupSize)
    {
        const int inputs = 384;
        Random random = new(6);
        double[,] weight = RandomData.Weight(random, 5, inputs);
        double[,] hessian = RandomData.Hessian(random, inputs, tokens: 500);
        QuantizationSpec spec = new() { Bits = 3, ActOrder = true, GroupSize = groupSize, Damping = 0.05 };
        ReferenceQuantizers.Result expected = new ReferenceQuantizers(3, false, groupSize < 0 ? inputs : groupSize).Gptq(weight, hessian, 0.05, true);

        using torch.Tensor matrix = RandomData.Tensor(hessian), tensor = RandomData.Tensor(weight);
        using InverseFactor factor = InverseFactor.Create(matrix, spec, "test");
        AffineLinear actual = Gptq.Quantize(tensor, factor, spec);

        // Float32 over 384 columns: a weight that lies between two integers to the last digit may go the other way, and what follows in its row with it.
        int different = Enumerable.Range(0, 5 * inputs).Count(i => expected.Values[i / inputs, i % inputs] != actual.Values[i]);
        Assert.InRange(different, 0, 5 * inputs / 100);
    }

    [Fact]
    public void An_error_that_overflows_is_QB3006_and_no_silent_zero()
    {
        Random random = new(9);
        double[,] weight = RandomData.Weight(random, Outputs, Inputs);
        weight[3, 5] = 3e38;
        using torch.Tensor matrix = RandomData.Tensor(RandomData.Hessian(random, Inputs, tokens: 400)), tensor = RandomData.Tensor(weight);
        QuantizationSpec spec = new() { GroupSize = 32 };
        using InverseFactor factor = InverseFactor.Create(matrix, spec, "model.layers.2.mlp.up_proj");
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => Gptq.Quantize(tensor, factor, spec));
        Assert.Equal(DiagnosticIds.NonFinite, error.Id);
        Assert.Contains("model.layers.2.mlp.up_proj", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_dead_column_becomes_zero()
    {
        Random random = new(7);
        double[,] hessian = RandomData.Hessian(random, Inputs, tokens: 400, dead: 17);
        using torch.Tensor matrix = RandomData.Tensor(hessian), tensor = RandomData.Tensor(RandomData.Weight(random, Outputs, Inputs));
        QuantizationSpec spec = new() { Bits = 4, GroupSize = 32 };
        using InverseFactor factor = InverseFactor.Create(matrix, spec, "test");
        using torch.Tensor dequantized = Gptq.Quantize(tensor, factor, spec).Dequantize(torch.CPU);
        float[] weights = dequantized.data<float>().ToArray();
        for (int row = 0; row < Outputs; row++) Assert.Equal(0f, weights[(row * Inputs) + 17]);
    }

    [Fact]
    public void Its_output_error_is_smaller_than_that_of_rounding()
    {
        Random random = new(8);
        double[,] weight = RandomData.Weight(random, Outputs, Inputs);
        double[,] hessian = RandomData.Hessian(random, Inputs, tokens: 400);
        using torch.Tensor matrix = RandomData.Tensor(hessian), tensor = RandomData.Tensor(weight);
        QuantizationSpec spec = new() { Bits = 3, GroupSize = 32 };
        using InverseFactor factor = InverseFactor.Create(matrix, spec, "test");
        double Error(AffineLinear linear)
        {
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor difference = linear.Dequantize(torch.CPU).Plus(tensor.neg());
            return difference.mm(matrix).mul(difference).sum().data<float>()[0];
        }

        Assert.True(Error(Gptq.Quantize(tensor, factor, spec)) < 0.6 * Error(Rtn.Quantize(tensor, spec)));
    }

    internal static void AssertSame(ReferenceQuantizers.Result expected, AffineLinear actual)
    {
        for (int n = 0; n < actual.Outputs; n++)
        {
            for (int g = 0; g < actual.Groups; g++)
            {
                // A range in float32 can round to the float16 beside that of the range in float64.
                double scale = expected.Scales[n, g];
                Assert.Equal(scale, (double)actual.Scales[(n * actual.Groups) + g], Math.Abs(scale) / 1024);
                Assert.Equal(expected.Zeros[n, g], actual.Zeros[(n * actual.Groups) + g]);
            }

            for (int k = 0; k < actual.Inputs; k++) Assert.Equal(expected.Values[n, k], actual.Values[(n * actual.Inputs) + k]);
        }
    }
}
