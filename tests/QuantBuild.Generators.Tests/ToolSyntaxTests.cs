using System.Reflection;
using System.Runtime.Loader;
using System.Text.Json.Nodes;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.Extensions.AI;
using QuantBuild.Generators.Jinja;

namespace QuantBuild.Generators.Tests;

/// <summary>How tools are called and where reasoning is, as the format of a compiled template reads it off: published templates, and short ones that write as other models' do.</summary>
public class ToolSyntaxTests
{
    // A format, an answer of its model in pieces of one character, and what the program reads in it.
    private const string Driver = """
        using System;
        using System.Collections.Generic;
        using System.Linq;
        using System.Reflection;
        using System.Text.Json;
        using Microsoft.Extensions.AI;
        using QuantBuild;

        public static class Driver
        {
            private static readonly AIFunctionDeclaration Weather = AIFunctionFactory.CreateDeclaration(
                "weather", "In a city", JsonDocument.Parse("{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"}}}").RootElement);

            private static readonly ChatMessage Question = new(ChatRole.User, "How warm is it?");

            public static object Format(string name, byte[] tokenizer) =>
                ChatFormat.ForTemplate((ChatTemplate)Activator.CreateInstance(typeof(Driver).Assembly.GetType(name)!)!, TextTokenizer.Load(tokenizer, "tokenizer.json"));

            public static string Describe(object format)
            {
                ChatFormat of = (ChatFormat)format;
                ToolCallSyntax calls = of.ToolCalls!;
                string form = calls.Arguments is { } each ? $"{calls.AfterName}… {each.BeforeName}…{each.AfterName}…{each.AfterValue}"
                    : calls.AfterName is { } after ? $"…{after}" : calls.IsList ? $"[{calls.NameMember}, {calls.ArgumentsMember}]" : $"{calls.NameMember}, {calls.ArgumentsMember}";
                return $"{calls.Open} ({calls.Start}) {form} ({calls.End}) {calls.Close}".Replace("\n", "\\n");
            }

            public static string Think(object format) => ((ChatFormat)format).Reasoning is { } reasoning ? $"{reasoning.Start}…{reasoning.End}".Replace("\n", "\\n") : "";

            public static string Prompt(object format) => ((ChatFormat)format).Render([Question], [Weather], true);

            public static string Variables(object format) => string.Join(" ", ((ChatFormat)format).Variables.Order(StringComparer.Ordinal));

            public static string PromptWith(object format, string name, bool value) => ((ChatFormat)format).Render([Question], [], true, new Dictionary<string, object?> { [name] = value });

            public static string Stops(object format) => string.Join(" ", ((ChatFormat)format).StopStrings);

            public static string Conversation(object format, int calls) => ((ChatFormat)format).Render([Question, Call(calls), .. Results(calls)], [Weather], true);

            public static string Thought(object format)
            {
                ChatMessage message = Call(1);
                message.Contents.Insert(0, new TextReasoningContent("Hm."));
                message.Contents.Insert(1, new TextContent("I look."));
                return ((ChatFormat)format).Render([Question, message], [Weather], false);
            }

            // What the template writes of calls is what the model would: read again, it is the calls.
            public static string RoundTrip(object format, int calls)
            {
                ChatFormat of = (ChatFormat)format;
                string text = of.Render([Question, Call(calls)], [Weather], false), prompt = of.Render([Question], [Weather], true);
                int begin = 0;
                while (begin < prompt.Length && begin < text.Length && prompt[begin] == text[begin]) begin++;
                while (begin > 0 && begin < prompt.Length && text[begin - 1] != '>' && text[begin - 1] != '\n') begin--;
                text = text[begin..];
                if (of.Reasoning is { } reasoning && text.IndexOf(reasoning.End.Trim()) is >= 0 and int thought) text = text[(thought + reasoning.End.Trim().Length)..];
                foreach (string stop in of.StopStrings) text = text.IndexOf(stop) is >= 0 and int at ? text[..at] : text;
                return Parse(of, text);
            }

            public static string Parse(object format, string text)
            {
                Type type = typeof(ChatFormat).Assembly.GetType("QuantBuild.Chat.ToolCallParser")!;
                AIFunctionDeclaration[] tools = [Weather];
                object parser = Activator.CreateInstance(type, BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic, null, [((ChatFormat)format).ToolCalls, tools, null, false], null)!;
                List<AIContent> contents = [];
                foreach (char c in text) contents.AddRange((IReadOnlyList<AIContent>)type.GetMethod("Append")!.Invoke(parser, [c.ToString()])!);
                contents.AddRange((IReadOnlyList<AIContent>)type.GetMethod("Finish")!.Invoke(parser, [])!);
                return string.Concat(contents.Select(content => content is FunctionCallContent call ? $"<{call.Name} {string.Join(", ", call.Arguments!.Select(a => $"{a.Key}: {a.Value}"))}>" : content.ToString()));
            }

            private static ChatMessage Call(int calls) => new(ChatRole.Assistant, [.. Enumerable.Range(0, calls).Select(i =>
                new FunctionCallContent($"call_{i}", "weather", new Dictionary<string, object?> { ["city"] = i == 0 ? "Oslo" : "Tromsø", ["days"] = 3 + i }))]);

            private static IEnumerable<ChatMessage> Results(int calls) => Enumerable.Range(0, calls).Select(i => new ChatMessage(ChatRole.Tool, [new FunctionResultContent($"call_{i}", $"{7 - i} degrees")]));
        }
        """;

