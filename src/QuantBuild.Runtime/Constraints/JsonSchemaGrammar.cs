using System.Numerics;
using System.Text.Json;

namespace QuantBuild.Constraints;

/// <summary>
/// Turns a JSON schema into a grammar of JSON without white space. What the grammar matches, the schema accepts; the schema may accept more: other orders of the
/// properties, longer numbers. A keyword that is not supported is an error.
/// </summary>
internal sealed class JsonSchemaGrammar
{
    /// <summary>The depth of arrays and objects that readers of .NET accept if they are not told otherwise.</summary>
    public const int DefaultMaxDepth = 64;

    // Schemas that are merged into those that refer to them: a cycle of these has no end.
    private const int MaxMerges = 64;

    private const string AnyValueRule = "any value";
    private const string CharacterRule = "character";

    private readonly JsonElement document;
    private readonly Grammar grammar;
    private readonly Queue<(string Rule, JsonElement Schema, string Pointer)> referenced = [];
    private int merges;

    private JsonSchemaGrammar(JsonElement document, int maxDepth)
    {
        this.document = document;
        grammar = new Grammar(DiagnosticIds.SchemaUnsupported) { MaxDepth = maxDepth };
    }

    /// <summary>Turns a schema into a grammar.</summary>
    /// <param name="schema">The schema.</param>
    /// <param name="maxDepth">How deep arrays and objects may be nested.</param>
    /// <exception cref="QuantBuildException">QB4008: the schema is malformed, or asks for what is not supported.</exception>
    public static Grammar Make(JsonElement schema, int maxDepth = DefaultMaxDepth)
    {
        try
        {
            return new JsonSchemaGrammar(schema, maxDepth).Make();
        }
        catch (InvalidOperationException e)
        {
            // System.Text.Json parses such a text, and does not give it out.
            throw new QuantBuildException(
                DiagnosticIds.SchemaUnsupported, "The JSON schema has a text with half of a surrogate pair (\\ud800 to \\udfff), which no UTF-8 can say. Correct it.", e);
        }
    }

    private Grammar Make()
    {
        grammar.Rules[CharacterRule] = JsonText.AnyCharacter;
        grammar.Rules[Grammar.Root] = ReferTo("", document);
        while (referenced.TryDequeue(out (string Rule, JsonElement Schema, string Pointer) next))
        {
            grammar.Rules[next.Rule] = Convert(next.Schema, next.Pointer);
        }

        return grammar;
    }

    /// <summary>The rule of a schema that may be referred to from anywhere, itself included.</summary>
    private GrammarExpression.Reference ReferTo(string pointer, JsonElement schema)
    {
        string rule = "#" + pointer;
        if (grammar.Rules.TryAdd(rule, GrammarExpression.Never)) referenced.Enqueue((rule, schema, pointer));
        return new GrammarExpression.Reference(rule);
    }

    private GrammarExpression Convert(JsonElement schema, string pointer) => Convert(JsonSchemaNode.Parse(schema, pointer));

    private GrammarExpression Convert(JsonSchemaNode schema)
    {
        if (schema.IsFalse) return GrammarExpression.Never;
        if (schema.IsTrue) return AnyValue();
        if (schema.Keyword("$ref") is { } reference) return ConvertReference(schema.Without("$ref"), reference.Value.GetString()!, reference.Pointer);
        if (schema.Keyword("allOf") is { } all)
        {
            return Merged(Branches(all).Aggregate(schema.Without("allOf"), (merged, branch) => merged.And(branch)));
        }

        foreach (string name in (string[])["anyOf", "oneOf"])
        {
            if (schema.Keyword(name) is not { } any) continue;
            JsonSchemaNode rest = schema.Without(name);
            return GrammarExpression.Any(Branches(any).Select(branch => rest.IsTrue ? Convert(branch) : Merged(rest.And(branch))).ToArray());
        }

        if (schema.Has("const", "enum")) return ConvertValues(schema);
        return GrammarExpression.Any(ImpliedTypes(schema).Select(type => ConvertType(schema, type)).ToArray());
    }

