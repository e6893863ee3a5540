using System.Text.RegularExpressions;
using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

/// <summary>The pages about constrained output say what the code does.</summary>
public class ConstrainedOutputPageTests
{
    private static readonly string Docs = Path.GetFullPath(Path.Combine(Sample.ModelFolder, "..", "..", "..", "docs"));

    private static readonly string Page = File.ReadAllText(Path.Combine(Docs, "constrained-output.md"));

    [Fact]
    public void Examples_of_errors_are_the_messages_that_the_code_gives()
    {
        AssertShown("QB4007", () => OutputFormat.Grammar("root ::= sign digits\nsign ::= [+-]"));
        AssertShown("QB4008", () => OutputFormat.JsonSchema("""{"properties": {"price": {"multipleOf": 2}}}"""));
        AssertShown("QB4009", () => TypedOutput.Read("{\"Name\":\"Ann", TypedOutputTests.PersonType));
    }

    [Fact]
    public void The_example_of_a_grammar_is_one()
    {
        string grammar = Regex.Match(Page, "```text\n(.*?)```", RegexOptions.Singleline).Groups[1].Value;
        AutomatonRun run = new(grammar);
        Assert.True(run.Matches("e2e4 Ng1f3 O-O-O"));
        Assert.False(run.Matches("e2e9"));
    }

    [Fact]
    public void Keywords_and_formats_that_are_documented_are_supported()
    {
        string table = Page[Page.IndexOf("| keyword |", StringComparison.Ordinal)..Page.IndexOf("An integer has at most", StringComparison.Ordinal)];
        Dictionary<string, string> values = new()
        {
            ["type"] = "\"null\"", ["enum"] = "[1]", ["const"] = "1", ["properties"] = "{}", ["required"] = "[\"a\"]", ["additionalProperties"] = "true",
            ["propertyNames"] = "{\"minLength\":1}", ["items"] = "true", ["prefixItems"] = "[true]", ["minItems"] = "1", ["maxItems"] = "1", ["minLength"] = "1",
            ["maxLength"] = "1", ["pattern"] = "\"a\"", ["minimum"] = "1", ["maximum"] = "1", ["exclusiveMinimum"] = "1", ["exclusiveMaximum"] = "1",
            ["uniqueItems"] = "false", ["anyOf"] = "[true]", ["oneOf"] = "[true]", ["allOf"] = "[true]", ["$ref"] = "\"#/$defs/a\"", ["$defs"] = "{\"a\":true}",
        };
        HashSet<string> seen = [];
        foreach (Match row in Regex.Matches(table, "^\\| (`[^|]*)\\|", RegexOptions.Multiline))
        {
            foreach (Match name in Regex.Matches(row.Groups[1].Value, "`([a-zA-Z$]+)`"))
            {
                seen.Add(name.Groups[1].Value);
                if (!values.TryGetValue(name.Groups[1].Value, out string? value)) continue;
                string also = name.Groups[1].Value switch { "$ref" => ",\"$defs\":{\"a\":true}", "propertyNames" => ",\"additionalProperties\":true", _ => "" };
                RandomDecoding.Constraint(OutputFormat.JsonSchema($"{{\"{name.Groups[1].Value}\":{value}{also}}}"));
            }
        }

        Assert.Equal([], values.Keys.Except(seen));
        Assert.All(StringFormats.Patterns.Keys.Concat(StringFormats.OfNumbers), format => Assert.Contains($"`{format}`", table, StringComparison.Ordinal));
    }

    private static void AssertShown(string id, Action code)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(code);
        Assert.Equal(id, error.Id);
        Assert.Contains(
            $"QuantBuildException: {error.Message}\n", File.ReadAllText(Path.Combine(Docs, "diagnostics", id + ".md")), StringComparison.Ordinal);
    }
}
