using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace QuantBuild.Constraints;

/// <summary>One schema within a JSON schema: its keywords, each known to be supported.</summary>
internal sealed class JsonSchemaNode
{
    /// <summary>The types that JSON schema has; <c>integer</c> is a kind of <c>number</c>.</summary>
    public static readonly IReadOnlyList<string> AllTypes = ["object", "array", "string", "number", "integer", "boolean", "null"];

    private static readonly HashSet<string> Annotations =
        ["$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly"];

    private static readonly Dictionary<string, JsonValueKind> Supported = new()
    {
        ["$ref"] = JsonValueKind.String,
        ["allOf"] = JsonValueKind.Array,
        ["anyOf"] = JsonValueKind.Array,
        ["oneOf"] = JsonValueKind.Array,
        ["const"] = JsonValueKind.Undefined,
        ["enum"] = JsonValueKind.Array,
        ["additionalProperties"] = JsonValueKind.Undefined,
        ["propertyNames"] = JsonValueKind.Undefined,
        ["items"] = JsonValueKind.Undefined,
        ["prefixItems"] = JsonValueKind.Array,
        ["minItems"] = JsonValueKind.Number,
        ["maxItems"] = JsonValueKind.Number,
        ["minLength"] = JsonValueKind.Number,
        ["maxLength"] = JsonValueKind.Number,
        ["pattern"] = JsonValueKind.String,
        ["format"] = JsonValueKind.String,
        ["minimum"] = JsonValueKind.Number,
        ["maximum"] = JsonValueKind.Number,
        ["exclusiveMinimum"] = JsonValueKind.Number,
        ["exclusiveMaximum"] = JsonValueKind.Number,
    };

    private readonly Dictionary<string, (JsonElement Value, string Pointer)> keywords = [];

    private JsonSchemaNode(string pointer) => Pointer = pointer;

    /// <summary>Where the schema is, as a JSON pointer.</summary>
    public string Pointer { get; }

    /// <summary>Whether it is <c>false</c>, which nothing matches.</summary>
    public bool IsFalse { get; private set; }

    /// <summary>The types that it allows; <see langword="null"/> if it does not say.</summary>
    public IReadOnlyList<string>? Types { get; private set; }

    /// <summary>The declared properties, in order.</summary>
    public List<(string Name, JsonElement Schema, string Pointer)> Properties { get; } = [];

    /// <summary>Whether it says <c>properties</c>, be it of none.</summary>
    public bool HasProperties { get; private set; }

    /// <summary>The names of properties that there must be.</summary>
    public List<string> Required { get; } = [];

    /// <summary>Whether it says nothing but what annotates.</summary>
    public bool IsTrue => !IsFalse && Types is null && !HasProperties && Required.Count == 0 && keywords.Count == 0;

    /// <summary>Whether it has a keyword, other than <c>type</c>, <c>properties</c> and <c>required</c>.</summary>
    public bool Has(params ReadOnlySpan<string> names)
    {
        foreach (string name in names)
        {
            if (keywords.ContainsKey(name)) return true;
        }

        return false;
    }

    /// <summary>Reads a schema.</summary>
    /// <exception cref="QuantBuildException">QB4008: it is malformed, or has a keyword that is not supported.</exception>
    public static JsonSchemaNode Parse(JsonElement schema, string pointer)
    {
        JsonSchemaNode node = new(pointer);
        if (schema.ValueKind is JsonValueKind.True or JsonValueKind.False)
        {
            node.IsFalse = schema.ValueKind == JsonValueKind.False;
            return node;
        }

        if (schema.ValueKind != JsonValueKind.Object) throw Error(pointer, $"a schema is an object, true or false, and this is {Describe(schema)}");
        foreach (JsonProperty keyword in schema.EnumerateObject()) node.Read(keyword.Name, keyword.Value, Below(pointer, keyword.Name));
        return node;
    }

