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
    [InlineData("Method", "Awq", "QB0001")]
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
        ErrorAssert.Throws("QB0001", () => Read(("Method", "Awq")), "Rtn, Gptq");
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

    private static QuantizationSpec Read(params (string Name, string Value)[] metadata)
    {
        Dictionary<string, string> values = metadata.ToDictionary(m => m.Name, m => m.Value);
        return QuantizationSpec.FromMetadata(values.GetValueOrDefault);
    }
}
