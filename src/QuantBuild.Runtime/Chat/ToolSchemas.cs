using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>The JSON schema of a call.</summary>
internal static class ToolSchemas
{
    /// <summary>The schema of a call of one of the tools.</summary>
    public static string CallOf(IReadOnlyList<AIFunctionDeclaration> tools)
    {
        JsonNode schema = tools.Count == 1
            ? Call(tools[0], "#")
            : new JsonObject { ["anyOf"] = new JsonArray([.. tools.Select((tool, i) => Call(tool, $"#/anyOf/{i}"))]) };
        return schema.ToJsonString();
    }

    private static JsonObject Call(AIFunctionDeclaration tool, string place)
    {
        JsonNode? arguments = JsonSerializer.SerializeToNode(tool.JsonSchema, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(JsonElement)));
        // A function that says nothing of its parameters has the schema `true` or `{}`; arguments are an object all the same.
        if (arguments is not JsonObject { Count: > 0 }) arguments = new JsonObject { ["type"] = "object" };
        // A function without parameters takes no arguments; the schema alone would allow any.
        if (arguments["properties"] is JsonObject { Count: 0 } && arguments["additionalProperties"] is null) arguments["additionalProperties"] = false;
        MoveReferences(arguments, place + "/properties/arguments");
        return new JsonObject
        {
            ["type"] = "object",
            ["properties"] = new JsonObject { ["name"] = new JsonObject { ["const"] = tool.Name }, ["arguments"] = arguments },
            ["required"] = new JsonArray("name", "arguments"),
        };
    }

    /// <summary>References within a schema go from its root: where it becomes part of another, so must they.</summary>
    private static void MoveReferences(JsonNode? node, string place)
    {
        if (node is JsonArray array)
        {
            foreach (JsonNode? item in array) MoveReferences(item, place);
        }
        else if (node is JsonObject members)
        {
            foreach ((_, JsonNode? value) in members) MoveReferences(value, place);
            if (members["$ref"] is JsonValue reference && reference.TryGetValue(out string? target) && target.StartsWith('#')) members["$ref"] = place + target[1..];
        }
    }
}
