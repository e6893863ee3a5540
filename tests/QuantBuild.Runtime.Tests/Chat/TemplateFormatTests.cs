using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;
using QuantBuild.Chat;

namespace QuantBuild.Runtime.Tests.Chat;

public sealed class TemplateFormatTests : IDisposable
{
    private static readonly AIFunctionDeclaration Weather = AIFunctionFactory.CreateDeclaration(
        "weather", "The weather in a city", JsonDocument.Parse("""{"type":"object","properties":{"city":{"type":"string"}}}""").RootElement);

    private static readonly ChatMessage[] Conversation =
    [
        new(ChatRole.User, "How warm is Oslo?"),
        new(ChatRole.Assistant, [new FunctionCallContent("call_1", "weather", new Dictionary<string, object?> { ["city"] = "Tromsø" })]),
        new(ChatRole.Tool, [new FunctionResultContent("call_1", JsonDocument.Parse("""{"t":3}""").RootElement)]),
    ];

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Tools_calls_and_results_are_what_templates_expect()
    {
        using LanguageModel model = ScriptedModel.Load(folder, [], "<|im_start|>", "<|im_end|>");
        TemplateFormat format = new(new Turns(), null, model.Tokenizer);
        string[] lines = format.Render(Conversation, [Weather], addGenerationPrompt: true).Split('\n');
        Assert.Equal(
            """<s><tools>[{"type": "function", "function": {"name": "weather", "description": "The weather in a city", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]</tools>""",
            lines[0]);
        Assert.Equal("""<|im_start|>assistant""", lines[3]);
        Assert.Equal("""<call>{"name": "weather", "arguments": {"city": "Tromsø"}}</call><|im_end|>""", lines[4]);
        Assert.Equal(["<|im_start|>tool", """{"t": 3}weather<|im_end|>""", "<|im_start|>assistant", ""], lines[5..]);
    }

    [Fact]
    public void An_id_of_a_call_has_nine_letters_and_digits_and_the_result_has_the_same()
    {
        using LanguageModel model = ScriptedModel.Load(folder, [], "<|im_end|>");
        Ids template = new();
        new TemplateFormat(template, null, model.Tokenizer).Render(Conversation, [Weather], addGenerationPrompt: true);
        Assert.Equal(template.CallId, template.ResultId);
        Assert.Matches("^[0-9a-zA-Z]{9}$", template.CallId);
    }

    [Fact]
    public void What_ends_a_turn_and_how_tools_are_called_is_read_off_the_template()
    {
        using LanguageModel model = ScriptedModel.Load(folder, [], "<|im_start|>", "<|im_end|>");
        TemplateFormat format = new(new Turns(), null, model.Tokenizer);
        Assert.Equal(["<|im_end|>"], format.StopStrings);
        Assert.Equal(new ToolCallSyntax("<call>", "</call>"), format.ToolCalls);
    }

    [Fact]
    public void Without_special_tokens_a_turn_ends_where_the_next_one_begins()
    {
        using LanguageModel model = ScriptedModel.Load(folder, []);
        Assert.Equal(["### user:"], new TemplateFormat(new Plain(), null, model.Tokenizer).StopStrings);
    }