    private const string Calls = "<weather city: Oslo, days: 3><weather city: Tromsø, days: 4>";

    // Short templates that write calls as published ones do whose licences or sizes keep them out of the corpus.
    private static readonly Dictionary<string, string> Short = new()
    {
        ["llama 3.1"] = """
            {%- for m in messages %}<|start_header_id|>{{ 'ipython' if m.role == 'tool' else m.role }}<|end_header_id|>{{ '\n\n' }}
            {%- if loop.first and tools %}{% for t in tools %}{{ t | tojson(indent=4) ~ '\n\n' }}{% endfor %}{% endif %}
            {%- if m.tool_calls %}
                {%- if m.tool_calls | length != 1 %}{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}
                {{- '{"name": "' ~ m.tool_calls[0].function.name ~ '", "parameters": ' ~ m.tool_calls[0].function.arguments | tojson ~ '}' }}
            {%- else %}{{ m.content }}{% endif %}<|eot_id|>
            {%- endfor %}
            {%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}
            """,
        ["mistral with names"] = """
            {{- bos_token }}{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
            {%- for m in messages %}
                {%- if m.role == 'user' %}[INST]{{ m.content }}[/INST]
                {%- elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]
                {%- else %}{{ m.content }}{% for c in m.tool_calls %}[TOOL_CALLS]{{ c.function.name ~ '[ARGS]' ~ c.function.arguments | tojson }}{% endfor %}{{ eos_token }}
                {%- endif %}
            {%- endfor %}
            """,
        ["deepseek v3"] = """
            {{- bos_token }}{% for t in tools or [] %}{{ t.function | tojson }}{% endfor %}
            {%- for m in messages %}
                {%- if m.role == 'user' %}{{ '<｜User｜>' + m.content }}
                {%- elif m.role == 'tool' %}{{ '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' }}
                {%- elif m.content is none %}{{ '<｜Assistant｜>' }}{% for c in m.tool_calls %}
                    {{- '<｜tool▁calls▁begin｜>' if loop.first else '\n' }}
                    {{- '<｜tool▁call▁begin｜>' + c.type + '<｜tool▁sep｜>' + c.function.name + '\n```json\n' + c.function.arguments + '\n```<｜tool▁call▁end｜>' }}
                    {%- endfor %}{{ '<｜tool▁calls▁end｜>' + eos_token }}
                {%- else %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}
                {%- endif %}
            {%- endfor %}
            {%- if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}
            """,
        ["deepseek v3.1"] = """
            {{- bos_token }}{% for t in tools or [] %}{{ t.function | tojson }}{% endfor %}
            {%- for m in messages %}
                {%- if m.role == 'user' %}{{ '<｜User｜>' + m.content }}
                {%- elif m.role == 'tool' %}{{ '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' }}
                {%- else %}{{ '<｜Assistant｜></think>' + (m.content or '') }}{% for c in m.tool_calls %}
                    {{- '<｜tool▁calls▁begin｜>' if loop.first }}
                    {{- '<｜tool▁call▁begin｜>' + c.function.name + '<｜tool▁sep｜>' + c.function.arguments | tojson + '<｜tool▁call▁end｜>' }}
                    {{- '<｜tool▁calls▁end｜>' if loop.last }}
                    {%- endfor %}{{ eos_token }}
                {%- endif %}
            {%- endfor %}
            {%- if add_generation_prompt %}{{ '<｜Assistant｜>' ~ ('<think>' if thinking else '</think>') }}{% endif %}
            """,
        ["command r7b"] = """
            {{- bos_token }}<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{% for t in tools or [] %}{{ t.function | tojson }}{% endfor %}<|END_OF_TURN_TOKEN|>
            {%- for m in messages %}
                {%- if m.role == 'tool' %}<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|><|START_TOOL_RESULT|>[{"results": {"0": {{ m.content | tojson }}}}]<|END_TOOL_RESULT|><|END_OF_TURN_TOKEN|>
                {%- elif m.role == 'user' %}<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{ m.content }}<|END_OF_TURN_TOKEN|>
                {%- elif m.tool_calls %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_ACTION|>[
                    {%- for c in m.tool_calls %}{{ '\n    {"tool_call_id": "' ~ loop.index0 ~ '", "tool_name": "' ~ c.function.name ~ '", "parameters": ' ~ c.function.arguments | tojson ~ '}' ~ (',' if not loop.last) }}{% endfor %}
                    {{- '\n]<|END_ACTION|><|END_OF_TURN_TOKEN|>' }}
                {%- else %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% if m.reasoning_content %}<|START_THINKING|>{{ m.reasoning_content }}<|END_THINKING|>{% endif %}{{ m.content }}<|END_OF_TURN_TOKEN|>
                {%- endif %}
            {%- endfor %}
            {%- if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}
            """,
        ["phi-4-mini"] = """
            {%- for m in messages %}{{ '<|' + m.role + '|>' + m.content + ('<|tool|>' + m.tools + '<|/tool|>' if m.tools else '') + '<|end|>' }}{% endfor %}
            {%- if add_generation_prompt %}<|assistant|>{% endif %}
            """,
        ["granite 3.3"] = """
            {%- for t in tools or [] %}{{ t | tojson }}{% endfor %}
            {%- if tools %}When a tool is required to answer the user's query, respond only with <|tool_call|> followed by a JSON list of tools used.{% endif %}
            {%- if thinking %}Write your thoughts between <think></think>.{% endif %}
            {%- for m in messages %}{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\n' }}{% endfor %}
            {%- if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}
            """,
        ["gpt-oss"] = """
            {{- '<|start|>system<|message|>' ~ (model_identity or 'You help.') ~ '\nReasoning: ' ~ (reasoning_effort or 'medium') ~ '<|end|>' }}
            {%- if tools %}{{ '<|start|>developer<|message|># Tools\n\nnamespace functions {\n' }}{% for t in tools %}{{ '// ' ~ t.function.description ~ '\ntype ' ~ t.function.name ~ '\n' }}{% endfor %}{{ '}<|end|>' }}{% endif %}
            {%- for m in messages %}
                {%- if m.role == 'user' %}{{ '<|start|>user<|message|>' ~ m.content ~ '<|end|>' }}
                {%- elif m.role == 'tool' %}{{ '<|start|>functions.' ~ 'weather to=assistant<|channel|>commentary<|message|>' ~ m.content | tojson ~ '<|end|>' }}
                {%- elif 'tool_calls' in m %}
                    {%- if m.content and m.thinking %}{{ raise_exception('Cannot pass both content and thinking in an assistant message with tool calls!') }}{% endif %}
                    {%- if 'final' in m.content %}{{ raise_exception('tags') }}{% endif %}
                    {%- if m.thinking %}{{ '<|start|>assistant<|channel|>analysis<|message|>' ~ m.thinking ~ '<|end|>' }}{% endif %}
                    {{- '<|start|>assistant to=functions.' ~ m.tool_calls[0].function.name ~ '<|channel|>commentary json<|message|>' ~ m.tool_calls[0].function.arguments | tojson ~ '<|call|>' }}
                {%- else %}{{ '<|start|>assistant<|channel|>final<|message|>' ~ m.content ~ ('<|return|>' if loop.last and not add_generation_prompt else '<|end|>') }}
                {%- endif %}
            {%- endfor %}
            {%- if add_generation_prompt %}<|start|>assistant{% endif %}
            """,
        ["no tools"] = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    };