    private static IEnumerable<JsonSchemaNode> Branches((JsonElement Value, string Pointer) keyword) =>
        keyword.Value.EnumerateArray().Select((branch, i) => JsonSchemaNode.Parse(branch, $"{keyword.Pointer}/{i}"));

    private GrammarExpression Merged(JsonSchemaNode schema)
    {
        if (++merges > MaxMerges) throw JsonSchemaNode.Error(schema.Pointer, "schemas that refer to each other are combined without an end");
        GrammarExpression expression = Convert(schema);
        merges--;
        return expression;
    }

    private GrammarExpression ConvertReference(JsonSchemaNode rest, string reference, string pointer)
    {
        if (!reference.StartsWith('#')) throw JsonSchemaNode.Error(pointer, $"$ref is \"{reference}\", and only references within the schema (#…) are supported");
        string target = Uri.UnescapeDataString(reference[1..]);
        if (target.Length > 0 && target[0] != '/') throw JsonSchemaNode.Error(pointer, $"$ref is \"{reference}\", and anchors are not supported: write #/ and the path");
        JsonElement found = document;
        foreach (string step in target.Split('/').Skip(1))
        {
            string name = step.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
            if (found.ValueKind == JsonValueKind.Object && found.TryGetProperty(name, out JsonElement member)) found = member;
            else if (found.ValueKind == JsonValueKind.Array && int.TryParse(name, out int index) && index >= 0 && index < found.GetArrayLength()) found = found[index];
            else throw JsonSchemaNode.Error(pointer, $"$ref is \"{reference}\", and there is nothing");
        }

        return rest.IsTrue ? ReferTo(target, found) : Merged(rest.And(JsonSchemaNode.Parse(found, target)));
    }

    private static GrammarExpression.Choice ConvertValues(JsonSchemaNode schema)
    {
        List<JsonElement> values = [];
        if (schema.Keyword("enum") is { } listed) values.AddRange(listed.Value.EnumerateArray());
        if (schema.Keyword("const") is { } constant) values = values.Count == 0 || values.Exists(v => JsonElement.DeepEquals(v, constant.Value)) ? [constant.Value] : [];
        JsonSchemaNode rest = schema.Without("enum").Without("const");
        if (rest.HasProperties || rest.Required.Count > 0 || rest.Has(
            "additionalProperties", "propertyNames", "items", "prefixItems", "minItems", "maxItems", "minLength", "maxLength", "pattern", "format", "minimum",
            "maximum", "exclusiveMinimum", "exclusiveMaximum"))
        {
            throw JsonSchemaNode.Error(schema.Pointer, "beside enum or const only type is supported: leave the other keywords out, and the values that they exclude");
        }

        if (schema.Types is { } types) values.RemoveAll(value => !types.Any(type => IsOfType(value, type)));
        return new GrammarExpression.Choice([.. values.Select(JsonText.Write).Distinct().Select(JsonText.Text)]);
    }

    private static bool IsOfType(JsonElement value, string type) => value.ValueKind switch
    {
        JsonValueKind.Object => type == "object",
        JsonValueKind.Array => type == "array",
        JsonValueKind.String => type == "string",
        JsonValueKind.Number => type == "number" || (type == "integer" && value.TryGetDecimal(out decimal number) && number == decimal.Truncate(number)),
        JsonValueKind.Null => type == "null",
        _ => type == "boolean",
    };

    /// <summary>The types that a schema says, or else those that its other keywords are about, or else all.</summary>
    private static IReadOnlyList<string> ImpliedTypes(JsonSchemaNode schema)
    {
        if (schema.Types is { } types) return types.Contains("number") ? [.. types.Where(type => type != "integer")] : types;
        List<string> implied = [];
        if (schema.HasProperties || schema.Required.Count > 0 || schema.Has("additionalProperties", "propertyNames")) implied.Add("object");
        if (schema.Has("items", "prefixItems", "minItems", "maxItems")) implied.Add("array");
        if (schema.Has("minLength", "maxLength", "pattern", "format")) implied.Add("string");
        if (schema.Has("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")) implied.Add("number");
        return implied;
    }

