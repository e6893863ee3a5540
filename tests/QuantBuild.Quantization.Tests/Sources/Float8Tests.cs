using TorchSharp;

namespace QuantBuild.Quantization.Tests;

public sealed class Float8Tests
{
    public Float8Tests() => NativeLibraries.Load();

    [Fact]
    public void Every_code_is_what_its_bits_say()
    {
        for (int code = 0; code < 256; code++)
        {
            double sign = code >= 128 ? -1 : 1;
            (int exponent, int mantissa) = (code >> 3 & 15, code & 7);
            double e4m3 = code % 128 == 127 ? double.NaN : sign * (exponent == 0 ? mantissa / 8.0 * Math.Pow(2, -6) : (1 + (mantissa / 8.0)) * Math.Pow(2, exponent - 7));
            Assert.Equal((float)e4m3, Float8.Values(ElementType.F8E4M3)[code]);
            (exponent, mantissa) = (code >> 2 & 31, code & 3);
            double e5m2 = exponent == 31 ? (mantissa == 0 ? sign * double.PositiveInfinity : double.NaN)
                : sign * (exponent == 0 ? mantissa / 4.0 * Math.Pow(2, -14) : (1 + (mantissa / 4.0)) * Math.Pow(2, exponent - 15));
            Assert.Equal((float)e5m2, Float8.Values(ElementType.F8E5M2)[code]);
        }

        Assert.Equal(448, Float8.Values(ElementType.F8E4M3)[0x7e]);
    }

    [Theory]
    // Shape of the scales of a weight of [4, 4], blocks of 3 x 2.
    [InlineData("weight_scale_inv", new long[] { 2, 2 }, "row/3,column/2")]
    [InlineData("weight_scale", new long[] { 4, 1 }, "row")]
    [InlineData("weight_scale", new long[] { 4 }, "row")]
    [InlineData("weight_scale", new long[] { 1 }, "all")]
    [InlineData("weight_scale", new long[] { }, "all")]
    [InlineData("weight_scale", new long[] { 3 }, null)]
    public void A_weight_is_multiplied_with_the_scales_beside_it(string name, long[] shape, string? which)
    {
        using TemporaryFolder folder = new();
        int count = (int)shape.Aggregate(1L, (a, b) => a * b);
        float[] scales = [.. Enumerable.Range(1, count).Select(i => i * 0.75f)];
        const string up = "model.layers.0.mlp.up_proj.";
        byte[] codes = [.. Enumerable.Range(40, 16).Select(i => (byte)i)];
        TensorSource[] tensors =
        [
            .. DecoderConfig.Parse(ModelWeightsTests.Config, "config.json").Tensors().Where(t => t.Key != up + "weight").Select(t =>
                TensorSource.FromBytes(t.Key, ElementType.F32, [.. t.Value.Select(size => (long)size)], new byte[4 * t.Value.Aggregate(1, (a, b) => a * b)])),
            TensorSource.FromBytes(up + "weight", ElementType.F8E4M3, [4, 4], codes),
            TensorSource.FromBytes(up + name, ElementType.F32, shape, [.. scales.SelectMany(BitConverter.GetBytes)]),
        ];
        File.WriteAllText(
            folder.File("config.json"), ModelWeightsTests.Config.TrimEnd().TrimEnd('}') + """,  "quantization_config": {"quant_method": "fp8", "weight_block_size": [3, 2]}}""");
        File.WriteAllText(folder.File("tokenizer.json"), "{}");
        SafetensorsWriter.Write(folder.File("model.safetensors"), new Dictionary<string, string>(), tensors);
        ModelFolder model = ModelFolder.Open(folder.Path);
        if (which is null)
        {
            Assert.Equal(DiagnosticIds.TensorMismatch, Assert.Throws<QuantBuildException>(() => ModelWeights.Open(model)).Id);
            return;
        }

        using ModelWeights weights = ModelWeights.Open(model);
        using torch.Tensor weight = weights.Load(up + "weight", torch.CPU);
        Assert.Equal(
            codes.Select((code, i) => Float8.Values(ElementType.F8E4M3)[code] * scales[which switch
            {
                "all" => 0,
                "row" => i / 4,
                _ => (i / 4 / 3 * 2) + (i % 4 / 2),
            }]),
            weight.data<float>().ToArray());
    }
}
