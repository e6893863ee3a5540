using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>The JSON schema of a call.</summary>
internal static class ToolSchemas
{
    /// <summary>The schema of a call of one of the tools, as a syntax of JSON has it.</summary>
    public static string CallOf(IReadOnlyList<AIFunctionDeclaration> tools, ToolCallSyntax syntax)
    {
        string place = syntax.IsList ? "#/items" : "#";
        JsonNode call = tools.Count == 1
            ? Call(tools[0], syntax, place)
            : new JsonObject { ["anyOf"] = new JsonArray([.. tools.Select((tool, i) => Call(tool, syntax, $"{place}/anyOf/{i}"))]) };
        if (syntax.IsList) call = new JsonObject { ["type"] = "array", ["items"] = call, ["minItems"] = 1, ["maxItems"] = 1 };
        return call.ToJsonString();
    }

    /// <summary>The schema of a tool's arguments alone.</summary>
    public static string ArgumentsOf(AIFunctionDeclaration tool) => Arguments(tool).ToJsonString();

    /// <summary>A grammar of the tools' names.</summary>
    public static string NameOf(IReadOnlyList<AIFunctionDeclaration> tools) => "root ::= " + string.Join(" | ", tools.Select(tool => $"\"{tool.Name.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\""));

    private static JsonObject Call(AIFunctionDeclaration tool, ToolCallSyntax syntax, string place)
    {
        JsonObject arguments = Arguments(tool);
        MoveReferences(arguments, $"{place}/properties/{syntax.ArgumentsMember}");
        return new JsonObject
        {
            ["type"] = "object",
            ["properties"] = new JsonObject { [syntax.NameMember] = new JsonObject { ["const"] = tool.Name }, [syntax.ArgumentsMember] = arguments },
            ["required"] = new JsonArray(syntax.NameMember, syntax.ArgumentsMember),
        };
    }

    private static JsonObject Arguments(AIFunctionDeclaration tool)
    {
        JsonNode? schema = JsonSerializer.SerializeToNode(tool.JsonSchema, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(JsonElement)));
        // A function that says nothing of its parameters has the schema `true` or `{}`; arguments are an object all the same.
        if (schema is not JsonObject { Count: > 0 } arguments) arguments = new JsonObject { ["type"] = "object" };
        // A function without parameters takes no arguments; the schema alone would allow any.
        if (arguments["properties"] is JsonObject { Count: 0 } && arguments["additionalProperties"] is null) arguments["additionalProperties"] = false;
        return arguments;
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
