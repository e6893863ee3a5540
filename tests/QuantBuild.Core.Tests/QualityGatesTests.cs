namespace QuantBuild.Core.Tests;

public sealed class QualityGatesTests : IDisposable
{
    private static readonly QualityFigures Figures = new(50, 51, 0.02, 0.9, 1000, 512, EvaluationText.EvaluationData, [0.01, 0.03]);

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("2%", "0.02")]
    [InlineData(" 2.5 % ", "0.025")]
    [InlineData("0.02", "0.02")]
    [InlineData("1", "1")]
    [InlineData("0", "0")]
    [InlineData("150%", "1.5")]
    [InlineData("7%", "0.07")]
    public void A_percentage_and_a_ratio_are_read_and_written_so_that_they_are_read_again(string text, string ratio)
    {
        QualityGates gates = Gates(text, null);
        Assert.Equal(decimal.Parse(ratio, System.Globalization.CultureInfo.InvariantCulture), gates.MaxPerplexityIncrease);
        Assert.Equal(gates, QualityGates.FromMetadata(name => gates.ToMetadata().Where(g => g.Key == name).Select(g => g.Value).SingleOrDefault()));
    }

    [Theory]
    [InlineData("2", null)]
    [InlineData("-1%", null)]
    [InlineData("two", null)]
    [InlineData("%", null)]
    [InlineData("NaN", null)]
    [InlineData(null, "-0.1")]
    [InlineData(null, "2%")]
    [InlineData(null, "Infinity")]
    public void What_is_neither_is_QB0006(string? increase, string? divergence) => ErrorAssert.Throws(DiagnosticIds.MetadataInvalid, () => Gates(increase, divergence));

    [Fact]
    public void No_gate_passes_everything()
    {
        Assert.False(Gates(null, "").AreDeclared);
        Gates(null, null).Check(null, new QuantizationSpec());
        Gates(null, null).Check(Figures with { Perplexity = 1e9 }, new QuantizationSpec());
    }

    [Theory]
    [InlineData("2%", null, true)]
    [InlineData("1.99%", null, false)]
    [InlineData(null, "0.02", true)]
    [InlineData(null, "0.0199", false)]
    [InlineData("3%", "0.0199", false)]
    public void A_gate_passes_what_it_allows_and_no_more(string? increase, string? divergence, bool passes)
    {
        void Check() => Gates(increase, divergence).Check(Figures, new QuantizationSpec());
        if (passes) Check();
        else ErrorAssert.Throws(DiagnosticIds.QualityGateExceeded, Check);
    }

    [Fact]
    public void What_is_not_a_number_passes_no_gate() =>
        ErrorAssert.Throws(DiagnosticIds.QualityGateExceeded, () => Gates("100%", null).Check(Figures with { Perplexity = double.NaN }, new QuantizationSpec()));

    [Fact]
    public void An_exceeded_gate_says_expected_and_actual_and_what_to_try()
    {
        string Message(QuantizationSpec spec) => Assert.Throws<QuantBuildException>(() => Gates("1%", "0.01").Check(Figures, spec)).Message;
        string rtn = Message(new QuantizationSpec { Method = QuantizationMethod.Rtn, Bits = 3 });
        Assert.Contains("the perplexity rose by 2% (from 50 to 51), and MaxPerplexityIncrease allows 1%", rtn, StringComparison.Ordinal);
        Assert.Contains("the mean KL divergence is 0.02 nats, and MaxKlDivergence allows 0.01", rtn, StringComparison.Ordinal);
        Assert.Contains("more Bits (now 3), or a smaller GroupSize (now 128), such as 32, or another Method (now Rtn)", rtn, StringComparison.Ordinal);
        string gptq = Message(new QuantizationSpec { Bits = 8, GroupSize = 32 });
        Assert.DoesNotContain("Bits", gptq, StringComparison.Ordinal);
        Assert.DoesNotContain("GroupSize", gptq, StringComparison.Ordinal);
    }

    [Fact]
    public void A_gate_without_figures_is_QB3009() => ErrorAssert.Throws(DiagnosticIds.QualityGateUnmeasured, () => Gates("1%", null).Check(null, new QuantizationSpec()));

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("{\"Quality\": {\"Perplexity\": 1}}")]
    [InlineData("{\"Quality\": null, \"Warnings\": [{}]}")]
    public void A_record_that_says_nothing_of_quality_has_no_findings(string json)
    {
        BuildFindings findings = BuildFindings.Read(folder.File("x.build.json", json));
        Assert.Null(findings.Quality);
        Assert.Empty(findings.Warnings);
        Assert.Null(BuildFindings.Read(Path.Combine(folder.Path, "none.json")).Quality);
    }

    private static QualityGates Gates(string? increase, string? divergence) => QualityGates.FromMetadata(name => name switch
    {
        "MaxPerplexityIncrease" => increase,
        "MaxKlDivergence" => divergence,
        _ => null,
    });
}
