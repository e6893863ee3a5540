using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using System.Text.Json.Serialization.Metadata;

namespace QuantBuild.Constraints;

/// <summary>
/// JSON for a .NET type. System.Text.Json describes its types more loosely than it reads them (an <see cref="int"/> is an integer of any size): here each is
/// described as what can be read.
/// </summary>
internal static class TypedOutput
{
    private const string Base64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

    private static readonly JsonSchemaExporterOptions ExporterOptions = new() { TreatNullObliviousAsNonNullable = true, TransformSchemaNode = Narrow };

    // Type to the schema of what System.Text.Json reads as one.
    private static readonly Dictionary<Type, string> Schemas = new()
    {
        [typeof(sbyte)] = Integer(sbyte.MinValue, sbyte.MaxValue),
        [typeof(byte)] = Integer(byte.MinValue, byte.MaxValue),
        [typeof(short)] = Integer(short.MinValue, short.MaxValue),
        [typeof(ushort)] = Integer(ushort.MinValue, ushort.MaxValue),
        [typeof(int)] = Integer(int.MinValue, int.MaxValue),
        [typeof(uint)] = Integer(uint.MinValue, uint.MaxValue),
        [typeof(long)] = Integer(long.MinValue, long.MaxValue),
        [typeof(ulong)] = Integer(ulong.MinValue, ulong.MaxValue),
        [typeof(Int128)] = Integer(Int128.MinValue, Int128.MaxValue),
        [typeof(UInt128)] = Integer(UInt128.MinValue, UInt128.MaxValue),
        [typeof(Half)] = """{"type": "number", "minimum": -65504, "maximum": 65504}""",
        [typeof(float)] = """{"type": "number", "format": "float"}""",
        [typeof(double)] = """{"type": "number", "format": "double"}""",
        [typeof(decimal)] = """{"type": "number", "format": "decimal"}""",
        [typeof(char)] = Pattern(@"^[\u0000-\uffff]$"),
        [typeof(byte[])] = Pattern(Base64),
        [typeof(Memory<byte>)] = Pattern(Base64),
        [typeof(ReadOnlyMemory<byte>)] = Pattern(Base64),
        [typeof(TimeOnly)] = Pattern($"^{StringFormats.TimeOfDay}$"),
        [typeof(TimeSpan)] = Pattern($@"^-?([1-9][0-9]{{0,6}}\.)?{StringFormats.TimeOfDay}$"),
        [typeof(Version)] = Pattern(@"^(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){1,3}$"),
    };

    /// <summary>The grammar of JSON that makes a value of a type.</summary>
    /// <exception cref="QuantBuildException">QB4008: the type has something that cannot be held to.</exception>
    public static Grammar Grammar(JsonTypeInfo type)
    {
        using JsonDocument schema = JsonDocument.Parse(type.GetJsonSchemaAsNode(ExporterOptions).ToJsonString());
        int maxDepth = type.Options.MaxDepth;
        return JsonSchemaGrammar.Make(schema.RootElement, maxDepth > 0 ? maxDepth : JsonSchemaGrammar.DefaultMaxDepth);
    }

