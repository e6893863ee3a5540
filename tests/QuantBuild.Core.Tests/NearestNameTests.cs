namespace QuantBuild.Core.Tests;

public class NearestNameTests
{
    [Theory]
    [InlineData("Gptg", "Gptq")]
    [InlineData("gtpq", "Gptq")]
    [InlineData("Gpt", "Gptq")]
    [InlineData("Gptqq", "Gptq")]
    [InlineData(" AWK ", "Awq")]
    [InlineData("Auto", "Auto")]
    [InlineData("AutoRuond", "AutoRound")]
    [InlineData("Nff4", "Nf4")]
    [InlineData("Fp8", null)]
    [InlineData("Int4", null)]
    [InlineData("Gguf", null)]
    [InlineData("Gtqp", null)]
    [InlineData("", null)]
    public void A_name_that_is_a_slip_away_was_meant(string text, string? name) => Assert.Equal(name, NearestName.Of(text, [.. Enum.GetNames<QuantizationMethod>(), "Auto"]));

    [Theory]
    [InlineData("Method", "Gptg", "QB0001", "Gptq")]
    [InlineData("GroupSize", "PerChanel", "QB0003", "PerChannel")]
    [InlineData("Symmetric", "ture", "QB0006", "true")]
    [InlineData("ActOrder", "fales", "QB0006", "false")]
    [InlineData("Override", "lm_head: Bitss=8", "QB0006", "Bits")]
    [InlineData("Override", "lm_head: Flaot", "QB0006", "Float")]
    public void The_error_of_a_misspelled_value_says_what_was_meant(string name, string value, string id, string meant)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => QuantizationSpec.FromMetadata(n => n == name ? value : null));
        Assert.Equal(id, error.Id);
        Assert.Contains($". Probably {meant} is meant. ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void So_does_that_of_a_use()
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelUses.Read("Produktion"));
        Assert.Contains("\"Produktion\" is not a use. Probably Production is meant. It is one of", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Symmetric", "maybe")]
    [InlineData("Method", "Magic")]
    [InlineData("GroupSize", "100")]
    public void Where_nothing_is_near_nothing_is_suggested(string name, string value) => Assert.DoesNotContain(
        "Probably", Assert.Throws<QuantBuildException>(() => QuantizationSpec.FromMetadata(n => n == name ? value : null)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("CPU", "cpu")]
    [InlineData("gpu", "cuda")]
    [InlineData("gpu:1", "cuda:1")]
    [InlineData("cuda0", "cuda:0")]
    [InlineData("cuad", "cuda")]
    [InlineData("Auto", "auto")]
    [InlineData("metal", null)]
    public void A_device_is_suggested_too(string text, string? name) => Assert.Equal(name is null ? "" : $" Probably {name} is meant.", DeviceName.Hint(text));
}