    private static readonly string[] Published =
    [
        "GLM-5.1", "Mistral-7B-Instruct-v0.3", "Mistral-7B-Instruct-v0.3-SOTA-GGUF", "Mistral-Nemo-Instruct-2407", "Qwen2.5-7B-Instruct", "Qwen3-0.6B", "Qwen3-Coder-30B-A3B-Instruct", "Qwen3.5-4B", "SmolLM3-3B",
        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "meetkai-functionary-medium-v3.1", "zephyr-7b-beta",
    ];

    private static readonly string[] SpecialTokens =
    [
        "</s>", "<|im_end|>", "<|end|>", "<|eot_id|>", "<|eom_id|>", "<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "<|user|>", "<|observation|>", "[TOOL_CALLS]", "[ARGS]", "<|tool_call|>", "<|/tool_call|>", "<|START_ACTION|>", "<|END_ACTION|>",
        "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|call|>", "<|return|>",
    ];

    private static readonly Lazy<Dictionary<string, object>> Formats = new(Compile);
    private static MethodInfo[] methods = [];

    public static TheoryData<string, string, string> Syntaxes { get; } = new()
    {
        { "Qwen2.5-7B-Instruct", @" (<tool_call>\n) name, arguments (\n</tool_call>) ", "" },
        { "Qwen3-0.6B", @" (<tool_call>\n) name, arguments (\n</tool_call>) ", @"<think>\n…\n</think>\n\n" },
        { "SmolLM3-3B", @" (<tool_call>\n) name, arguments (\n</tool_call>) ", @"<think>\n…\n</think>\n\n" },
        { "Qwen3-Coder-30B-A3B-Instruct", @"<tool_call>\n (<function=) >\n… <parameter=…>\n…\n</parameter>\n (</function>) \n</tool_call>", "" },
        { "Qwen3.5-4B", @"<tool_call>\n (<function=) >\n… <parameter=…>\n…\n</parameter>\n (</function>) \n</tool_call>", @"<think>\n…\n</think>\n\n" },
        { "GLM-5.1", " (<tool_call>) … <arg_key>…</arg_key><arg_value>…</arg_value> (</tool_call>) ", "<think>…</think>" },
        { "Mistral-7B-Instruct-v0.3", " ( [TOOL_CALLS] ) [name, arguments] ( ) ", "" },
        { "Mistral-7B-Instruct-v0.3-SOTA-GGUF", " ([TOOL_CALLS] ) [name, arguments] () ", "" },
        { "Mistral-Nemo-Instruct-2407", " ([TOOL_CALLS]) [name, arguments] () ", "" },
        { "meetkai-functionary-medium-v3.1", " (<function=) …> (</function>) ", "" },
        { "llama 3.1", " () name, parameters () ", "" },
        { "mistral with names", " ([TOOL_CALLS]) …[ARGS] () ", "" },
        { "deepseek v3", @"<｜tool▁calls▁begin｜> (<｜tool▁call▁begin｜>function<｜tool▁sep｜>) …\n```json\n (\n```<｜tool▁call▁end｜>) <｜tool▁calls▁end｜>", @"<think>\n…\n</think>\n\n" },
        { "deepseek v3.1", "<｜tool▁calls▁begin｜> (<｜tool▁call▁begin｜>) …<｜tool▁sep｜> (<｜tool▁call▁end｜>) <｜tool▁calls▁end｜>", @"<think>\n…\n</think>\n\n" },
        { "command r7b", " (<|START_ACTION|>) [tool_name, parameters] (<|END_ACTION|>) ", "<|START_THINKING|>…<|END_THINKING|>" },
        { "phi-4-mini", " (<|tool_call|>) [name, arguments] (<|/tool_call|>) ", "" },
        { "granite 3.3", " (<|tool_call|>) [name, arguments] (<|/tool_call|>) ", @"<think>\n…\n</think>\n\n" },
        { "no tools", @" (<tool_call>\n) name, arguments (\n</tool_call>) ", "" },
        { "zephyr-7b-beta", @" (<tool_call>\n) name, arguments (\n</tool_call>) ", "" },
        { "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", @" (<tool_call>\n) name, arguments (\n</tool_call>) ", @"<think>\n…\n</think>\n\n" },
    };

