namespace QuantBuild.Core.Tests;

public class WidthBudgetTests
{
    private static readonly DecoderConfig Config = DecoderConfig.Parse(File.ReadAllText(Path.Combine(TestFiles.SampleModel, "config.json")), "config.json");

    [Theory]
    [InlineData("4GB", 4_000_000_000, "4GB")]
    [InlineData("4 gb", 4_000_000_000, "4GB")]
    [InlineData("4000MB", 4_000_000_000, "4GB")]
    [InlineData("1.5GiB", 1_610_612_736, "1.5GiB")]
    [InlineData("1536MiB", 1_610_612_736, "1.5GiB")]
    [InlineData("700MB", 700_000_000, "700MB")]
    [InlineData("12345", 12_345, "12345")]
    [InlineData("12.345KB", 12_345, "12345")]
    [InlineData("5904250", 5_904_250, "5904.25KB")]
    public void A_size_is_read_with_or_without_a_unit_and_has_one_text(string text, long bytes, string canonical)
    {
        QuantizationSpec spec = Read(("TargetSize", text));
        Assert.Equal(bytes, spec.TargetSize);
        Assert.Equal(canonical, spec.WidthName);
        Assert.Equal(spec, Read(("TargetSize", canonical)));
        Assert.Equal(spec, RoundTrip(spec));
    }

    [Theory]
    [InlineData("3.5", "3.5", 4)]
    [InlineData(" 3.50 ", "3.5", 4)]
    [InlineData("3.4", "3.4", 3)]
    [InlineData("4", "4", 4)]
    [InlineData("7", "7", 8)]
    public void Bits_for_each_weight_have_one_text_and_a_nearest_width(string text, string canonical, int bits)
    {
        QuantizationSpec spec = Read(("TargetBitsPerWeight", text));
        Assert.Equal(canonical, spec.WidthName);
        Assert.Equal(bits, spec.Bits);
        Assert.Equal(spec, RoundTrip(spec));
        Assert.DoesNotContain(spec.ToMetadata(), entry => entry.Key == "Bits");
    }

    [Theory]
    [InlineData("TargetBitsPerWeight", "0")]
    [InlineData("TargetBitsPerWeight", "1.9")]
    [InlineData("TargetBitsPerWeight", "17")]
    [InlineData("TargetBitsPerWeight", "three")]
    [InlineData("TargetBitsPerWeight", "3,5")]
    [InlineData("TargetSize", "0")]
    [InlineData("TargetSize", "-4GB")]
    [InlineData("TargetSize", "4XB")]
    [InlineData("TargetSize", "GB")]
    [InlineData("TargetSize", "4e9")]
    [InlineData("TargetSize", "99999999999TB")]
    public void A_budget_that_cannot_be_read_is_QB0006(string name, string value) =>
        ErrorAssert.Throws("QB0006", () => Read((name, value)), $"{name}=\"{value}\"");

    [Fact]
    public void Only_one_thing_decides_the_widths()
    {
        ErrorAssert.Throws("QB0006", () => Read(("TargetBitsPerWeight", "3.5"), ("TargetSize", "4GB")), "TargetBitsPerWeight and TargetSize");
        ErrorAssert.Throws("QB0006", () => Read(("TargetBitsPerWeight", "3.5"), ("Bits", "4")), "TargetBitsPerWeight and Bits");
        ErrorAssert.Throws("QB0006", () => Read(("TargetSize", "4GB"), ("Bits", "4")), "TargetSize and Bits");
        ErrorAssert.Throws("QB0006", () => Read(("TargetSize", "4GB"), ("Method", "Nf4")), "Nf4", "4 bits");
    }

    [Fact]
    public void A_budget_reads_calibration_text_whatever_the_method()
    {
        QuantizationSpec spec = Read(("Method", "Rtn"), ("TargetBitsPerWeight", "3.5"));
        Assert.True(spec.NeedsCalibration);
        Assert.Contains("TargetBitsPerWeight=\"3.5\"", spec.CalibratedBy, StringComparison.Ordinal);
        Assert.Equal("Method=\"Gptq\"", Read(("TargetBitsPerWeight", "3.5")).CalibratedBy);
    }

    [Fact]
    public void A_budget_chooses_what_has_widths_and_none_of_its_own()
    {
        QuantizationPlan plan = Plan("3.5", "q_proj: Bits=8; k_proj: Method=Nf4; v_proj: Float; lm_head: Method=Rtn; embed_tokens: Bits=8");
        Assert.Equal(
            ["down_proj", "gate_proj", "lm_head", "o_proj", "up_proj"],
            plan.Open.Select(linear => linear.Name.Split('.')[^1]).Distinct().Order(StringComparer.Ordinal));
        Assert.Empty(new QuantizationPlan(Config, new QuantizationSpec()).Open);
    }

    [Fact]
    public void A_chosen_width_comes_before_what_the_specification_says()
    {
        QuantizationSpec spec = Read(("TargetBitsPerWeight", "3.5"));
        LinearShape linear = Config.Linears(0)[0], other = Config.Linears(0)[1];
        QuantizationPlan plan = new(Config, spec, new Dictionary<string, int> { [linear.Name] = 2 });
        Assert.Equal((2, false), (plan[linear]!.Bits, plan[linear]!.HasBudget));
        Assert.Equal(4, plan[other]!.Bits);
    }

    [Fact]
    public void What_is_fixed_takes_its_share_of_the_budget()
    {
        QuantizationPlan free = Plan("3.5", ""), bound = Plan("3.5", "q_proj: Bits=8");
        long weights = free.Quantized.Sum(linear => (long)linear.Inputs * linear.Outputs);
        Assert.Equal((long)(3.5m * weights / 8), WidthBudget.ForOpen(free, 0));
        long queries = bound.Quantized.Where(linear => linear.Name.EndsWith("q_proj", StringComparison.Ordinal)).Sum(linear => PackedSize.Of(bound[linear]!, linear));
        Assert.Equal((long)(3.5m * weights / 8) - queries, WidthBudget.ForOpen(bound, 0));
    }

    [Fact]
    public void A_budget_below_two_bits_is_an_error_that_says_how_small_the_model_can_be()
    {
        ErrorAssert.Throws("QB0009", () => Plan("2.2", "").Check(), "TargetBitsPerWeight=\"2.2\"", "2.28 bits per weight", "8.28");
        Plan("2.29", "").Check();
        QuantizationPlan plan = new(Config, Read(("TargetSize", "5MB")));
        plan.Check();
        ErrorAssert.Throws("QB0009", () => WidthBudget.ForOpen(plan, 4_000_000), "TargetSize=\"5MB\"", "5.35 MB", "4.00 MB for the rest");
    }

    private static QuantizationPlan Plan(string target, string overrides) => new(Config, Read(("TargetBitsPerWeight", target), ("Override", overrides)));

    private static QuantizationSpec RoundTrip(QuantizationSpec spec) => Read([.. spec.ToMetadata().Select(e => (e.Key, e.Value))]);

    private static QuantizationSpec Read(params (string Name, string Value)[] metadata) =>
        QuantizationSpec.FromMetadata(metadata.ToDictionary(m => m.Name, m => m.Value).GetValueOrDefault);
}