    /// <summary>The value that an output makes.</summary>
    /// <exception cref="QuantBuildException">QB4009: the output is incomplete, or the type refuses it.</exception>
    public static T? Read<T>(string output, JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(output, type);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or NotSupportedException or ArgumentException)
        {
            const int shown = 200;
            throw new QuantBuildException(
                DiagnosticIds.OutputUnreadable,
                $"The output does not make a {typeof(T).Name}: {e.Message} It is {(output.Length <= shown ? output : "…" + output[^shown..])} " +
                "Where it breaks off, MaxTokens or the context ended it before it could be complete: allow for more tokens, or ask for less. " +
                "Where it does not, a constructor, setter or converter of the type takes less than its declaration says.", e);
        }
    }

    private static string Integer<TNumber>(TNumber min, TNumber max)
        where TNumber : IFormattable => string.Create(CultureInfo.InvariantCulture, $$"""{"type": "integer", "minimum": {{min}}, "maximum": {{max}}}""");

    private static string Pattern(string pattern) => $$"""{"type": "string", "pattern": {{JsonText.Write(pattern)}}}""";

    /// <summary>Describes a value as what can be read as its type.</summary>
    private static JsonNode Narrow(JsonSchemaExporterContext context, JsonNode described)
    {
        Type type = Nullable.GetUnderlyingType(context.TypeInfo.Type) ?? context.TypeInfo.Type;
        JsonObject? schema = described as JsonObject;
        if (context.TypeInfo.Kind == JsonTypeInfoKind.Dictionary && schema is not null) NameKeys(context.TypeInfo, schema);
        bool ofEnum = type.IsEnum && schema?["enum"] is null;
        // Flags by name are written as a list of names in one string, which the description does not say.
        if (ofEnum && Mentions(schema?["type"], "string") && !Mentions(schema?["type"], "integer"))
        {
            throw new QuantBuildException(
                DiagnosticIds.SchemaUnsupported, $"{type.Name} has flags that are written by name, which is not supported. Use an array of names, or numbers.");
        }

        if (!Schemas.TryGetValue(ofEnum ? Enum.GetUnderlyingType(type) : type, out string? narrow)) return described;
        // A converter of the program's own describes itself as anything at all: then nothing is known.
        if (schema is null || (schema["type"] is null && schema["anyOf"] is null)) return described;
        JsonNode narrowed = JsonNode.Parse(narrow)!;
        if (Mentions(schema["type"], "null")) narrowed["type"] = new JsonArray(narrowed["type"]!.GetValue<string>(), "null");
        return narrowed;
    }

    private static bool Mentions(JsonNode? types, string type) =>
        types is JsonArray list ? list.Any(item => item!.GetValue<string>() == type) : types?.GetValue<string>() == type;

    /// <summary>Describes the names of members where they are keys of another type than text.</summary>
    private static void NameKeys(JsonTypeInfo dictionary, JsonObject schema)
    {
        Type? key = dictionary.KeyType;
        if (key is null || key == typeof(string) || key == typeof(object) || schema["type"] is null) return;
        schema["propertyNames"] = JsonNode.Parse(
            Schemas.TryGetValue(key, out string? number) && IntegerName(number) is { } integer ? integer
            : key == typeof(Guid) ? """{"format": "uuid"}"""
            : key.IsEnum ? EnumNames(key, dictionary.Options)
            : throw new QuantBuildException(
                DiagnosticIds.SchemaUnsupported,
                $"{dictionary.Type} has keys of the type {key.Name}, which is not supported for constrained output. Supported are string, integers, Guid and enums."));
    }

    /// <summary>Integers as names of members: as many digits as all integers of the type may have, or fewer.</summary>
    private static string? IntegerName(string number)
    {
        JsonNode schema = JsonNode.Parse(number)!;
        if (schema["type"]!.GetValue<string>() != "integer") return null;
        int digits = schema["maximum"]!.ToJsonString().Length - 1;
        return Pattern($"^(0|{(schema["minimum"]!.ToJsonString() == "0" ? "" : "-?")}[1-9][0-9]{{0,{digits - 1}}})$");
    }

    private static string EnumNames(Type type, JsonSerializerOptions options)
    {
        // A converter by name may name them otherwise.
        JsonNode? described = options.TryGetTypeInfo(type, out JsonTypeInfo? info) ? info.GetJsonSchemaAsNode() : null;
        return described?["enum"] is JsonArray names
            ? new JsonObject { ["enum"] = names.DeepClone() }.ToJsonString()
            : $$"""{"enum": [{{string.Join(',', Enum.GetNames(type).Select(JsonText.Write))}}]}""";
    }
}