    [Theory]
    [MemberData(nameof(Syntaxes))]
    public void How_tools_are_called_and_where_reasoning_is_are_read_off_a_template(string name, string calls, string reasoning)
    {
        object format = Formats.Value[name];
        Assert.Equal((calls, reasoning), (Call("Describe", format), Call("Think", format)));
    }

    [Theory]
    [MemberData(nameof(Syntaxes))]
    public void Calls_that_a_template_writes_are_read_again(string name, string calls, string reasoning)
    {
        Assert.NotEqual(calls, reasoning);
        object format = Formats.Value[name];
        Assert.Equal(Calls[..(Calls.IndexOf('>', StringComparison.Ordinal) + 1)], Call("RoundTrip", format, 1));
        if (name != "llama 3.1") Assert.Equal(Calls, Call("RoundTrip", format, 2));
    }

    [Theory]
    [MemberData(nameof(Syntaxes))]
    public void Tools_calls_and_results_are_in_the_prompt_once(string name, string calls, string reasoning)
    {
        Assert.NotEqual(calls, reasoning);
        object format = Formats.Value[name];
        string prompt = Call("Prompt", format), conversation = Call("Conversation", format, 2);
        Assert.Contains("In a city", prompt, StringComparison.Ordinal);
        bool describes = name is "no tools" or "zephyr-7b-beta" or "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B";
        Assert.Equal(describes, prompt.Contains("# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided", StringComparison.Ordinal) && !prompt.Contains("{\"type\": \"function\"", StringComparison.Ordinal) && name != "GLM-5.1");
        foreach (string part in (string[])["Oslo", "7 degrees", "6 degrees"]) Assert.Single(conversation.Split(part)[1..]);
    }