    /// <summary>A JSON pointer to a member of what another points to.</summary>
    public static string Below(string pointer, string member) =>
        pointer + "/" + member.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal);

    /// <summary>An error at a place of the schema.</summary>
    public static QuantBuildException Error(string pointer, string what) => new(
        DiagnosticIds.SchemaUnsupported,
        $"The JSON schema cannot be used, at {(pointer.Length == 0 ? "its root" : pointer)}: {what}. docs/constrained-output.md says what is supported.");

    /// <summary>A keyword's value.</summary>
    public (JsonElement Value, string Pointer)? Keyword(string name) => keywords.TryGetValue(name, out (JsonElement, string) found) ? found : null;

    /// <summary>A keyword's value, not negative and not above a million; <see langword="null"/> if it is not there.</summary>
    public int? Count(string name)
    {
        const int most = 1_000_000;
        if (Keyword(name) is not { } keyword) return null;
        return keyword.Value.TryGetDecimal(out decimal value) && value is >= 0 and <= most && value == decimal.Truncate(value)
            ? (int)value
            : throw Error(keyword.Pointer, $"{name} is {keyword.Value.GetRawText()}, expected a whole number from 0 to {most}");
    }

    /// <summary>A keyword's value, a whole number; <see langword="null"/> if it is not there.</summary>
    public BigInteger? Whole(string name)
    {
        if (Keyword(name) is not { } keyword) return null;
        string text = keyword.Value.GetRawText();
        if (BigInteger.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out BigInteger whole)) return whole;
        return keyword.Value.TryGetDecimal(out decimal value) && value == decimal.Truncate(value)
            ? new BigInteger(value)
            : throw Error(keyword.Pointer, $"{name} is {text}, and bounds that are not whole numbers are not supported");
    }

    /// <summary>This schema without a keyword.</summary>
    public JsonSchemaNode Without(string name)
    {
        JsonSchemaNode copy = Copy();
        copy.keywords.Remove(name);
        return copy;
    }

    /// <summary>What both this schema and another match.</summary>
    /// <exception cref="QuantBuildException">QB4008: both have a keyword with different values.</exception>
    public JsonSchemaNode And(JsonSchemaNode other)
    {
        JsonSchemaNode both = Copy();
        both.IsFalse |= other.IsFalse;
        both.RestrictTypes(other.Types);
        RefuseClosed(this, other);
        RefuseClosed(other, this);
        foreach ((string name, (JsonElement value, string pointer)) in other.keywords)
        {
            if (both.keywords.TryAdd(name, (value, pointer)) || JsonElement.DeepEquals(both.keywords[name].Value, value)) continue;
            throw Error(pointer, $"{name} is said at {both.keywords[name].Pointer} too, for the same value, and the two cannot be combined. Say it once");
        }

        both.HasProperties |= other.HasProperties;
        foreach ((string name, JsonElement value, string pointer) in other.Properties) both.AddProperty(name, value, pointer);
        both.Required.AddRange(other.Required.Except(both.Required));
        return both;
    }

    private JsonSchemaNode Copy()
    {
        JsonSchemaNode copy = new(Pointer) { IsFalse = IsFalse, Types = Types, HasProperties = HasProperties };
        foreach ((string name, (JsonElement, string) value) in keywords) copy.keywords[name] = value;
        copy.Properties.AddRange(Properties);
        copy.Required.AddRange(Required);
        return copy;
    }

    /// <summary>What a schema says of further properties is about those of its own, and another one's would be such.</summary>
    private static void RefuseClosed(JsonSchemaNode closed, JsonSchemaNode other)
    {
        if (closed.Keyword("additionalProperties") is not { Value.ValueKind: not JsonValueKind.True } keyword) return;
        if (other.Properties.Find(property => !closed.Properties.Exists(own => own.Name == property.Name)) is not { Name: { } name } stranger) return;
        throw Error(keyword.Pointer, $"additionalProperties is about the property \"{name}\" at {stranger.Pointer} too. Declare it beside additionalProperties");
    }

    private void Read(string name, JsonElement value, string pointer)
    {
        switch (name)
        {
            case "type":
                ReadTypes(value, pointer);
                return;
            case "properties":
                Expect(name, value, pointer, JsonValueKind.Object);
                HasProperties = true;
                foreach (JsonProperty property in value.EnumerateObject()) AddProperty(property.Name, property.Value, Below(pointer, property.Name));
                return;
            case "required":
                Expect(name, value, pointer, JsonValueKind.Array);
                foreach (JsonElement property in value.EnumerateArray())
                {
                    Expect("each name in required", property, pointer, JsonValueKind.String);
                    if (!Required.Contains(property.GetString()!)) Required.Add(property.GetString()!);
                }

                return;
            case "uniqueItems" when value.ValueKind == JsonValueKind.False:
                return;
        }

        if (Annotations.Contains(name)) return;
        if (!Supported.TryGetValue(name, out JsonValueKind kind)) throw Error(pointer, $"the keyword {name} is not supported");
        if (kind != JsonValueKind.Undefined) Expect(name, value, pointer, kind);
        if (name == "items" && value.ValueKind == JsonValueKind.Array) throw Error(pointer, "a list of schemas is called prefixItems, and items is what follows them");
        keywords[name] = (value, pointer);
    }

    private void ReadTypes(JsonElement value, string pointer)
    {
        JsonElement[] types = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : [value];
        foreach (JsonElement type in types)
        {
            if (type.ValueKind != JsonValueKind.String || !AllTypes.Contains(type.GetString()))
            {
                throw Error(pointer, $"there is no type {type.GetRawText()}; there are {string.Join(", ", AllTypes)}");
            }
        }

        RestrictTypes([.. types.Select(type => type.GetString()!)]);
    }

    private void RestrictTypes(IReadOnlyList<string>? others)
    {
        if (others is null) return;
        if (Types is null)
        {
            Types = others;
            return;
        }

        string[] both = [.. Types.Where(type => others.Contains(type) || (type == "integer" && others.Contains("number")))];
        Types = others.Contains("integer") && Types.Contains("number") && !both.Contains("integer") ? [.. both, "integer"] : both;
    }

    private void AddProperty(string name, JsonElement schema, string pointer)
    {
        int known = Properties.FindIndex(property => property.Name == name);
        if (known < 0)
        {
            Properties.Add((name, schema, pointer));
        }
        else if (!JsonElement.DeepEquals(Properties[known].Schema, schema))
        {
            throw Error(pointer, $"the property \"{name}\" is declared at {Properties[known].Pointer} too, and the two cannot be combined. Declare it once");
        }
    }

    private static void Expect(string name, JsonElement value, string pointer, JsonValueKind kind)
    {
        if (value.ValueKind != kind) throw Error(pointer, $"{name} is {Describe(value)}, expected {Describe(kind)}");
    }

    private static string Describe(JsonElement value) => Describe(value.ValueKind);

    private static string Describe(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.Null => "null",
        _ => "true or false",
    };
}
