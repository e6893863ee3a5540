namespace QuantBuild.Core.Tests;

public class AutoMethodTests
{
    [Theory]
    [InlineData("", true, "Gptq 4")]
    [InlineData("", false, "Int8 8")]
    [InlineData("GroupSize=32", false, "Rtn 8")]
    [InlineData("Bits=4", false, "Rtn 4")]
    [InlineData("Use=Production", true, "Gptq 4")]
    [InlineData("Use=Development", true, "Rtn 4")]
    [InlineData("Use=Development", false, "Rtn 4")]
    [InlineData("Use=FineTuning", true, "Nf4 4")]
    [InlineData("Use=finetuning", false, "Nf4 4")]
    [InlineData("Use=MaximumAccuracy", true, "Gptq 8")]
    [InlineData("Use=MaximumAccuracy", false, "Rtn 8")]
    [InlineData("Use=FastestInference", true, "Gptq 4")]
    [InlineData("Use=FastestInference", false, "Rtn 4")]
    [InlineData("TargetBitsPerWeight=3.5", true, "Gptq 3.5")]
    [InlineData("TargetBitsPerWeight=3.1", true, "AutoRound 3.1")]
    [InlineData("TargetSize=4GB", true, "Gptq 4GB")]
    [InlineData("TargetSize=4GB Use=MaximumAccuracy", true, "Gptq 4GB")]
    [InlineData("Bits=3", true, "AutoRound 3")]
    [InlineData("Bits=2", false, "Rtn 2")]
    [InlineData("Bits=8", true, "Int8 8")]
    [InlineData("Bits=8 GroupSize=32", true, "Gptq 8")]
    [InlineData("Bits=8 Use=Development", true, "Rtn 8")]
    [InlineData("Bits=4 Use=FineTuning", true, "Nf4 4")]
    [InlineData("Bits=8 Use=FineTuning", false, "Rtn 8")]
    [InlineData("GroupSize=32 Use=FineTuning Bits=4", false, "Rtn 4")]
    [InlineData("BlockSize=128", true, "Nf4 4")]
    [InlineData("OutlierThreshold=5", true, "Int8 8")]
    public void The_first_row_that_fits_decides(string given, bool isCalibrated, string chosen)
    {
        QuantizationSpec spec = Spec(given, isCalibrated, out string reason);
        Assert.Equal(chosen, $"{spec.Method} {spec.WidthName}");
        Assert.StartsWith($"Method=\"Auto\" chose {spec.Method}, {spec.WidthName} bits".Replace("GB bits", "GB in all", StringComparison.Ordinal), reason, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', reason);
        // Without a text only what needs none is chosen.
        Assert.True(isCalibrated || !spec.NeedsCalibration);
    }

    [Fact]
    public void What_the_item_says_comes_before_what_the_table_says()
    {
        QuantizationSpec spec = Spec("Use=MaximumAccuracy GroupSize=32 Symmetric=true Damping=0.05 Bits=4", true, out _);
        Assert.Equal((QuantizationMethod.Gptq, 4, 32, true, 0.05), (spec.Method, spec.Bits, spec.GroupSize, spec.Symmetric, spec.Damping));
        Assert.False(Spec("Use=FineTuning DoubleQuantization=false", false, out _).DoubleQuantization);
        Assert.Equal("q_proj: Bits=8", Spec("Override=q_proj:Bits=8", true, out _).Override);
    }

    [Fact]
    public void A_budget_without_calibration_text_is_left_to_the_check_of_the_text()
    {
        Assert.True(Spec("TargetBitsPerWeight=3.5", false, out _).NeedsCalibration);
        Assert.True(Spec("TargetBitsPerWeight=3.5 Use=FineTuning", false, out _).HasBudget);
    }

    [Fact]
    public void A_method_that_is_named_is_not_chosen()
    {
        Assert.Null(AutoMethod.Choose(Given("Method=Gptq"), true));
        Assert.Null(AutoMethod.Choose(Given(""), true));
        ErrorAssert.Throws("QB0006", () => AutoMethod.Choose(Given("Method=Auto Use=Fun"), true), "Use=\"Fun\"", "FineTuning");
        ErrorAssert.Throws("QB0002", () => Spec("Bits=5", true, out _), "Bits=\"5\"");
    }

    [Theory]
    [InlineData("FineTuning", "Method=Gptq", "QB3015")]
    [InlineData("FineTuning", "Method=Nf4 Override=lm_head:Method=Gptq", "QB3015")]
    [InlineData("FineTuning", "Method=Nf4", null)]
    [InlineData("Production", "Method=Nf4", "QB3016")]
    [InlineData("FastestInference", "Method=Fp4", "QB3016")]
    [InlineData("FastestInference", "Method=Rtn Bits=8", null)]
    [InlineData("FastestInference", "Method=Int8", null)]
    [InlineData("FastestInference", "Method=Gptq", null)]
    [InlineData("FastestInference", "Method=Gptq TargetBitsPerWeight=8", null)]
    [InlineData("Development", "Method=Nf4", null)]
    [InlineData("MaximumAccuracy", "Method=Gptq Bits=8", null)]
    [InlineData("", "Method=Nf4", null)]
    public void A_use_warns_of_what_speaks_against_it(string use, string given, string? id) =>
        Assert.Equal(id, UseChecks.Of(ModelUses.Read(use), QuantizationSpec.FromMetadata(Given(given))).SingleOrDefault()?.Id);

    [Fact]
    public void What_auto_chooses_for_a_use_is_not_warned_of()
    {
        foreach (ModelUse use in Enum.GetValues<ModelUse>())
        {
            foreach (bool isCalibrated in new[] { true, false }) Assert.Empty(UseChecks.Of(use, Spec($"Use={use}", isCalibrated, out _)));
        }
    }

    private static QuantizationSpec Spec(string given, bool isCalibrated, out string reason)
    {
        AutoMethod auto = AutoMethod.Choose(Given("Method=Auto " + given), isCalibrated)!;
        QuantizationSpec spec = QuantizationSpec.FromMetadata(auto.Metadata);
        reason = auto.Reason(spec);
        return spec;
    }

    private static Func<string, string?> Given(string text) =>
        text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(pair => pair.Split('=', 2)).ToDictionary(pair => pair[0], pair => pair[1]).GetValueOrDefault;
}