    [Theory]
    [InlineData("llama 3.1", """{"name": "weather", "parameters": {"city": "Oslo", "days": 3}}; {"name": "weather", "parameters": {"city": "Tromsø", "days": 4}}""", Calls)]
    [InlineData("llama 3.1", """{"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}""", "<weather city: Oslo>")]
    [InlineData("llama 3.1", "Let me look.\n\n{\"name\": \"weather\", \"parameters\": {\"city\": \"Oslo\"}}", "Let me look.<weather city: Oslo>")]
    [InlineData("llama 3.1", """{"name": "Oslo", "people": 700000}""", """{"name": "Oslo", "people": 700000}""")]
    [InlineData("llama 3.1", "{curly} [1] {\n", "{curly} [1] {\n")]
    [InlineData("phi-4-mini", """functools[{"name": "weather", "arguments": {"city": "Oslo"}}]""", "<weather city: Oslo>")]
    [InlineData("phi-4-mini", """[{"name": "weather", "arguments": {"city": "Oslo"}}]""", "<weather city: Oslo>")]
    [InlineData("phi-4-mini", "[a link](https://example.org)", "[a link](https://example.org)")]
    [InlineData("Qwen3-Coder-30B-A3B-Instruct", "I look.\n<function=weather>\n<parameter=city>\nA </parameter> B\n</parameter>\n</function>\n</tool_call>", "I look.<weather city: A </parameter> B>")]
    [InlineData("Qwen3-Coder-30B-A3B-Instruct", "<tool_call><function=weather></function></tool_call>Done", "<weather >Done")]
    [InlineData("Qwen3-Coder-30B-A3B-Instruct", "a < b, <function = x> and <functions>", "a < b, <function = x> and <functions>")]
    [InlineData("GLM-5.1", "<tool_call>weather\n<arg_key>city</arg_key><arg_value>7</arg_value>\n<arg_key>days</arg_key><arg_value>[1, 2]</arg_value>\n</tool_call>", "<weather city: 7, days: [1, 2]>")]
    [InlineData("mistral with names", """I look.[TOOL_CALLS]weather[ARGS]{"city": "[TOOL_CALLS]"}""", "I look.<weather city: [TOOL_CALLS]>")]
    [InlineData("mistral with names", "[TOOL_CALLS] are lists, [TOOL_", "[TOOL_CALLS] are lists, [TOOL_")]
    public void Answers_are_read_as_models_really_write_them(string name, string answer, string expected) => Assert.Equal(expected, Call("Parse", Formats.Value[name], answer));

