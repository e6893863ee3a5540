using System.Globalization;
using System.Xml.Linq;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker.Tests;

public sealed class ModelReportTests : IDisposable
{
    private static readonly XNamespace Page = "http://www.w3.org/1999/xhtml";
    private static readonly XNamespace Drawing = "http://www.w3.org/2000/svg";
    private static readonly RuntimeMeasurement Measured = new(1234.4, 128, 2, 30_000_000, 66_400_000);

    private static readonly BuildRecord Record = new()
    {
        Seconds = 83.4,
        PeakMemoryBytes = 991_000_000,
        Device = "cpu",
        Threads = 2,
        StartedAt = new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc),
        ArtifactBytes = 1,
        ArtifactSha256 = "",
        Phases = [new("layers", 70), new("evaluation", 13.4)],
        Calibration = new CalibrationStatistics(54_321, 4, 32, 0.0312, 17.25),
        Warnings = [new BuildWarning("QB3011", "CalibrationData is short & sweet <b>")],
    };

    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-report-").FullName;

    public static TheoryData<string> Formats { get; } = ["Int8, LLM.int8()", "NF4, blocks of 64, double-quantized", "NF4, blocks of 64", "8 bits, groups of 32", "4 bits, groups of 32", "3 bits, groups of 32", "2 bits, groups of 32"];

    private string Path => System.IO.Path.Combine(folder, "small.safetensors");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void A_report_has_the_figures_of_artifact_and_record()
    {
        using Artifact artifact = SmallArtifact.Write(Path, linear => new IntAffineFormat(4, 32, false, false));
        XElement page = Parse(ModelReport.Create(artifact, Record, Measured, null));
        Assert.Equal("small", page.Descendants(Page + "h1").Single().Value);
        Assert.Equal(
            $"A small loss: perplexity rose by 2.00%. {Kilo(artifact.Manifest.OriginalBytes)} of weights became a file of {Kilo(artifact.Length)}.",
            page.Descendants(Page + "p").Single(p => (string?)p.Attribute("class") == "verdict").Value);
        Assert.Equal(["perplexity", "14.500", "14.790", "+2.00%"], Row(page, "perplexity"));
        Assert.Equal("0.0123", Row(page, "KL divergence, mean, nats")[2]);
        Assert.Equal("92.50%", Row(page, "top-1 agreement")[2]);
        Assert.Equal("1,234 tokens a second", Row(page, "decoding, one text")[1]);
        Assert.Equal("66.40 MB", Row(page, "resident memory of the process")[1]);
        Assert.Equal("54,321", Row(page, "tokens of the text")[1]);
        Assert.Equal("4 of 32 tokens, 128 in all", Row(page, "windows that were used")[1]);
        Assert.Equal("3.1%", Row(page, "runs of 8 tokens that came before")[1]);
        Assert.Equal("17.25 on a few of the windows; on the evaluation text 14.50", Row(page, "perplexity of the float model")[1]);
        Assert.Equal("83.4 s", Row(page, "time")[1]);
        Assert.Equal("13.4 s", Row(page, "of it evaluation")[1]);
        Assert.Equal("991.00 MB", Row(page, "peak memory of the process")[1]);
        Assert.Equal("2026-01-02 03:04:05 UTC", Row(page, "started")[1]);
        Assert.All(artifact.Manifest.Spec, entry => Assert.Equal(entry.Value, Row(page, entry.Key)[1]));
        Assert.Equal("9.8.7", Row(page, "quantizer")[1]);
        Assert.Equal(SmallArtifact.Fingerprint, Row(page, "fingerprint")[1]);
        Assert.Equal("123.5 kB " + new string('d', 64), Row(page, "model.safetensors")[1]);
        Assert.Contains("QB3011: CalibrationData is short & sweet <b>", page.Descendants(Page + "li").Select(item => item.Value));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void The_arithmetic_of_a_precision_is_that_of_an_artifact_that_has_it(string name)
    {
        LayerFormat format = name switch
        {
            ['I', ..] => new Int8RowOutlierFormat(6),
            ['N', ..] => new Codebook4Format(Codebook.Nf4, 64, name.EndsWith("double-quantized", StringComparison.Ordinal)),
            _ => new IntAffineFormat(name[0] - '0', 32, Symmetric: false, Ordered: false),
        };
        using Artifact artifact = SmallArtifact.Write(
            Path, linear => format, spec => spec["DoubleQuantization"] = format is Codebook4Format { DoubleQuantized: false } ? "false" : "true");
        PrecisionSize computed = PrecisionTable.Of(artifact).Single(row => row.Name == name), actual = PrecisionTable.OfArtifact(artifact);
        Assert.Equal(actual.WeightBytes, computed.WeightBytes);
        Assert.Equal(actual.BitsPerWeight, computed.BitsPerWeight, 12);
        Assert.Equal(actual.FullContextBytes, computed.FullContextBytes);
        Assert.Equal(artifact.File.Tensors.Values.Sum(tensor => tensor.ByteLength), computed.FileBytes);
        // Two layers, two heads of 16, 32 tokens, a key and a value of 2 bytes.
        Assert.Equal(2 * 2 * 16 * 32 * 2 * 2, computed.FullContextBytes - computed.WeightBytes);
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void The_arithmetic_knows_zero_points_and_the_order_of_columns(bool symmetric, bool ordered)
    {
        using Artifact artifact = SmallArtifact.Write(
            Path, linear => new IntAffineFormat(3, 32, symmetric, ordered), spec => spec["Symmetric"] = symmetric ? "true" : "false");
        Assert.Equal(
            PrecisionTable.OfArtifact(artifact).WeightBytes, PrecisionTable.Of(artifact).Single(row => row.Name == "3 bits, groups of 32").WeightBytes);
    }

    [Fact]
    public void The_plot_has_each_layers_error_and_each_linears_bits_and_shows_what_is_float()
    {
        using Artifact artifact = SmallArtifact.Write(
            Path, linear => linear.Name.EndsWith("layers.1.mlp.down_proj", StringComparison.Ordinal) ? null : new IntAffineFormat(linear.Name.Contains("mlp", StringComparison.Ordinal) ? 2 : 4, 32, false, false));
        XElement page = Parse(ModelReport.Create(artifact, Record, Measured, null));
        string[] titles = [.. page.Descendants(Drawing + "title").Select(title => title.Value)];
        Assert.Contains("layer 1: error 2.10%, +2.10 points over the layer before", titles);
        Assert.Contains("layer 2: error 3.45%, +1.35 points over the layer before", titles);
        // 4 bits, and 3 bytes for each group of 32.
        Assert.Contains("layer 1, q_proj: 4.750 bits per weight", titles);
        Assert.Contains("layer 1, down_proj: 2.750 bits per weight", titles);
        Assert.Contains("layer 2, down_proj: 16.000 bits per weight, kept in floating point", titles);
        Assert.Single(page.Descendants(Drawing + "rect"), cell => (string?)cell.Attribute("class") == "float");
        Assert.Equal(["2", "3.450%", "4.75", "4.75", "4.75", "4.75", "2.75", "2.75", "16.00 float"], Row(page, "2"));
    }

    [Fact]
    public void Experts_share_a_row_that_shows_the_fewest_bits_the_median_and_the_most()
    {
        using Artifact artifact = SmallArtifact.Write(
            Path,
            linear => linear.Name switch
            {
                "model.layers.0.mlp.experts.0.up_proj" => new IntAffineFormat(8, 32, false, false),
                "model.layers.0.mlp.experts.3.up_proj" => new IntAffineFormat(2, 32, false, false),
                "model.layers.1.mlp.experts.2.down_proj" => null,
                _ => new IntAffineFormat(4, 32, false, false),
            },
            configJson: SmallArtifact.ConfigOfExperts);
        XElement page = Parse(ModelReport.Create(artifact, Record, Measured, null));
        string[] titles = [.. page.Descendants(Drawing + "title").Select(title => title.Value)];
        // One cell where all are alike, three where they are not.
        Assert.Single(titles, "layer 1, gate_proj × 4: 4.750 bits per weight");
        Assert.Equal(3, titles.Count(title => title == "layer 1, up_proj × 4: 2.750 to 8.750 bits per weight, median 4.750"));
        Assert.Equal(3, titles.Count(title => title == "layer 2, down_proj × 4: 4.750 to 16.000 bits per weight, median 4.750, 1 kept in floating point"));
        Assert.Single(page.Descendants(Drawing + "rect"), cell => (string?)cell.Attribute("class") == "float");
        // q, k, v, o, and three rows of experts.
        Assert.Equal(["layer", "error", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj × 4", "up_proj × 4", "down_proj × 4"], Row(page, "layer"));
        Assert.Equal(["1", "2.100%", "4.75", "4.75", "4.75", "4.75", "4.75", "2.75 to 8.75, median 4.75", "4.75"], Row(page, "1"));
        Assert.Contains("Experts share a cell", page.Value, StringComparison.Ordinal);
    }

    [Fact]
    public void What_was_not_measured_is_said_and_not_made_up()
    {
        using Artifact artifact = SmallArtifact.Write(Path, linear => new Int8RowOutlierFormat(6), isMeasured: false);
        XElement page = Parse(ModelReport.Create(artifact, Record with { Calibration = null, Warnings = [], Phases = [] }, null, "the process died"));
        Assert.StartsWith("Nobody knows what this cost", page.Descendants(Page + "p").Single(p => (string?)p.Attribute("class") == "verdict bad").Value, StringComparison.Ordinal);
        Assert.Contains("Running the artifact was not measured: the process died", page.Value, StringComparison.Ordinal);
        Assert.Contains("The method reads no calibration text.", page.Value, StringComparison.Ordinal);
        Assert.DoesNotContain("NaN", page.Value, StringComparison.Ordinal);
        Assert.DoesNotContain(page.Descendants(Drawing + "rect"), bar => (string?)bar.Attribute("class") == "bar");
    }

    [Fact]
    public void A_hostile_name_is_text()
    {
        const string name = "<script>alert('x')</script>\"&amp;]]>\u0001\ud800</title>";
        using Artifact artifact = SmallArtifact.Write(Path, linear => new Int8RowOutlierFormat(6), spec => spec["<b>"] = "</table><img src=x onerror=y>", modelName: name);
        string html = ModelReport.Create(artifact, Record, null, name);
        Assert.DoesNotContain("<script", html, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("<img", html, StringComparison.OrdinalIgnoreCase);
        Assert.StartsWith("<script>alert('x')</script>\"&amp;]]>\ufffd", Parse(html).Descendants(Page + "h1").Single().Value, StringComparison.Ordinal);
    }

    [Fact]
    public void A_page_needs_nothing_but_itself()
    {
        using Artifact artifact = SmallArtifact.Write(Path, linear => new Int8RowOutlierFormat(6));
        XElement page = Parse(ModelReport.Create(artifact, Record, Measured, null));
        Assert.DoesNotContain(page.DescendantsAndSelf(), element => element.Name.LocalName is "script" or "link" or "img" or "iframe" or "object");
        Assert.DoesNotContain(page.DescendantsAndSelf().Attributes(), attribute => attribute.Name.LocalName is "src" || attribute.Name.LocalName.StartsWith("on", StringComparison.Ordinal));
        Assert.DoesNotContain("url(", page.Descendants(Page + "style").Single().Value, StringComparison.Ordinal);
        // Every table's columns have heads, or it has none and its rows do.
        Assert.All(page.Descendants(Page + "tbody").Elements(Page + "tr"), row => Assert.Equal("row", (string?)row.Elements().First().Attribute("scope")));
    }

    [Fact]
    public void A_style_is_read_by_a_browser_as_it_was_written() => Assert.Equal(-1, StyleSheet.Text.IndexOfAny(['<', '>', '&']));

    internal static XElement Parse(string html)
    {
        Assert.StartsWith("<!DOCTYPE html>", html, StringComparison.Ordinal);
        return XDocument.Parse(html).Root!;
    }

    internal static string[] Row(XElement page, string head) =>
        [.. page.Descendants(Page + "tr").First(row => row.Elements().First().Value == head).Elements().Select(cell => cell.Value)];

    private static string Kilo(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:F1} kB");
}