    private GrammarExpression ConvertType(JsonSchemaNode schema, string type) => type switch
    {
        "object" => Nested("object", schema.Pointer, ConvertObject(schema)),
        "array" => Nested("array", schema.Pointer, ConvertArray(schema)),
        "string" => ConvertString(schema),
        "number" => ConvertNumber(schema),
        "integer" => ConvertInteger(schema),
        "boolean" => GrammarExpression.Any(JsonText.Text("true"), JsonText.Text("false")),
        _ => JsonText.Text("null"),
    };

    private GrammarExpression.Reference NewRule(string name, GrammarExpression expression)
    {
        string rule = name;
        for (int i = 2; !grammar.Rules.TryAdd(rule, expression); i++) rule = $"{name} ({i})";
        return new GrammarExpression.Reference(rule);
    }

    private GrammarExpression.Reference Nested(string kind, string pointer, GrammarExpression expression)
    {
        GrammarExpression.Reference rule = NewRule($"{kind} at #{pointer}", expression);
        grammar.NestingRules.Add(rule.Rule);
        return rule;
    }

    private GrammarExpression.Reference AnyValue()
    {
        if (grammar.Rules.TryAdd(AnyValueRule, GrammarExpression.Never))
        {
            GrammarExpression any = new GrammarExpression.Reference(AnyValueRule);
            GrammarExpression items = GrammarExpression.Join(JsonText.Text("["), List(any, 0, null), JsonText.Text("]"));
            GrammarExpression member = GrammarExpression.Join(AnyString(), JsonText.Text(":"), any);
            GrammarExpression members = GrammarExpression.Join(JsonText.Text("{"), List(member, 0, null), JsonText.Text("}"));
            grammar.Rules[AnyValueRule] = GrammarExpression.Any(
                JsonText.Text("null"), JsonText.Text("true"), JsonText.Text("false"), JsonText.Number, AnyString(),
                Nested("any array", "", items), Nested("any object", "", members));
        }

        return new GrammarExpression.Reference(AnyValueRule);
    }

    private static GrammarExpression AnyString() => JsonText.Quoted(new GrammarExpression.Reference(CharacterRule).Times(0, null));

    /// <summary>Items with commas between them.</summary>
    private static GrammarExpression List(GrammarExpression item, int min, int? max)
    {
        if (max == 0) return GrammarExpression.Empty;
        GrammarExpression some = GrammarExpression.Join(item, GrammarExpression.Join(JsonText.Text(","), item).Times(Math.Max(min - 1, 0), max - 1));
        return min > 0 ? some : some.Optional();
    }

    private GrammarExpression ConvertObject(JsonSchemaNode schema)
    {
        (JsonElement Value, string Pointer)? additional = schema.Keyword("additionalProperties");
        List<(string Name, GrammarExpression Member, bool Required)> members = [];
        GrammarExpression Further() => additional is { } keyword ? Convert(keyword.Value, keyword.Pointer) : AnyValue();
        foreach ((string name, JsonElement value, string pointer) in schema.Properties)
        {
            members.Add((name, GrammarExpression.Join(JsonText.Text(JsonText.Write(name) + ":"), Convert(value, pointer)), schema.Required.Contains(name)));
        }

        foreach (string name in schema.Required.Where(name => !members.Exists(member => member.Name == name)).ToArray())
        {
            members.Add((name, GrammarExpression.Join(JsonText.Text(JsonText.Write(name) + ":"), Further()), true));
        }

        // Where a schema declares properties and is silent about others, none are generated: it allows that.
        bool open = additional is { } said ? said.Value.ValueKind != JsonValueKind.False : members.Count == 0 && !schema.HasProperties;
        GrammarExpression? further = null;
        if (open) further = GrammarExpression.Join(FurtherName(schema, members.Select(member => member.Name)), JsonText.Text(":"), Further());
        else if (schema.Keyword("propertyNames") is { } names) throw JsonSchemaNode.Error(names.Pointer, "propertyNames needs additionalProperties beside it");
        return GrammarExpression.Join(JsonText.Text("{"), Members(schema.Pointer, members, further), JsonText.Text("}"));
    }

