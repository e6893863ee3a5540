namespace QuantBuild.Core.Tests;

public class QuantizationSpecTests
{
    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("  ")]
    public void What_is_not_given_has_its_default(string? text)
    {
        QuantizationSpec spec = QuantizationSpec.FromMetadata(_ => text);
        Assert.Equal(
            new QuantizationSpec
            {
                Method = QuantizationMethod.Gptq,
                Bits = 4,
                GroupSize = 128,
                BlockSize = 64,
                DoubleQuantization = true,
                OutlierThreshold = 6,
                Symmetric = false,
                ActOrder = true,
                TrueSequential = true,
                Damping = 0.01,
                CalibrationSamples = 128,
                CalibrationContext = 0,
                EvaluationContext = 0,
            },
            spec);
    }

    [Fact]
    public void Every_value_is_read()
    {
        QuantizationSpec spec = Read(
            ("Method", "gptq"), ("Bits", " 3 "), ("GroupSize", "32"), ("Symmetric", "True"), ("ActOrder", "FALSE"), ("TrueSequential", "false"),
            ("Damping", "0.05"), ("CalibrationSamples", "1"), ("CalibrationContext", "256"), ("EvaluationContext", "64"));
        Assert.Equal(
            new QuantizationSpec
            {
                Method = QuantizationMethod.Gptq,
                Bits = 3,
                GroupSize = 32,
                Symmetric = true,
                ActOrder = false,
                TrueSequential = false,
                Damping = 0.05,
                CalibrationSamples = 1,
                CalibrationContext = 256,
                EvaluationContext = 64,
            },
            spec);
    }

    [Theory]
    [InlineData("PerChannel", -1)]
    [InlineData("perchannel", -1)]
    [InlineData("-1", -1)]
    [InlineData("16", 16)]
    [InlineData("48", 48)]
    [InlineData("1024", 1024)]
    public void A_group_size_is_a_multiple_of_16_or_per_channel(string text, int expected) =>
        Assert.Equal(expected, Read(("GroupSize", text)).GroupSize);

    [Theory]
    [InlineData("Method", "Gguf", "QB0001")]
    [InlineData("Method", "1", "QB0001")]
    [InlineData("Method", "Rtn, Gptq", "QB0001")]
    [InlineData("Bits", "5", "QB0002")]
    [InlineData("Bits", "0", "QB0002")]
    [InlineData("Bits", "-4", "QB0002")]
    [InlineData("Bits", "4.0", "QB0002")]
    [InlineData("Bits", "four", "QB0002")]
    [InlineData("Bits", "99999999999", "QB0002")]
    [InlineData("GroupSize", "0", "QB0003")]
    [InlineData("GroupSize", "8", "QB0003")]
    [InlineData("GroupSize", "100", "QB0003")]
    [InlineData("GroupSize", "-128", "QB0003")]
    [InlineData("GroupSize", "-2", "QB0003")]
    [InlineData("GroupSize", "all", "QB0003")]
    [InlineData("OutlierThreshold", "-1", "QB0006")]
    [InlineData("OutlierThreshold", "NaN", "QB0006")]
    [InlineData("OutlierThreshold", "Infinity", "QB0006")]
    [InlineData("DoubleQuantization", "twice", "QB0006")]
    [InlineData("Symmetric", "yes", "QB0006")]
    [InlineData("ActOrder", "1", "QB0006")]
    [InlineData("TrueSequential", "on", "QB0006")]
    [InlineData("Damping", "0", "QB0006")]
    [InlineData("Damping", "-0.01", "QB0006")]
    [InlineData("Damping", "1.01", "QB0006")]
    [InlineData("Damping", "NaN", "QB0006")]
    [InlineData("Damping", "Infinity", "QB0006")]
    [InlineData("Damping", "0,01", "QB0006")]
    [InlineData("CalibrationSamples", "0", "QB0006")]
    [InlineData("CalibrationSamples", "many", "QB0006")]
    [InlineData("CalibrationContext", "-1", "QB0006")]
    [InlineData("EvaluationContext", "-1", "QB0006")]
    [InlineData("EvaluationContext", "1e3", "QB0006")]
    public void A_value_that_does_not_exist_is_named_with_its_metadata(string name, string value, string id) =>
        ErrorAssert.Throws(id, () => Read((name, value)), $"{name}=\"{value}\"");

    [Fact]
    public void An_error_lists_what_exists()
    {
        ErrorAssert.Throws("QB0001", () => Read(("Method", "Gguf")), "Rtn, Gptq, Awq, AutoRound, Nf4, Fp4, Mxfp4, Int8");
        ErrorAssert.Throws("QB0002", () => Read(("Bits", "5")), "2, 3, 4, 8");
        ErrorAssert.Throws("QB0003", () => Read(("GroupSize", "8")), "multiple of 16", "PerChannel");
    }

    [Fact]
    public void Metadata_round_trips()
    {
        QuantizationSpec[] specs =
        [
            new(),
            new() { Method = QuantizationMethod.Rtn, Bits = 8, GroupSize = QuantizationSpec.PerChannel, Symmetric = true, EvaluationContext = 7 },
            new() { Method = QuantizationMethod.Nf4 },
            new() { Method = QuantizationMethod.Fp4, BlockSize = 4096, DoubleQuantization = false },
            new() { Method = QuantizationMethod.Int8, OutlierThreshold = 0.1 + 0.2 },
            new() { Bits = 2, ActOrder = false, TrueSequential = false, Damping = 0.1 + 0.2, CalibrationSamples = 3, CalibrationContext = 5 },
        ];
        Assert.All(specs, spec => Assert.Equal(spec, Read([.. spec.ToMetadata().Select(e => (e.Key, e.Value))])));
    }

    [Fact]
    public void What_round_to_nearest_does_not_read_is_not_in_its_metadata()
    {
        QuantizationSpec spec = new() { Method = QuantizationMethod.Rtn, Damping = 0.5, CalibrationSamples = 3 };
        Assert.Equal(["Method", "Bits", "GroupSize", "Symmetric", "EvaluationContext"], spec.ToMetadata().Select(e => e.Key));
        Assert.False(spec.NeedsCalibration);
    }

    [Fact]
    public void What_the_methods_of_bitsandbytes_do_not_read_is_not_in_their_metadata()
    {
        foreach (QuantizationMethod method in new[] { QuantizationMethod.Nf4, QuantizationMethod.Fp4, QuantizationMethod.Int8 })
        {
            QuantizationSpec spec = new() { Method = method, Bits = 3, GroupSize = 16, Symmetric = true, Damping = 0.5 };
            Assert.Equal(
                method == QuantizationMethod.Int8
                    ? ["Method", "Bits", "OutlierThreshold", "EvaluationContext"]
                    : ["Method", "Bits", "BlockSize", "DoubleQuantization", "EvaluationContext"],
                spec.ToMetadata().Select(e => e.Key));
            Assert.Equal(new QuantizationSpec { Method = method }.ToMetadata(), spec.ToMetadata());
            Assert.False(spec.NeedsCalibration);
        }
    }

    [Fact]
    public void Bits_and_group_size_follow_from_a_method_that_has_one_of_each()
    {
        QuantizationSpec nf4 = Read(("Method", "nf4"), ("BlockSize", "256")), int8 = Read(("Method", "INT8")), mxfp4 = Read(("Method", "mxfp4"));
        Assert.Equal((4, 32), (mxfp4.Bits, mxfp4.GroupSize));
        Assert.Equal((4, 256), (nf4.Bits, nf4.GroupSize));
        Assert.Equal((8, QuantizationSpec.PerChannel), (int8.Bits, int8.GroupSize));
        Assert.Equal(4, Read(("Method", "Fp4"), ("Bits", "4")).Bits);
        Assert.Equal(8, Read(("Method", "Int8"), ("Bits", "8")).Bits);
    }

    [Theory]
    [InlineData("Nf4", "Bits", "8", "QB0002", "has 4 bits")]
    [InlineData("Fp4", "Bits", "3", "QB0002", "has 4 bits")]
    [InlineData("Int8", "Bits", "4", "QB0002", "has 8 bits")]
    [InlineData("Int8", "Bits", "5", "QB0002", "not a weight width")]
    [InlineData("Nf4", "GroupSize", "128", "QB0003", "Set BlockSize")]
    [InlineData("Fp4", "GroupSize", "PerChannel", "QB0003", "Set BlockSize")]
    [InlineData("Int8", "GroupSize", "128", "QB0003", "Leave GroupSize out")]
    [InlineData("Mxfp4", "GroupSize", "32", "QB0003", "one scale for each 32 weights")]
    [InlineData("Mxfp4", "BlockSize", "32", "QB0006", "one scale for each 32 weights")]
    [InlineData("Mxfp4", "Bits", "8", "QB0002", "has 4 bits")]
    [InlineData("Gptq", "BlockSize", "64", "QB0006", "Set GroupSize")]
    [InlineData("Int8", "BlockSize", "64", "QB0006", "Leave BlockSize out")]
    [InlineData("Nf4", "BlockSize", "16", "QB0006", "power of two from 32 to 4096")]
    [InlineData("Nf4", "BlockSize", "96", "QB0006", "power of two from 32 to 4096")]
    [InlineData("Nf4", "BlockSize", "8192", "QB0006", "power of two from 32 to 4096")]
    [InlineData("Nf4", "BlockSize", "-64", "QB0006", "power of two from 32 to 4096")]
    public void What_a_method_does_not_have_is_an_error_that_says_what_it_has(string method, string name, string value, string id, string said) =>
        ErrorAssert.Throws(id, () => Read(("Method", method), (name, value)), $"{name}=\"{value}\"", said);

    private static QuantizationSpec Read(params (string Name, string Value)[] metadata)
    {
        Dictionary<string, string> values = metadata.ToDictionary(m => m.Name, m => m.Value);
        return QuantizationSpec.FromMetadata(values.GetValueOrDefault);
    }
}
