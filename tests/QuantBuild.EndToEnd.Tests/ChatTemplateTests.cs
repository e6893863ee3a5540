namespace QuantBuild.EndToEnd.Tests;

/// <summary>A model with a chat template that knows tools, from its folder to the prompt that a program's client gives the model.</summary>
[Collection(Builds.Name)]
public sealed class ChatTemplateTests(PackedFeed feed)
{
    /// <summary>Writes a conversation, and says how many tokens the client's request had, and the tokenizer finds in it.</summary>
    internal const string Program = """
        using System.Collections.Generic;
        using System.Linq;
        using System.Text.Json;
        using App.Models;
        using Microsoft.Extensions.AI;
        using QuantBuild;

        using LanguageModel model = TinyRtn4.Load();
        IChatClient chat = model.AsChatClient();
        using JsonDocument schema = JsonDocument.Parse("{\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}}}");
        AIFunctionDeclaration weather = AIFunctionFactory.CreateDeclaration("weather", "In a city", schema.RootElement);
        ChatMessage[] messages =
        [
            new(ChatRole.User, "How warm is Oslo?"),
            new(ChatRole.Assistant, [new FunctionCallContent("call_1", "weather", new Dictionary<string, object?> { ["city"] = "Oslo" })]),
            new(ChatRole.Tool, [new FunctionResultContent("call_1", "7 degrees")]),
        ];
        string prompt = chat.GetService<ChatFormat>()!.Render(messages, [weather], addGenerationPrompt: true);
        System.Console.WriteLine(prompt);
        ChatResponse response = await chat.GetResponseAsync(messages, new() { Tools = [weather], MaxOutputTokens = 4, Seed = 1 });
        IReadOnlyList<int> tokens = model.Tokenizer.Encode(prompt, addSpecialTokens: false);
        System.Console.WriteLine($"{response.Usage!.InputTokenCount} of {tokens.Count}, {tokens.Count(token => token == tokens[0])} begin the text");
        """;

    /// <summary>What the program says: each text of the template is in it, once.</summary>
    internal const string Expected = """
        <|begin_of_text|><tools>{"type": "function", "function": {"name": "weather", "description": "In a city", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}</tools>
        [user] How warm is Oslo?
        [assistant] <tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>
        [tool] 7 degrees (weather)
        [assistant]
        """;

    /// <summary>The text about tokens that comes after it: a template that begins texts itself has them begun once.</summary>
    internal const string Counts = @"(\d+) of \1, 1 begin the text";

    private const string Template = """
        {{- bos_token }}
        {%- if tools %}{{ '<tools>' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '</tools>\n' }}{% endif %}
        {%- for message in messages %}
            {{- '[' ~ message.role ~ '] ' ~ message.content }}
            {%- for call in message.tool_calls %}{{ '<tool_call>' ~ call.function | tojson ~ '</tool_call>' }}{% endfor %}
            {%- if message.role == 'tool' %}{{ ' (' ~ message.name ~ ')' }}{% endif %}
            {{- '\n' }}
        {%- endfor %}
        {%- if add_generation_prompt %}[assistant]{% endif %}
        """;

    /// <summary>Writes a model with the template into a project's folder.</summary>
    internal static void WriteModel(UserProject project)
    {
        project.WriteModel("tiny", new TinyModel { Config = { ["max_position_embeddings"] = 512 } });
        project.Write("tiny/tokenizer_config.json", """{"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}""");
        project.Write("tiny/chat_template.jinja", Template);
    }

    [Fact]
    public void The_prompt_of_a_client_is_the_text_of_the_models_template()
    {
        UserProject project = new(feed, feed.SharedCache);
        WriteModel(project);
        project.Write("Program.cs", Program);
        project.Declare(BuiltProject.Item);
        project.Build();
        (int exitCode, string output) = project.RunProgram();
        Assert.True(exitCode == 0, output);
        Assert.StartsWith(Expected, output, StringComparison.Ordinal);
        Assert.Matches($@"^\s+{Counts}\s*$", output[Expected.Length..]);
    }
}