    [Fact]
    public void A_model_that_calls_one_tool_at_a_time_is_shown_several_calls_one_after_the_other()
    {
        string conversation = Call("Conversation", Formats.Value["llama 3.1"], 2);
        string[] order = ["\"Oslo\"", "7 degrees", "\"Tromsø\"", "6 degrees"];
        int[] places = [.. order.Select(part => conversation.IndexOf(part, StringComparison.Ordinal))];
        Assert.Equal(places.Order(), places);
        Assert.True(places[0] > 0);
    }

    [Fact]
    public void A_token_that_ends_turns_with_calls_alone_ends_turns_too() => Assert.Equal("<|eot_id|> <|eom_id|>", Call("Stops", Formats.Value["meetkai-functionary-medium-v3.1"]));

    [Fact]
    public void Variables_are_those_that_the_template_asks_for()
    {
        object format = Formats.Value["Qwen3-0.6B"];
        Assert.Contains("enable_thinking", Call("Variables", format).Split(' '));
        Assert.DoesNotContain("messages", Call("Variables", format).Split(' '));
        Assert.EndsWith("<think>\n\n</think>\n\n", Call("PromptWith", format, "enable_thinking", false), StringComparison.Ordinal);
        Assert.EndsWith("assistant\n", Call("PromptWith", format, "enable_thinking", true), StringComparison.Ordinal);
        Assert.DoesNotContain("enable_thinking", Call("Variables", Formats.Value["Qwen2.5-7B-Instruct"]).Split(' '));
    }

    // Its calls and its reasoning are in channels, which another parser reads: see ChannelParserTests.
    [Fact]
    public void A_template_of_channels_is_known_by_what_it_writes()
    {
        object format = Formats.Value["gpt-oss"];
        Assert.Equal(" (<|channel|>commentary to=functions.) … <|constrain|>json<|message|> (<|call|>) ", Call("Describe", format));
        Assert.Equal("<|channel|>analysis<|message|>…<|end|>", Call("Think", format));
        Assert.Equal("<|return|> <|call|>", Call("Stops", format));
        Assert.Equal(["model_identity", "reasoning_effort"], Call("Variables", format).Split(' '));
        Assert.EndsWith("type weather\n}<|end|><|start|>user<|message|>How warm is it?<|end|><|start|>assistant", Call("Prompt", format), StringComparison.Ordinal);
        // One call a message, its result behind it; what was thought and said before it is thought.
        Assert.EndsWith(
            """
            <|start|>assistant to=functions.weather<|channel|>commentary json<|message|>{"city": "Oslo", "days": 3}<|call|><|start|>functions.weather to=assistant<|channel|>commentary<|message|>"7 degrees"<|end|><|start|>assistant to=functions.weather<|channel|>commentary json<|message|>{"city": "Tromsø", "days": 4}<|call|><|start|>functions.weather to=assistant<|channel|>commentary<|message|>"6 degrees"<|end|><|start|>assistant
            """,
            Call("Conversation", format, 2), StringComparison.Ordinal);
        Assert.Contains("<|channel|>analysis<|message|>Hm.\n\nI look.<|end|><|start|>assistant to=", Call("Thought", format), StringComparison.Ordinal);
    }

