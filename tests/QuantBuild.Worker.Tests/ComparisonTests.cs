using System.Text.Json.Nodes;
using System.Xml.Linq;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker.Tests;

public sealed class ComparisonTests
{
    private static readonly XNamespace Page = "http://www.w3.org/1999/xhtml";
    private static readonly XNamespace Drawing = "http://www.w3.org/2000/svg";

    private static readonly Comparison Sample = new()
    {
        ModelName = "small",
        Parameters = 1_234_567,
        Processor = "a processor",
        Threads = 2,
        QuantizerVersion = "9.8.7",
        ComparedAt = new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc),
        EvaluationTokens = 43_435,
        Rows =
        [
            new() { Method = "float", BitsPerWeight = 16, FileBytes = 13_780_000, Perplexity = 50.716, TokensPerSecond = 812.3 },
            new()
            {
                Method = "Gptq", Bits = 4, Group = "128", IsDeclared = true, BitsPerWeight = 4.2812, FileBytes = 6_860_000, Perplexity = 50.899, PerplexityIncrease = 0.00361,
                KlDivergence = 0.00312, Top1Agreement = 0.9512, Seconds = 31.84, PeakMemoryBytes = 992_000_000, TokensPerSecond = 9.876,
            },
            new()
            {
                Method = "Rtn", Bits = 8, Group = "row", BitsPerWeight = 8.01, FileBytes = 999, Perplexity = 50.7, PerplexityIncrease = -0.0003, KlDivergence = 0.0000123,
                Top1Agreement = 1, Seconds = 7000, PeakMemoryBytes = 2_345_000_000, TokensPerSecond = 45.67,
            },
            new() { Method = "Awq", Bits = 3, Group = "128", Failure = "QB3004: no text <b>|</b>\nat all" },
        ],
    };

    [Fact]
    public void The_page_has_every_rows_figures_and_marks_what_is_declared()
    {
        XElement page = ModelReportTests.Parse(ComparisonPage.Create(Sample));
        Assert.Equal(ComparisonColumns.Heads, page.Descendants(Page + "th").Where(th => (string?)th.Attribute("scope") == "col").Select(th => th.Value));
        Assert.Equal(["float", "–", "–", "16.00", "13.78 MB", "50.72", "–", "–", "–", "–", "–", "812"], ModelReportTests.Row(page, "float"));
        Assert.Equal(
            ["Gptq (declared)", "4", "128", "4.28", "6.86 MB", "50.90", "+0.36%", "0.0031", "95.1%", "31.8 s", "992.00 MB", "9.88"],
            ModelReportTests.Row(page, "Gptq (declared)"));
        Assert.Equal(
            ["Rtn", "8", "row", "8.01", "999 bytes", "50.70", "-0.03%", "0.000012", "100.0%", "116 min 40 s", "2.35 GB", "45.7"], ModelReportTests.Row(page, "Rtn"));
        Assert.Equal("Gptq (declared)", page.Descendants(Page + "tr").Single(row => (string?)row.Attribute("class") == "marked").Elements().First().Value);
    }

    [Fact]
    public void The_page_shows_what_failed_with_the_reason_and_nothing_in_it_is_markup()
    {
        XElement page = ModelReportTests.Parse(ComparisonPage.Create(Sample));
        Assert.Equal(["Awq", "3", "128", "failed: see below the table"], ModelReportTests.Row(page, "Awq"));
        Assert.Equal("Awq, 3 bits: QB3004: no text <b>|</b>\nat all", page.Descendants(Page + "li").Single().Value);
        Assert.Empty(page.Descendants(Page + "b"));
    }

    [Fact]
    public void The_plot_has_a_point_for_each_model_that_was_measured()
    {
        XElement page = ModelReportTests.Parse(ComparisonPage.Create(Sample));
        XElement[] points = [.. page.Descendants(Drawing + "circle")];
        Assert.Equal(
            ["Gptq (declared), 4 bits: 4.28 bits per weight, KL divergence 0.0031 nats", "Rtn, 8 bits: 8.01 bits per weight, KL divergence 0.000012 nats"], points.Select(point => point.Value));
        // More bits to the right, less divergence below.
        double At(int point, string name) => double.Parse(points[point].Attribute(name)!.Value, System.Globalization.CultureInfo.InvariantCulture);
        Assert.True(At(0, "cx") < At(1, "cx"));
        Assert.True(At(0, "cy") < At(1, "cy"));

        Comparison unmeasured = Sample with { EvaluationTokens = null, Rows = [Sample.Rows[0]] };
        Assert.Empty(ModelReportTests.Parse(ComparisonPage.Create(unmeasured)).Descendants(Drawing + "svg"));
    }

    [Fact]
    public void The_markdown_is_a_table_of_the_same_cells_and_no_cell_breaks_it()
    {
        string[] lines = ComparisonMarkdown.Create(Sample).Split('\n');
        Assert.Equal("| method | bits | group or block | bits per weight | file | perplexity | over float | KL, nats | top-1 | quantizing | peak memory | tokens/s |", lines[0]);
        Assert.Equal("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", lines[1]);
        Assert.Equal("| Gptq (declared) | 4 | 128 | 4.28 | 6.86 MB | 50.90 | +0.36% | 0.0031 | 95.1% | 31.8 s | 992.00 MB | 9.88 |", lines[3]);
        Assert.Equal("| Awq | 3 | 128 | – | – | – | – | – | – | – | – | – |", lines[5]);
        Assert.Contains(@"Awq, 3 bits: QB3004: no text \<b\>\|\</b\> at all", lines);
    }

    [Fact]
    public void The_json_has_the_figures_unrounded_and_leaves_out_what_there_is_not()
    {
        JsonNode json = JsonNode.Parse(Sample.ToJson())!;
        Assert.Equal("small", (string?)json["ModelName"]);
        Assert.Equal(43_435, (long?)json["EvaluationTokens"]);
        JsonNode row = json["Rows"]![1]!;
        Assert.Equal(4.2812, (double?)row["BitsPerWeight"]);
        Assert.Equal(0.00361, (double?)row["PerplexityIncrease"]);
        Assert.Equal(992_000_000, (long?)row["PeakMemoryBytes"]);
        Assert.True((bool?)row["IsDeclared"]);
        Assert.Null(json["Rows"]![0]!["KlDivergence"]);
        Assert.Equal("QB3004: no text <b>|</b>\nat all", (string?)json["Rows"]![3]!["Failure"]);
    }

    [Fact]
    public void Every_method_is_compared_at_every_width_that_it_has_and_the_declaration_once()
    {
        DecoderConfig config = DecoderConfig.Parse(SmallArtifact.Config, "config.json");
        QuantizationSpec declared = new() { Method = QuantizationMethod.Gptq, Bits = 4, GroupSize = 32, Damping = 0.05, CalibrationSamples = 7 };
        IReadOnlyList<QuantizationSpec> specs = ComparedSpecs.Of(declared, config);
        Assert.Equal(Enum.GetValues<QuantizationMethod>().Order(), specs.Select(spec => spec.Method).Distinct().Order());
        Assert.Single(specs, spec => ComparedSpecs.Same(spec, declared));
        Assert.Equal([4, 3, 2], specs.Where(spec => spec.Method == QuantizationMethod.Gptq).Select(spec => spec.Bits));
        Assert.Equal([8, 4, 3, 2], specs.Where(spec => spec.Method == QuantizationMethod.Rtn).Select(spec => spec.Bits));
        Assert.All(specs.Where(spec => spec.HasGroups), spec => Assert.Equal(32, spec.GroupSize));
        Assert.All(specs.Where(spec => spec.Method == QuantizationMethod.Gptq), spec => Assert.Equal((0.05, 7), (spec.Damping, spec.CalibrationSamples)));
        Assert.Equal(specs.Select(spec => spec.Bits).OrderDescending(), specs.Select(spec => spec.Bits));
        Assert.Equal(specs.Count, specs.Select(spec => string.Join(' ', spec.ToMetadata())).Distinct().Count());

        // 8 bits by GPTQ is in no comparison unless it is declared, and a group size that a declaration does not set fits the model: 64 and 96 inputs.
        QuantizationSpec eight = declared with { Bits = 8 };
        Assert.Single(ComparedSpecs.Of(eight, config), spec => ComparedSpecs.Same(spec, eight));
        Assert.All(ComparedSpecs.Of(new() { Method = QuantizationMethod.Nf4 }, config).Where(spec => spec.HasGroups), spec => Assert.Equal(32, spec.GroupSize));
    }
}
