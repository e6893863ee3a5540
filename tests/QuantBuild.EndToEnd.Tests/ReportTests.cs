using System.Text.Json.Nodes;
using System.Xml.Linq;

namespace QuantBuild.EndToEnd.Tests;

[Collection(Builds.Name)]
public sealed class ReportTests(PackedFeed feed)
{
    private const string Item = """
        <QuantizedModel Include="tiny" Method="Gptq" Bits="4" GroupSize="16" CalibrationData="calibration.txt" CalibrationSamples="4" />
        """;

    [Fact]
    public void A_comparison_has_every_method_fills_the_cache_and_the_build_after_it_has_its_report()
    {
        UserProject project = new(feed);
        project.WriteModel("tiny", new TinyModel());
        string Output(string name) => Path.Combine(project.Intermediate, "quantbuild", name);
        project.Declare(Item.Replace("Gptq", "Rtn", StringComparison.Ordinal));
        project.Build();
        Dictionary<string, DateTime> made = Artifacts(project);

        project.Declare(Item);
        BuildResult compared = project.Build("-t:QuantBuildCompare");
        // What was there is not made again.
        Dictionary<string, DateTime> all = Artifacts(project);
        Assert.Single(made);
        Assert.Subset(all.ToHashSet(), made.ToHashSet());
        Assert.False(compared.Compiled);
        JsonArray rows = JsonNode.Parse(File.ReadAllText(Output("TinyGptq4.compare.json")))!["Rows"]!.AsArray();
        Assert.All(rows, row => Assert.Null(row!["Failure"]));
        Assert.Equal(rows.Count - 1, all.Count);
        Assert.Equal("float", (string)rows[0]!["Method"]!);
        Assert.Superset(new HashSet<string> { "Int8", "Nf4", "Fp4", "Rtn", "Gptq" }, rows.Select(row => (string)row!["Method"]!).ToHashSet());
        Assert.All(rows.Skip(1), row => Assert.True((double)row!["Seconds"]! > 0 && (long)row["PeakMemoryBytes"]! > 0 && (double)row["Perplexity"]! > 1));
        Assert.All(rows, row => Assert.True((double)row!["TokensPerSecond"]! > 0));
        JsonNode declared = rows.Single(row => (bool)row!["IsDeclared"]!)!;
        Assert.Equal("Gptq", (string)declared["Method"]!);
        XDocument.Parse(File.ReadAllText(Output("TinyGptq4.compare.html")));
        string[] markdown = File.ReadAllLines(Output("TinyGptq4.compare.md"));
        Assert.All(markdown.Where(line => line.Length > 0), line => Assert.Contains(line, compared.Output, StringComparison.Ordinal));
        Assert.Contains($"row 1 of {rows.Count - 1}: ", compared.Output, StringComparison.Ordinal);
        Assert.Empty(project.Leftovers());

        // What is declared is among what was compared: the build finds it made, and its report too.
        BuildResult built = project.Build();
        Assert.Equal(0, built.Workers);
        XDocument report = XDocument.Parse(File.ReadAllText(Output("TinyGptq4.html")));
        Assert.Contains(report.Descendants("{http://www.w3.org/1999/xhtml}code"), code => code.Value == (string)declared["Fingerprint"]!);
        Assert.False(File.Exists(Path.Combine(project.Output, "TinyGptq4.html")));
        Assert.True(File.Exists(Output("TinyGptq4.compare.html")));

        Assert.Equal(all, Artifacts(project));

        Assert.Equal(0, project.Run("clean").ExitCode);
        Assert.False(File.Exists(Output("TinyGptq4.html")));
    }

    private static Dictionary<string, DateTime> Artifacts(UserProject project) =>
        Directory.GetFiles(Path.Combine(project.Cache, "artifacts"), "*.safetensors", SearchOption.AllDirectories).ToDictionary(file => file, File.GetLastWriteTimeUtc);
}
