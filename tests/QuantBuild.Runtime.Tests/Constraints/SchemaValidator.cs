using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace QuantBuild.Runtime.Tests.Constraints;

/// <summary>Whether a JSON schema accepts a value, by the specification (2020-12), for the keywords of the documented subset.</summary>
internal sealed class SchemaValidator(JsonElement document)
{
    public static bool Accepts(string schema, string json)
    {
        using JsonDocument schemaDocument = JsonDocument.Parse(schema);
        using JsonDocument value = JsonDocument.Parse(json);
        return new SchemaValidator(schemaDocument.RootElement).Accepts(schemaDocument.RootElement, value.RootElement);
    }

    public bool Accepts(JsonElement schema, JsonElement value)
    {
        if (schema.ValueKind is JsonValueKind.True or JsonValueKind.False) return schema.ValueKind == JsonValueKind.True;
        return schema.EnumerateObject().All(keyword => Accepts(schema, keyword.Name, keyword.Value, value));
    }

    private bool Accepts(JsonElement schema, string keyword, JsonElement rule, JsonElement value) => keyword switch
    {
        "$ref" => Accepts(Find(rule.GetString()!), value),
        "allOf" => rule.EnumerateArray().All(branch => Accepts(branch, value)),
        "anyOf" or "oneOf" => rule.EnumerateArray().Any(branch => Accepts(branch, value)),
        "const" => JsonElement.DeepEquals(rule, value),
        "enum" => rule.EnumerateArray().Any(option => JsonElement.DeepEquals(option, value)),
        "type" => rule.ValueKind == JsonValueKind.Array ? rule.EnumerateArray().Any(type => IsOf(type.GetString()!, value)) : IsOf(rule.GetString()!, value),
        _ => value.ValueKind switch
        {
            JsonValueKind.Object => AcceptsObject(schema, keyword, rule, value),
            JsonValueKind.Array => AcceptsArray(schema, keyword, rule, value),
            JsonValueKind.String => AcceptsString(keyword, rule, value.GetString()!),
            JsonValueKind.Number => AcceptsNumber(keyword, rule, value),
            _ => true,
        },
    };

    private bool AcceptsObject(JsonElement schema, string keyword, JsonElement rule, JsonElement value) => keyword switch
    {
        "properties" => rule.EnumerateObject().All(p => value.EnumerateObject().Where(m => m.Name == p.Name).All(m => Accepts(p.Value, m.Value))),
        "required" => rule.EnumerateArray().All(name => value.TryGetProperty(name.GetString()!, out _)),
        "additionalProperties" => value.EnumerateObject().All(m =>
            (schema.TryGetProperty("properties", out JsonElement declared) && declared.TryGetProperty(m.Name, out _)) || Accepts(rule, m.Value)),
        "propertyNames" => value.EnumerateObject().All(m =>
        {
            using JsonDocument name = JsonDocument.Parse(JsonSerializer.Serialize(m.Name));
            return Accepts(rule, name.RootElement);
        }),
        _ => true,
    };

    private bool AcceptsArray(JsonElement schema, string keyword, JsonElement rule, JsonElement value) => keyword switch
    {
        "prefixItems" => rule.EnumerateArray().Zip(value.EnumerateArray()).All(pair => Accepts(pair.First, pair.Second)),
        "items" => value.EnumerateArray().Skip(schema.TryGetProperty("prefixItems", out JsonElement prefix) ? prefix.GetArrayLength() : 0).All(item => Accepts(rule, item)),
        "minItems" => value.GetArrayLength() >= rule.GetInt32(),
        "maxItems" => value.GetArrayLength() <= rule.GetInt32(),
        _ => true,
    };

    private static bool AcceptsString(string keyword, JsonElement rule, string value) => keyword switch
    {
        "minLength" => value.EnumerateRunes().Count() >= rule.GetInt32(),
        "maxLength" => value.EnumerateRunes().Count() <= rule.GetInt32(),
        // A character counts as one, as the specification has it with ECMAScript's flag u; .NET would count halves of surrogate pairs.
        "pattern" => Regex.IsMatch(string.Concat(value.EnumerateRunes().Select(rune => rune.IsBmp ? (char)rune.Value : '\uE000')), rule.GetString()!, RegexOptions.ECMAScript),
        "format" => rule.GetString() switch
        {
            "date" => DateOnly.TryParseExact(value, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _),
            "date-time" or "time" => DateTimeOffset.TryParse(value, CultureInfo.InvariantCulture, out _),
            "uuid" => Guid.TryParseExact(value, "D", out _),
            "email" => System.Net.Mail.MailAddress.TryCreate(value, out _),
            "uri" => Uri.TryCreate(value, UriKind.Absolute, out _),
            "ipv4" => System.Net.IPAddress.TryParse(value, out System.Net.IPAddress? address) && address.ToString() == value,
            _ => true,
        },
        _ => true,
    };

    private static bool AcceptsNumber(string keyword, JsonElement rule, JsonElement value) => keyword switch
    {
        "minimum" => Compare(value, rule) >= 0,
        "maximum" => Compare(value, rule) <= 0,
        "exclusiveMinimum" => Compare(value, rule) > 0,
        "exclusiveMaximum" => Compare(value, rule) < 0,
        _ => true,
    };

    private static int Compare(JsonElement first, JsonElement second) => Scaled(first).CompareTo(Scaled(second));

    // Exact: a number times 10^120, which leaves no fraction.
    private static BigInteger Scaled(JsonElement number)
    {
        string[] parts = number.GetRawText().Split('e', 'E');
        int exponent = parts.Length > 1 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : 0;
        string[] digits = parts[0].Split('.');
        string fraction = digits.Length > 1 ? digits[1] : "";
        return BigInteger.Parse(digits[0] + fraction, CultureInfo.InvariantCulture) * BigInteger.Pow(10, 120 + exponent - fraction.Length);
    }

    private static bool IsOf(string type, JsonElement value) => type switch
    {
        "object" => value.ValueKind == JsonValueKind.Object,
        "array" => value.ValueKind == JsonValueKind.Array,
        "string" => value.ValueKind == JsonValueKind.String,
        "number" => value.ValueKind == JsonValueKind.Number,
        "integer" => value.ValueKind == JsonValueKind.Number && Scaled(value) % BigInteger.Pow(10, 120) == 0,
        "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "null" => value.ValueKind == JsonValueKind.Null,
        _ => throw new InvalidOperationException(type),
    };

    private JsonElement Find(string reference)
    {
        JsonElement found = document;
        foreach (string step in reference.Split('/').Skip(1))
        {
            string name = step.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
            found = found.ValueKind == JsonValueKind.Array ? found[int.Parse(name, CultureInfo.InvariantCulture)] : found.GetProperty(name);
        }

        return found;
    }
}
