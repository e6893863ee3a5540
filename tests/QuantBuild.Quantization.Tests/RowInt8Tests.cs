using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class RowInt8Tests
{
    private static readonly Int8RowOutlierFormat Format = new(6);

    public RowInt8Tests() => NativeLibraries.Load();

    [Fact]
    public void A_row_worked_out_by_hand()
    {
        // 127 / 2 = 63.5: 1 -> 63.5, a tie, to the even 64; 0.5 -> 31.75; -2 -> -127. 0.1 is 0.0999756 in float16, -> 6.348.
        // 3 in float16's second row is exact; 127 / 127 = 1 there: 2.5 is a tie, to the even 2.
        using torch.Tensor weight = torch.tensor(new[] { 1f, 0.5f, -2f, 0.1f, 127f, 2.5f, 3f, 0f, 0f, 0f, 0f, 0f }).view(3, 4);
        Int8Linear linear = RowInt8.Quantize(weight, Format, "w");
        Assert.Equal(new sbyte[] { 64, 32, -127, 6, 127, 2, 3, 0, 0, 0, 0, 0 }, linear.Values);
        Assert.Equal([2f, 127f, 0f], linear.Absmax);
    }

    [Fact]
    public void Weights_are_rounded_to_float16_first()
    {
        // 1.4996 is 1.5 in float16's neighbourhood: 1.4990234 or 1.5; times 127 / 127 it is on the other side of 1.5 than in float32.
        using torch.Tensor weight = torch.tensor(new[] { 127f, 3.4996f }).view(1, 2);
        Assert.Equal(new sbyte[] { 127, 4 }, RowInt8.Quantize(weight, Format, "w").Values);
    }

    [Fact]
    public void Rows_are_as_a_straight_line_float64_implementation_has_them()
    {
        double[,] weight = RandomData.Weight(new Random(6), 20, 77);
        using torch.Tensor tensor = RandomData.Tensor(weight);
        Int8Linear linear = RowInt8.Quantize(tensor, Format, "w");
        using torch.Tensor dequantized = linear.Dequantize(torch.CPU);
        float[] actual = dequantized.data<float>().ToArray();
        for (int n = 0; n < 20; n++)
        {
            double[] row = [.. Enumerable.Range(0, 77).Select(k => (double)(Half)weight[n, k])];
            double absmax = row.Max(Math.Abs);
            Assert.Equal(absmax, linear.Absmax[n]);
            for (int k = 0; k < 77; k++)
            {
                double exact = row[k] * 127 / absmax;
                Assert.InRange(Math.Abs(exact - linear.Values[(n * 77) + k]), 0, 0.50001);
                Assert.Equal(linear.Values[(n * 77) + k] * absmax / 127, actual[(n * 77) + k], 1e-6 * absmax);
            }
        }
    }

    [Fact]
    public void A_weight_too_large_for_float16_is_QB3006_by_name()
    {
        using torch.Tensor weight = torch.tensor(new[] { 1f, 70000f }).view(1, 2);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => RowInt8.Quantize(weight, Format, "model.layers.0.mlp.up_proj.weight"));
        Assert.Equal(DiagnosticIds.NonFinite, error.Id);
        Assert.Contains("model.layers.0.mlp.up_proj.weight", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Torch_and_the_runtime_round_activations_alike_and_leave_outliers()
    {
        Random random = new(7);
        float[] x = [.. RandomData.Normal(random, 3 * 64).Select(v => v * 3)];
        x[5] = 6;
        x[6] = -40;
        using torch.Tensor tensor = torch.tensor(x).view(3, 64);
        using torch.Tensor rounded = RowInt8.RoundActivations(tensor, 6);
        float[] byTorch = rounded.data<float>().ToArray();
        for (int t = 0; t < 3; t++)
        {
            ReadOnlySpan<float> row = x.AsSpan(t * 64, 64);
            float[] byRuntime = new float[64];
            Int8RowOutlier.RoundActivations(row, byRuntime, 6);
            Assert.Equal(byRuntime, byTorch[(t * 64)..((t + 1) * 64)]);
            double absmax = row.ToArray().Where(v => Math.Abs(v) < 6).Max(Math.Abs);
            for (int k = 0; k < 64; k++)
            {
                double expected = Math.Abs(row[k]) >= 6 ? row[k] : Math.Round(row[k] * 127 / absmax) * absmax / 127;
                Assert.Equal(expected, byRuntime[k], 1e-5);
            }
        }

        Assert.Equal(6, byTorch[5]);
        Assert.Equal(-40, byTorch[6]);
    }
}