    [Fact]
    public void Tools_that_the_template_has_no_place_for_are_described_by_the_system_and_answered_by_the_user()
    {
        using LanguageModel model = ScriptedModel.Load(folder, []);
        TemplateFormat format = new(new Plain(), null, model.Tokenizer);
        string text = format.Render(Conversation, [Weather], addGenerationPrompt: false);
        Assert.Equal(HermesTools.Syntax, format.ToolCalls);
        Assert.StartsWith("### system: # Tools\n", text, StringComparison.Ordinal);
        Assert.Contains("### assistant: <tool_call>\n{\"name\":\"weather\"", text, StringComparison.Ordinal);
        Assert.EndsWith("### user: <tool_response>\n{\"name\":\"weather\",\"content\":{\"t\":3}}\n</tool_response>\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Requests_with_tools_have_the_template_for_them()
    {
        using LanguageModel model = ScriptedModel.Load(folder, [], "<|im_end|>");
        TemplateFormat format = new(new Plain(), new Turns(), model.Tokenizer);
        ChatMessage[] question = [new(ChatRole.User, "?")];
        Assert.StartsWith("### user:", format.Render(question, [], true), StringComparison.Ordinal);
        Assert.StartsWith("<s><tools>", format.Render(question, [Weather], true), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_client_of_a_class_with_a_template_writes_by_it_and_begins_the_text_once()
    {
        using (ScriptedModel.Load(folder, new() { ["assistant\n"] = ["Hi", " there"] }, "<|im_start|>", "<|im_end|>"))
        {
        }

        using LanguageModel model = Load(new Turns());
        IChatClient client = model.AsChatClient();
        ChatResponse response = await client.GetResponseAsync("Hello");
        Assert.Equal("Hi there", response.Text);
        string prompt = client.GetService<ChatFormat>()!.Render([new(ChatRole.User, "Hello")], [], addGenerationPrompt: true);
        Assert.Equal(model.Tokenizer.Encode(prompt, addSpecialTokens: false).Count, response.Usage!.InputTokenCount);
    }

    [Fact]
    public async Task What_the_template_refuses_is_an_error_with_its_words()
    {
        using (ScriptedModel.Load(folder, []))
        {
        }

        using LanguageModel model = Load(new Refusing());
        QuantBuildException error = await Assert.ThrowsAsync<QuantBuildException>(() => model.AsChatClient().GetResponseAsync("Hello"));
        Assert.Equal("QB4013", error.Id);
        Assert.Contains("Only verses!", error.Message, StringComparison.Ordinal);
    }

    private LanguageModel Load(ChatTemplate template)
    {
        string path = Directory.GetFiles(Path.GetDirectoryName(folder.File("x"))!).Single();
        using LanguageModel model = LanguageModel.Load(path);
        QuantizedModelInfo info = new()
        {
            ClassName = "Scripted",
            ModelName = "scripted",
            Architecture = "LlamaForCausalLM",
            Method = QuantizationMethod.Rtn,
            Bits = 4,
            GroupSize = 16,
            Parameters = 1,
            ContextLength = 2048,
            VocabularySize = 1,
            ArtifactFileName = Path.GetFileName(path),
            Fingerprint = model.Manifest.Fingerprint,
            ChatTemplate = template,
        };
        return LanguageModel.Load(info, new LoadOptions { ArtifactPath = path });
    }

    // As the generator writes classes.
    private sealed class Turns() : ChatTemplate("<s>", "</s>", null, null)
    {
        protected override void Write(TemplateVariables variables, StringBuilder output)
        {
            Append(output, variables["bos_token"]);
            if (IsTrue(variables["tools"])) Append(output, Concat(Text("<tools>"), FilterToJson(variables["tools"]), Text("</tools>\n")));
            TemplateLoop messages = Loop(variables["messages"]);
            while (messages.Next())
            {
                TemplateValue message = messages.Item;
                Append(output, Concat(Text("<|im_start|>"), Attribute(message, "role"), Text("\n"), Attribute(message, "content"), Attribute(message, "name")));
                TemplateLoop calls = Loop(Attribute(message, "tool_calls"));
                while (calls.Next()) Append(output, Concat(Text("<call>"), FilterToJson(Attribute(calls.Item, "function")), Text("</call>")));
                output.Append("<|im_end|>\n");
            }

            if (IsTrue(variables["add_generation_prompt"])) output.Append("<|im_start|>assistant\n");
        }
    }

    private sealed class Plain() : ChatTemplate(null, null, null, null)
    {
        protected override void Write(TemplateVariables variables, StringBuilder output)
        {
            TemplateLoop messages = Loop(variables["messages"]);
            while (messages.Next()) Append(output, Concat(Text("### "), Attribute(messages.Item, "role"), Text(": "), Attribute(messages.Item, "content"), Text("\n")));
        }
    }

    private sealed class Ids() : ChatTemplate(null, null, null, null)
    {
        public string CallId { get; private set; } = "";

        public string ResultId { get; private set; } = "";

        protected override void Write(TemplateVariables variables, StringBuilder output)
        {
            // Tools and calls as JSON between marks, so that the format hands them over.
            Append(output, FilterToJson(variables["tools"]));
            TemplateLoop messages = Loop(variables["messages"]);
            while (messages.Next())
            {
                if (TestDefined(Attribute(messages.Item, "tool_call_id"))) ResultId = Attribute(messages.Item, "tool_call_id").ToString();
                TemplateLoop calls = Loop(Attribute(messages.Item, "tool_calls"));
                while (calls.Next())
                {
                    CallId = Attribute(calls.Item, "id").ToString();
                    Append(output, Concat(Text("<call>"), FilterToJson(Attribute(calls.Item, "function")), Text("</call>")));
                }
            }
        }
    }

    private sealed class Refusing() : ChatTemplate(null, null, null, null)
    {
        protected override void Write(TemplateVariables variables, StringBuilder output) => Append(output, RaiseException(Text("Only verses!")));
    }
}