    private static string Call(string method, params object[] arguments) => (string)methods.Single(m => m.Name == method).Invoke(null, arguments)!;

    private static Dictionary<string, object> Compile()
    {
        (string Name, string Text)[] templates =
        [
            .. Published.Select(name => (name, File.ReadAllText(Path.Combine(TestProject.Folder, "ChatTemplates", "templates", name + ".jinja")))),
            .. Short.Select(template => (template.Key, template.Value)),
        ];
        string source = "#nullable enable\n";
        for (int i = 0; i < templates.Length; i++)
        {
            CompiledTemplate compiled = TemplateCompiler.Compile(new TemplateFile(templates[i].Name, templates[i].Text));
            Assert.True(compiled.Code is not null, $"{templates[i].Name}: {compiled.Error}");
            source += ChatTemplateEmitter.Emit($"Template{i}", Descriptors.Sample with { BosToken = "<s>", EosToken = "</s>" }, compiled.Code).Replace("private sealed", "public sealed", StringComparison.Ordinal).Replace("    internal ", "    public ", StringComparison.Ordinal);
        }

        string extensions = typeof(ChatMessage).Assembly.Location;
        CSharpCompilation compilation = GeneratorRun.Compilation(source).AddSyntaxTrees(CSharpSyntaxTree.ParseText(Driver, GeneratorRun.ParseOptions()));
        if (compilation.ExternalReferences.All(reference => reference.Display?.EndsWith("Microsoft.Extensions.AI.Abstractions.dll", StringComparison.Ordinal) != true)) compilation = compilation.AddReferences(MetadataReference.CreateFromFile(extensions));
        using MemoryStream assembly = new();
        Microsoft.CodeAnalysis.Emit.EmitResult result = compilation.Emit(assembly);
        Assert.True(result.Success, string.Join("\n", result.Diagnostics.Where(d => d.Severity == DiagnosticSeverity.Error).Take(20)));
        assembly.Position = 0;
        AssemblyLoadContext context = new("tool syntax");
        context.Resolving += (of, name) => File.Exists(Beside(name)) ? of.LoadFromAssemblyPath(Beside(name)) : null;
        foreach (string path in RuntimeReference.Paths) context.LoadFromAssemblyPath(path);
        methods = context.LoadFromStream(assembly).GetType("Driver")!.GetMethods();
        byte[] tokenizer = Tokenizer();
        return templates.Select((template, i) => (template.Name, Format: methods.Single(m => m.Name == "Format").Invoke(null, [$"Template{i}", tokenizer])!)).ToDictionary(t => t.Name, t => t.Format);

        static string Beside(AssemblyName name) => Path.Combine(Path.GetDirectoryName(RuntimeReference.Paths[0])!, name.Name + ".dll");
    }

    private static byte[] Tokenizer()
    {
        string sample = Path.Combine(TestProject.Folder, "../../samples/models/gutenberg-7m/tokenizer.json");
        JsonNode tokenizer = JsonNode.Parse(File.ReadAllText(sample))!;
        JsonArray added = tokenizer["added_tokens"]!.AsArray();
        for (int i = 0; i < SpecialTokens.Length; i++)
        {
            added.Add(new JsonObject { ["id"] = 4096 + i, ["content"] = SpecialTokens[i], ["special"] = true, ["single_word"] = false, ["lstrip"] = false, ["rstrip"] = false, ["normalized"] = false });
        }

        return System.Text.Encoding.UTF8.GetBytes(tokenizer.ToJsonString());
    }
}
