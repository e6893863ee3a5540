using System.Text.Json;
using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

public class JsonSchemaTests
{
    [Theory]
    [InlineData("{\"type\":\"null\"}", "null", "0")]
    [InlineData("{\"type\":\"boolean\"}", "false", "\"false\"")]
    [InlineData("{\"type\":[\"boolean\",\"null\"]}", "null", "1")]
    [InlineData("{\"type\":\"integer\"}", "-120", "01")]
    [InlineData("{\"type\":\"integer\"}", "0", "1.5")]
    [InlineData("{\"type\":\"integer\",\"minimum\":-3,\"maximum\":117}", "117", "118")]
    [InlineData("{\"type\":\"integer\",\"exclusiveMinimum\":7}", "8", "7")]
    [InlineData("{\"type\":\"integer\",\"maximum\":-7}", "-123456", "-6")]
    [InlineData("{\"type\":\"integer\",\"minimum\":12345678901234567890123}", "12345678901234567890124", "12345678901234567890122")]
    [InlineData("{\"type\":\"number\"}", "-1.5e-7", "+1")]
    [InlineData("{\"type\":\"number\",\"format\":\"decimal\"}", "1.5", "1e5")]
    [InlineData("{\"type\":\"number\",\"minimum\":0,\"maximum\":1}", "0.25", "1.01")]
    [InlineData("{\"type\":\"number\",\"exclusiveMinimum\":0}", "0.001", "0.0")]
    [InlineData("{\"type\":\"number\",\"minimum\":-2,\"exclusiveMaximum\":3}", "-1.99", "3")]
    [InlineData("{\"type\":\"string\"}", "\"a\\n\\u00e9\\ud83d\\ude00\U0001F600\"", "\"\\ud83d\"")]
    [InlineData("{\"type\":\"string\"}", "\"\"", "\"\n\"")]
    [InlineData("{\"type\":\"string\",\"minLength\":1,\"maxLength\":2}", "\"\\ud83d\\ude00é\"", "\"abc\"")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"^[a-c]{2}$\"}", "\"cb\"", "\"abc\"")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"b\"}", "\"abc\"", "\"ac\"")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"^a|b$\"}", "\"xb\"", "\"xa\"")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"^(?:x|\\\\d+?)\\\\.$\"}", "\"12.\"", "\"12\"")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"^[^\\\\w]\\\\s\\\"\\\\\\\\$\"}", "\"- \\\"\\\\\"", "\"a \\\"\\\\\"")]
    [InlineData("{\"type\":\"string\",\"format\":\"date\"}", "\"2024-02-29\"", "\"2023-02-29\"")]
    [InlineData("{\"type\":\"string\",\"format\":\"date-time\"}", "\"2024-12-31T23:59:59.5Z\"", "\"2024-12-31 23:59:59Z\"")]
    [InlineData("{\"type\":\"string\",\"format\":\"uuid\"}", "\"01234567-89ab-cdef-0123-456789abcdef\"", "\"0123\"")]
    [InlineData("{\"enum\":[\"a\\u0022\",1.0,null,{\"b\":[1, 2]}]}", "{\"b\":[1,2]}", "\"a\"")]
    [InlineData("{\"type\":\"string\",\"enum\":[\"a\",1]}", "\"a\"", "1")]
    [InlineData("{\"const\":\"é/\"}", "\"é/\"", "\"e\"")]
    [InlineData("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":2}", "[1,2]", "[]")]
    [InlineData("{\"type\":\"array\",\"maxItems\":0}", "[]", "[1]")]
    [InlineData("{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"null\"}]}", "[1]", "[null]")]
    [InlineData("{\"prefixItems\":[{\"type\":\"integer\"}],\"minItems\":3,\"items\":{\"type\":\"null\"}}", "[1,null,null]", "[1,null]")]
    [InlineData("{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"null\"}],\"items\":false,\"minItems\":2}", "[1,null]", "[1,null,1]")]
    [InlineData("{\"type\":\"array\"}", "[1,[],{\"a\":\"\"},null]", "[,]")]
    [InlineData("{\"properties\":{\"a\":true,\"b\":{\"type\":\"null\"}},\"required\":[\"b\"]}", "{\"b\":null}", "{\"a\":1}")]
    [InlineData("{\"properties\":{\"a\":true,\"b\":true,\"c\":true}}", "{\"a\":0,\"c\":1}", "{\"a\":0,}")]
    [InlineData("{\"properties\":{\"a\":true,\"b\":true,\"c\":true}}", "{}", "{,\"b\":1}")]
    [InlineData("{\"properties\":{},\"additionalProperties\":false}", "{}", "{\"a\":1}")]
    [InlineData("{\"properties\":{\"ab\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":\"integer\"}}", "{\"ab\":null,\"a\":1,\"abc\":2}", "{\"ab\":1}")]
    [InlineData("{\"additionalProperties\":{\"type\":\"integer\"},\"required\":[\"x\"]}", "{\"x\":1}", "{\"y\":1}")]
    [InlineData("{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[0-9]+$\"},\"additionalProperties\":true}", "{\"12\":[]}", "{\"a\":1}")]
    [InlineData("{\"type\":\"object\"}", "{\"a\":{\"b\":[{}]}}", "[]")]
    [InlineData("{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"integer\"}]}", "5", "true")]
    [InlineData("{\"type\":\"object\",\"required\":[\"t\"],\"anyOf\":[{\"properties\":{\"t\":{\"const\":1}}},{\"properties\":{\"t\":{\"const\":2},\"u\":true}}]}", "{\"t\":2,\"u\":0}", "{\"t\":3}")]
    [InlineData("{\"allOf\":[{\"type\":[\"integer\",\"string\"]},{\"type\":\"number\"}],\"minimum\":0}", "3", "\"\"")]
    [InlineData("{\"$ref\":\"#/$defs/a~1b\",\"$defs\":{\"a/b\":{\"type\":\"null\"}}}", "null", "1")]
    [InlineData("{\"type\":\"object\",\"properties\":{\"next\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},\"required\":[\"next\"]}", "{\"next\":{\"next\":null}}", "{\"next\":{}}")]
    [InlineData("true", "[1]", "")]
    public void A_schema_becomes_what_it_accepts(string schema, string accepted, string refused)
    {
        AutomatonRun run = Automaton(schema);
        Assert.True(run.Matches(accepted));
        Assert.False(run.Matches(refused));
        Assert.True(SchemaValidator.Accepts(schema, accepted));
    }

    [Theory]
    [InlineData("{\"type\":\"text\"}", "/type", "no type \"text\"")]
    [InlineData("{\"properties\":{\"a\":{\"items\":{\"multipleOf\":2}}}}", "/properties/a/items/multipleOf", "multipleOf")]
    [InlineData("{\"not\":{}}", "/not", "not")]
    [InlineData("{\"if\":{}}", "/if", "if")]
    [InlineData("{\"patternProperties\":{}}", "/patternProperties", "patternProperties")]
    [InlineData("{\"uniqueItems\":true}", "/uniqueItems", "uniqueItems")]
    [InlineData("{\"$defs\":{\"a\":{\"contains\":1}},\"$ref\":\"#/$defs/a\"}", "/$defs/a/contains", "contains")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "/pattern", "looks around")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", "/pattern", "\\1")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"\\\\bword\"}", "/pattern", "\\b")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"a^\"}", "/pattern", "^")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"(a\"}", "/pattern", "group")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"a)\"}", "/pattern", ")")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"[a\"}", "/pattern", "class")]
    [InlineData("{\"type\":\"string\",\"pattern\":\"a\",\"maxLength\":3}", "/pattern", "maxLength")]
    [InlineData("{\"type\":\"string\",\"format\":\"iri\"}", "/format", "iri")]
    [InlineData("{\"type\":\"number\",\"minimum\":0.5}", "/minimum", "whole numbers")]
    [InlineData("{\"type\":\"integer\",\"minimum\":\"1\"}", "/minimum", "a string, expected a number")]
    [InlineData("{\"type\":\"string\",\"maxLength\":-1}", "/maxLength", "-1")]
    [InlineData("{\"enum\":[1,2],\"minimum\":2}", "its root", "enum")]
    [InlineData("{\"items\":[{}]}", "/items", "prefixItems")]
    [InlineData("{\"$ref\":\"#/$defs/x\"}", "/$ref", "nothing")]
    [InlineData("{\"$ref\":\"other.json\"}", "/$ref", "within the schema")]
    [InlineData("{\"properties\":{\"a\":{\"$ref\":\"#/properties/a\"}},\"required\":[\"a\"]}", null, "No finite text")]
    [InlineData("{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", null, "No finite text")]
    [InlineData("{\"type\":\"integer\",\"minimum\":2,\"maximum\":1}", null, "No finite text")]
    [InlineData("{\"allOf\":[{\"minLength\":1},{\"minLength\":2}]}", "/allOf/1/minLength", "minLength")]
    [InlineData("{\"allOf\":[{\"properties\":{\"a\":true},\"additionalProperties\":false},{\"properties\":{\"b\":true}}]}", "/allOf/0/additionalProperties", "\"b\"")]
    [InlineData("{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\",\"minProperties\":1}}}", "/properties/a/minProperties", "minProperties")]
    [InlineData("{\"properties\":{\"a\":{\"type\":\"object\",\"$ref\":\"#\"}}}", "/properties/a", "without an end")]
    [InlineData("[]", "its root", "an array")]
    [InlineData("{", null, "not JSON")]
    [InlineData("{\"const\":\"\\ud800\"}", null, "surrogate")]
    public void What_is_not_supported_is_named_with_its_place(string schema, string? pointer, string named)
    {
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => RandomDecoding.Constraint(OutputFormat.JsonSchema(schema)));
        Assert.Equal("QB4008", error.Id);
        if (pointer is not null) Assert.Contains($" at {pointer}: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Integers_between_bounds_are_these_and_no_others()
    {
        Random random = new(2);
        for (int trial = 0; trial < 60; trial++)
        {
            int a = random.Next(-1200, 1200), b = random.Next(-1200, 1200);
            (int min, int max) = (Math.Min(a, b), Math.Max(a, b));
            AutomatonRun run = Automaton($$"""{"type": "integer", "minimum": {{min}}, "maximum": {{max}}}""");
            for (int value = -1500; value <= 1500; value++) Assert.Equal(value >= min && value <= max, run.Matches($"{value}"));
        }
    }

    [Fact]
    public void Numbers_between_bounds_are_these_and_no_others()
    {
        Random random = new(3);
        for (int trial = 0; trial < 60; trial++)
        {
            int a = random.Next(-12, 12), b = random.Next(-12, 12);
            (int min, int max) = (Math.Min(a, b), Math.Max(a, b));
            bool withMin = random.Next(2) == 0, withMax = random.Next(2) == 0;
            if (min == max && !(withMin && withMax)) continue;
            string lower = withMin ? "minimum" : "exclusiveMinimum", upper = withMax ? "maximum" : "exclusiveMaximum";
            AutomatonRun run = Automaton($$"""{"type": "number", "{{lower}}": {{min}}, "{{upper}}": {{max}}}""");
            for (int hundredths = -1500; hundredths <= 1500; hundredths++)
            {
                decimal value = hundredths / 100m;
                bool inside = (value > min || (withMin && value == min)) && (value < max || (withMax && value == max));
                string text = System.FormattableString.Invariant($"{value:0.00}");
                // A bound that is included may be written without a fraction only.
                if (value != min && value != max) Assert.Equal(inside, run.Matches(text));
                else if (!inside) Assert.False(run.Matches(text));
                if (value == decimal.Truncate(value)) Assert.Equal(inside, run.Matches(System.FormattableString.Invariant($"{value:0}")));
            }
        }
    }

    [Fact]
    public void Depth_is_what_readers_of_dotnet_take()
    {
        AutomatonRun run = Automaton("true");
        string deepest = new string('[', 64) + new string(']', 64);
        Assert.True(run.Matches(deepest));
        using (JsonDocument.Parse(deepest)) { }
        Assert.True(run.After(new string('[', 65)).IsDead);
    }

    [Fact]
    public void A_schema_with_many_optional_properties_stays_small()
    {
        string properties = string.Join(',', Enumerable.Range(0, 300).Select(i => $$"""
            "property{{i}}": {"type": "string"}
            """));
        AutomatonRun run = Automaton($$"""{"type": "object", "properties": { {{properties}} } }""");
        Assert.True(run.Matches("""{"property7":"","property299":""}"""));
        Assert.False(run.Matches("""{"property8":"","property7":""}"""));
    }

    private static AutomatonRun Automaton(string schema)
    {
        using JsonDocument document = JsonDocument.Parse(schema);
        return new AutomatonRun(JsonSchemaGrammar.Make(document.RootElement));
    }
}
