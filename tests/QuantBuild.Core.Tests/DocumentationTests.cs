using System.Reflection;
using System.Text.RegularExpressions;

namespace QuantBuild.Core.Tests;

/// <summary>The pages under <c>docs/</c> say what the code does.</summary>
public partial class DocumentationTests
{
    private static readonly string Pages = Path.Combine(TestFiles.Repository, "docs", "diagnostics");

    private static readonly string DeclaringModels = File.ReadAllText(Path.Combine(TestFiles.Repository, "docs", "declaring-models.md"));

    private static readonly string[] AllIds =
        [.. typeof(DiagnosticIds).GetFields(BindingFlags.Public | BindingFlags.Static).Where(f => f.IsLiteral).Select(f => (string)f.GetValue(null)!)];

    public static TheoryData<string> Ids { get; } = [.. AllIds];

    [Fact]
    public void Every_id_has_a_page_and_every_page_an_id()
    {
        IEnumerable<string> pages = Directory.GetFiles(Pages, "QB*.md").Select(page => Path.GetFileNameWithoutExtension(page));
        Assert.Equal(AllIds.Order(StringComparer.Ordinal), pages.Order(StringComparer.Ordinal));
        Assert.Equal(AllIds.Length, AllIds.Distinct().Count());
    }

    [Theory]
    [MemberData(nameof(Ids))]
    public void A_page_has_title_example_causes_and_fix(string id)
    {
        string page = File.ReadAllText(Path.Combine(Pages, id + ".md"));
        Assert.StartsWith($"# {id}: ", page, StringComparison.Ordinal);
        foreach (string heading in new[] { "\n## Example\n", "\n## Why it happens\n", "\n## How to fix it\n" })
        {
            Assert.Contains(heading, page, StringComparison.Ordinal);
        }

        // A run-time error is shown as .NET prints an exception, which has no id in it. What an analyzer says is shown as the compiler prints it.
        Assert.Matches(id[2] == '4' && id[3] != '1' ? "QuantBuildException: " : $"(error|warning) {id}: ", page);
    }

    [Fact]
    public void The_table_of_diagnostics_has_every_page_with_its_title()
    {
        string table = File.ReadAllText(Path.Combine(Pages, "README.md"));
        Assert.All(AllIds, id =>
        {
            string title = File.ReadLines(Path.Combine(Pages, id + ".md")).First()[$"# {id}: ".Length..];
            Assert.Contains($"| [{id}]({id}.md) | {title} |\n", table, StringComparison.Ordinal);
        });
        Assert.Equal(AllIds.Length, Row().Count(table));
    }

    [Theory]
    [InlineData("Method", "Gguf", "QB0001")]
    [InlineData("Method", "Gptg", "QB0001")]
    [InlineData("Bits", "5", "QB0002")]
    [InlineData("GroupSize", "100", "QB0003")]
    [InlineData("Damping", "0", "QB0006")]
    public void An_example_is_the_message_that_the_code_gives(string name, string value, string id) =>
        AssertShown(id, () => QuantizationSpec.FromMetadata(n => n == name ? value : null));

    [Theory]
    [InlineData("Bits", "3", "QB0002")]
    [InlineData("GroupSize", "128", "QB0003")]
    public void An_example_of_NF4_is_the_message_that_the_code_gives(string name, string value, string id) =>
        AssertShown(id, () => QuantizationSpec.FromMetadata(n => n == name ? value : n == "Method" ? "Nf4" : null));

    [Fact]
    public void Examples_of_gates_are_the_messages_that_the_code_gives()
    {
        QualityGates gates = new() { MaxPerplexityIncrease = 0.02m };
        AssertShown("QB3008", () => gates.Check(
            new QualityFigures(5.68, 5.96, 0.0412, 0.93, 40_960, 2048, EvaluationText.EvaluationData, []), new QuantizationSpec()));
        AssertShown("QB3009", () => gates.Check(null, new QuantizationSpec()));
    }