    private GrammarExpression FurtherName(JsonSchemaNode schema, IEnumerable<string> declared)
    {
        string[] names = [.. declared];
        if (schema.Keyword("propertyNames") is not { } keyword) return names.Length == 0 ? AnyString() : JsonText.StringExcept(names);
        if (names.Length > 0) throw JsonSchemaNode.Error(keyword.Pointer, "propertyNames is not supported beside properties");
        JsonSchemaNode form = JsonSchemaNode.Parse(keyword.Value, keyword.Pointer);
        return form.IsTrue ? AnyString() : form.Types is null or ["string"] ? Convert(form) : throw JsonSchemaNode.Error(keyword.Pointer, "names are strings");
    }

    /// <summary>Members in their order with commas between them, and after them further ones.</summary>
    private GrammarExpression Members(string pointer, List<(string Name, GrammarExpression Member, bool Required)> members, GrammarExpression? further)
    {
        GrammarExpression comma = JsonText.Text(",");
        // What may follow once there is a member, and what there may be while there is none.
        GrammarExpression rest = further is null ? GrammarExpression.Empty : GrammarExpression.Join(comma, further).Times(0, null);
        GrammarExpression first = further is null ? GrammarExpression.Empty : List(further, 0, null);
        int required = members.FindIndex(member => member.Required);
        for (int i = members.Count - 1; i >= 0; i--)
        {
            (string name, GrammarExpression member, bool isRequired) = members[i];
            // Until one is required there are several ways to what follows: it is a rule, and not repeated for each.
            if (required < 0 || i <= required) rest = NewRule($"after \"{name}\" of #{pointer}", rest);
            first = isRequired ? GrammarExpression.Join(member, rest) : GrammarExpression.Any(GrammarExpression.Join(member, rest), first);
            GrammarExpression next = GrammarExpression.Join(comma, member);
            rest = GrammarExpression.Join(isRequired ? next : next.Optional(), rest);
        }

        return first;
    }

    private GrammarExpression ConvertArray(JsonSchemaNode schema)
    {
        GrammarExpression[] prefix = schema.Keyword("prefixItems") is { } listed ? [.. Branches(listed).Select(Convert)] : [];
        int min = schema.Count("minItems") ?? 0;
        int? max = schema.Count("maxItems");
        (JsonElement Value, string Pointer)? items = schema.Keyword("items");
        // As with properties: what follows declared items is not invented, unless there must be more of them.
        bool closed = items is { } said ? said.Value.ValueKind == JsonValueKind.False : prefix.Length > 0 && min <= prefix.Length;
        if (closed) max = Math.Min(max ?? prefix.Length, prefix.Length);
        if (max < min) return GrammarExpression.Never;
        GrammarExpression item = max <= prefix.Length ? GrammarExpression.Never : items is { } keyword ? Convert(keyword.Value, keyword.Pointer) : AnyValue();
        GrammarExpression content;
        if (prefix.Length == 0)
        {
            content = List(item, min, max);
        }
        else
        {
            int count = Math.Min(prefix.Length, max ?? int.MaxValue);
            GrammarExpression comma = JsonText.Text(",");
            content = GrammarExpression.Join(comma, item).Times(Math.Max(min - prefix.Length, 0), max <= prefix.Length ? 0 : max - prefix.Length);
            for (int i = count - 1; i >= 0; i--)
            {
                content = GrammarExpression.Join(i > 0 ? comma : GrammarExpression.Empty, prefix[i], content);
                if (i >= min) content = content.Optional();
            }
        }

        return GrammarExpression.Join(JsonText.Text("["), content, JsonText.Text("]"));
    }

