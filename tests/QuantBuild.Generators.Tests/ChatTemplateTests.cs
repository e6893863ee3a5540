using System.Text.Json;
using System.Text.Json.Nodes;

namespace QuantBuild.Generators.Tests;

/// <summary>Published templates, compiled, against what jinja2 writes: <c>ChatTemplates/README.md</c>.</summary>
public class ChatTemplateTests
{
    private static readonly string Folder = Path.Combine(TestProject.Folder, "ChatTemplates");
    private static readonly string[] Files = [.. Directory.GetFiles(Path.Combine(Folder, "templates"), "*.jinja").Order(StringComparer.Ordinal)];
    private static readonly JsonObject Conversations = Read(Path.Combine(Folder, "conversations.json"));
    private static readonly Lazy<CompiledTemplates> Compiled = new(() => CompiledTemplates.Of([.. Files.Select(File.ReadAllText)]));

    public static TheoryData<string> Templates => [.. Files.Select(file => Path.GetFileNameWithoutExtension(file)!)];

    [Fact]
    public void There_are_25_templates_at_least() => Assert.InRange(Files.Length, 25, 1000);

    [Theory]
    [MemberData(nameof(Templates))]
    public void A_template_writes_what_the_reference_writes(string name)
    {
        int template = Array.FindIndex(Files, file => Path.GetFileNameWithoutExtension(file) == name);
        JsonObject expected = Read(Path.Combine(Folder, "expected", name + ".json"));
        Assert.Equal(Conversations.Count, expected.Count);
        List<string> differences = [];
        foreach ((string conversation, JsonNode? variables) in Conversations)
        {
            string? actual = Compiled.Value.Render(template, Complete(variables!));
            string? text = expected[conversation]?.GetValue<string>();
            if (actual != text) differences.Add($"{conversation}:\nexpected {JsonSerializer.Serialize(text)}\nactual   {JsonSerializer.Serialize(actual)}");
        }

        Assert.True(differences.Count == 0, $"{differences.Count} of {expected.Count} differ.\n{string.Join("\n\n", differences.Take(5))}");
    }

    // As apply_chat_template does it, what is not given is none.
    private static string Complete(JsonNode variables)
    {
        JsonObject complete = variables.DeepClone().AsObject();
        if (!complete.ContainsKey("tools")) complete["tools"] = null;
        if (!complete.ContainsKey("documents")) complete["documents"] = null;
        return complete.ToJsonString();
    }

    private static JsonObject Read(string path) => JsonNode.Parse(File.ReadAllText(path))!.AsObject();
}