    [Fact]
    public void Examples_of_the_models_files_are_the_messages_that_the_code_gives()
    {
        string config = File.ReadAllText(Path.Combine(TestFiles.SampleModel, "config.json"));
        AssertShown("QB0007", () => new QuantizationPlan(DecoderConfig.Parse(config, "config.json"), new QuantizationSpec { GroupSize = 512 }).Check());
        AssertShown("QB2004", () => DecoderConfig.Parse("""{"architectures": ["MambaForCausalLM"]}""", "/home/ann/hello/models/mamba/config.json"));
        AssertShown("QB2003", () => DecoderConfig.Parse("{\n\n\n\n\n  \"a\": 1\n  \"b\": 2\n}", "/home/ann/hello/models/llama-7b/config.json"));
        AssertShown("QB2011", () => DecoderConfig.Parse(
            """{"architectures": ["GPT2LMHeadModel"], "scale_attn_by_inverse_layer_idx": true}""", "/home/ann/hello/models/alias-gpt2-small-x21/config.json"));
    }

    [Fact]
    public void Examples_of_budgets_and_uses_are_the_messages_that_the_code_gives()
    {
        string config = File.ReadAllText(Path.Combine(TestFiles.SampleModel, "config.json"));
        AssertShown("QB0009", () => new QuantizationPlan(DecoderConfig.Parse(config, "config.json"), new QuantizationSpec { TargetBitsPerWeight = 2.2m }).Check());
        foreach (BuildWarning warning in UseChecks.Of(ModelUse.FineTuning, new QuantizationSpec())
            .Concat(UseChecks.Of(ModelUse.Production, new QuantizationSpec { Bits = 8 })))
        {
            Assert.Contains($": {warning.Text}\n", File.ReadAllText(Path.Combine(Pages, warning.Id + ".md")), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Metadata_is_documented_with_the_defaults_that_the_code_has()
    {
        // Method and Bits differ from method to method: the defaults are those of Gptq.
        foreach ((string name, string value) in Enum.GetValues<QuantizationMethod>().SelectMany(method => new QuantizationSpec { Method = method }.ToMetadata())
            .Where(entry => entry.Key is not ("Method" or "Bits")).Concat(new QuantizationSpec().ToMetadata()))
        {
            Match row = Regex.Match(DeclaringModels, $@"^\| `{name}` \|[^|]*\| `([^`]*)` \|", RegexOptions.Multiline);
            Assert.True(row.Success, $"docs/declaring-models.md has no row for {name}");
            Assert.Equal(value, row.Groups[1].Value);
        }

        foreach (string name in (string[])["Include", "CalibrationData", "EvaluationData", .. QualityGates.Names, MemoryLimit.Name, "TargetBitsPerWeight", "TargetSize", "Override", "Use", "ClassName", "Namespace", "PackQuantizedModel", "QuantBuildDevice", ModelCache.RootVariable])
        {
            Assert.Matches($@"(?m)^\| `{name}` \|", DeclaringModels);
        }
    }

    [Fact]
    public void Class_names_are_documented_as_the_code_makes_them()
    {
        MatchCollection rows = Regex.Matches(DeclaringModels, @"^\| `([^`]+)`, (\w+), (\d) bits \| `([^`]+)` \|", RegexOptions.Multiline);
        Assert.NotEmpty(rows);
        Assert.All(rows, row =>
        {
            QuantizationSpec spec = QuantizationSpec.FromMetadata(name => name switch { "Method" => row.Groups[2].Value, "Bits" => row.Groups[3].Value, _ => null });
            Assert.Equal(row.Groups[4].Value, ClassNames.Create(ClassNames.ModelName(row.Groups[1].Value), spec.Method.ToString(), row.Groups[3].Value));
        });
    }

    private static void AssertShown(string id, Action code)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(code);
        Assert.Equal(id, error.Id);
        Assert.Contains($"error {id}: {error.Message}\n", File.ReadAllText(Path.Combine(Pages, id + ".md")), StringComparison.Ordinal);
    }

    [GeneratedRegex(@"^\| \[QB\d{4}\]", RegexOptions.Multiline)]
    private static partial Regex Row();
}