    private static GrammarExpression ConvertString(JsonSchemaNode schema)
    {
        bool bounded = schema.Has("minLength", "maxLength");
        if (schema.Keyword("pattern") is { } pattern)
        {
            if (bounded || schema.Has("format"))
            {
                throw JsonSchemaNode.Error(pattern.Pointer, "pattern is not supported beside minLength, maxLength or format: let it say the length");
            }

            string text = pattern.Value.GetString()!;
            return JsonText.Quoted(PatternParser.Parse(text, what => JsonSchemaNode.Error(pattern.Pointer, $"the pattern {text} cannot be used: {what}")));
        }

        if (Format(schema) is { } format && StringFormats.Patterns.TryGetValue(format.Name, out string? form))
        {
            if (bounded) throw JsonSchemaNode.Error(format.Pointer, "format is not supported beside minLength or maxLength");
            return JsonText.Quoted(PatternParser.Parse(form, what => JsonSchemaNode.Error(format.Pointer, what)));
        }

        int min = schema.Count("minLength") ?? 0;
        int? max = schema.Count("maxLength");
        return max < min ? GrammarExpression.Never : JsonText.Quoted(new GrammarExpression.Reference(CharacterRule).Times(min, max));
    }

    private static GrammarExpression ConvertInteger(JsonSchemaNode schema)
    {
        // 18 digits fit a long.
        BigInteger largest = Format(schema)?.Name == "int32" ? int.MaxValue : BigInteger.Pow(10, 18) - 1;
        ((BigInteger min, bool withMin), (BigInteger max, bool withMax)) = Bounds(schema, largest);
        return NumberRanges.Integers(withMin ? min : min + 1, withMax ? max : max - 1);
    }

    private static GrammarExpression ConvertNumber(JsonSchemaNode schema)
    {
        if (!schema.Has("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"))
        {
            return Format(schema)?.Name is "float" or "decimal" ? JsonText.FixedNumber : JsonText.Number;
        }

        ((BigInteger min, bool withMin), (BigInteger max, bool withMax)) = Bounds(schema, BigInteger.Pow(10, 15) - 1);
        return NumberRanges.Numbers(min, max, withMin, withMax);
    }

    /// <summary>The bounds of a number, and whether they are themselves allowed.</summary>
    /// <param name="schema">The schema.</param>
    /// <param name="largest">The magnitude that bounds a side on which the schema has no bound, if the other bound leaves room for it.</param>
    private static ((BigInteger Value, bool Included) Min, (BigInteger Value, bool Included) Max) Bounds(JsonSchemaNode schema, BigInteger largest)
    {
        (BigInteger Value, bool Included)? min = Stricter(schema.Whole("minimum"), schema.Whole("exclusiveMinimum"));
        (BigInteger Value, bool Included)? max = Stricter(-schema.Whole("maximum"), -schema.Whole("exclusiveMaximum"));
        if (max is { } negated) max = (-negated.Value, negated.Included);
        return (
            min ?? (BigInteger.Min(-largest, -10 * BigInteger.Abs(max?.Value ?? 0)), true),
            max ?? (BigInteger.Max(largest, 10 * BigInteger.Abs(min?.Value ?? 0)), true));
    }

    private static (string Name, string Pointer)? Format(JsonSchemaNode schema)
    {
        if (schema.Keyword("format") is not { } format) return null;
        string name = format.Value.GetString()!;
        if (StringFormats.Patterns.ContainsKey(name) || StringFormats.OfNumbers.Contains(name)) return (name, format.Pointer);
        throw JsonSchemaNode.Error(
            format.Pointer, $"the format {name} is not supported; there are {string.Join(", ", StringFormats.Patterns.Keys.Concat(StringFormats.OfNumbers))}");
    }

    /// <summary>The stricter of a lower bound that is itself allowed and of one that is not.</summary>
    private static (BigInteger Value, bool Included)? Stricter(BigInteger? included, BigInteger? excluded)
    {
        if (included is { } a && (excluded is not { } b || a > b)) return (a, true);
        return excluded is { } c ? (c, false) : null;
    }
}
