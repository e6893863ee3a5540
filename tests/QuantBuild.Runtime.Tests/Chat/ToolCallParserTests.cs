using System.Text.Json;
using Microsoft.Extensions.AI;
using QuantBuild.Chat;

namespace QuantBuild.Runtime.Tests.Chat;

public class ToolCallParserTests
{
    private static readonly ToolCallSyntax Syntax = new("<tool_call>", "</tool_call>");

    /// <summary>Answers, and what is in them: texts, and calls as a name with JSON.</summary>
    public static TheoryData<string, string[]> Answers { get; } = new()
    {
        { "", [] },
        { "Nothing to call. ", ["Nothing to call. "] },
        { " 2 < 3, <b>bold</b>, <tool, <tool_cal and <tool_call", [" 2 < 3, <b>bold</b>, <tool, <tool_cal and <tool_call"] },
        { """<tool_call>{"name":"now"}</tool_call>""", ["now {}"] },
        { "<tool_call>\n{\"name\": \"sum\", \"arguments\": {\"a\": [1, 2], \"b\": null}}\n</tool_call>\n", ["""sum {"a":[1, 2],"b":null}"""] },
        { "I look.\n\n<tool_call>\n{\"name\":\"find\",\"arguments\":{\"q\":\"x\"}}</tool_call>\n\nWait for it.", ["I look.", """find {"q":"x"}""", "Wait for it."] },
        { "<tool_call>{\"name\":\"a\"}</tool_call>\n<tool_call>{\"name\":\"b\",\"arguments\":{}}</tool_call>", ["a {}", "b {}"] },
        { "<<tool_call>{\"name\":\"a\"}</tool_call>", ["<", "a {}"] },
        // Marks within strings of the arguments.
        { """<tool_call>{"name":"echo","arguments":{"x":"</tool_call> \" <tool_call>"}}</tool_call>.""", ["""echo {"x":"</tool_call> \" <tool_call>"}""", "."] },
        // The last mark is missing: a stop string, or the model ended.
        { "Yes <tool_call>\n{\"name\":\"a\",\"arguments\":{\"k\":1}}\n", ["Yes", """a {"k":1}"""] },
        // What is no call stays text, and what comes after it is read all the same.
        { "Well \n<tool_call>no JSON</tool_call> then", ["Well \n<tool_call>no JSON</tool_call> then"] },
        { "<tool_call>{\"name\":\"a\"</tool_call><tool_call>{\"name\":\"b\"}</tool_call>", ["<tool_call>{\"name\":\"a\"</tool_call>", "b {}"] },
        { "<tool_call></tool_call>", ["<tool_call></tool_call>"] },
        { "<tool_call>{\"arguments\":{}}</tool_call>", ["<tool_call>{\"arguments\":{}}</tool_call>"] },
        { "<tool_call>[1]</tool_call>", ["<tool_call>[1]</tool_call>"] },
        { " <tool_call>{\"name\":\"a\",\"argu", [" <tool_call>{\"name\":\"a\",\"argu"] },
        { "Größe <tool_call>{\"name\":\"maß\",\"arguments\":{\"ü\":\"🙂\"}}</tool_call>", ["Größe", """maß {"ü":"🙂"}"""] },
    };

    [Theory]
    [MemberData(nameof(Answers))]
    public void An_answer_is_read_alike_whatever_pieces_it_comes_in(string answer, string[] expected)
    {
        Assert.Equal(expected, Read([answer]));
        Assert.Equal(expected, Read(answer.Select(c => c.ToString())));
        for (int i = 1; i < answer.Length; i++)
        {
            Assert.Equal(expected, Read([answer[..i], answer[i..]]));
            for (int j = i; j < answer.Length; j += 3) Assert.Equal(expected, Read([answer[..i], "", answer[i..j], answer[j..]]));
        }
    }

    [Fact]
    public void Text_is_passed_on_at_once_and_a_call_when_it_is_complete()
    {
        ToolCallParser parser = new(Syntax, []);
        Assert.Equal("Let me", Assert.IsType<TextContent>(Assert.Single(parser.Append("Let me "))).Text);
        Assert.Equal(" look.", Assert.IsType<TextContent>(Assert.Single(parser.Append("look. <tool_"))).Text);
        Assert.Empty(parser.Append("""call>{"name":"a","arguments":{"b":"""));
        Assert.Equal("a", Assert.IsType<FunctionCallContent>(Assert.Single(parser.Append("2}}</tool_cal"))).Name);
        Assert.Empty(parser.Append("l>"));
        Assert.Empty(parser.Finish());
    }

    [Fact]
    public void Each_call_has_an_id_of_its_own()
    {
        ToolCallParser parser = new(Syntax, []);
        string[] ids = [.. parser.Append("""<tool_call>{"name":"a"}</tool_call><tool_call>{"name":"a"}</tool_call>""").Cast<FunctionCallContent>().Select(call => call.CallId)];
        Assert.Equal(2, ids.Distinct().Count());
        Assert.All(ids, Assert.NotEmpty);
    }

    [Fact]
    public void Arguments_that_are_no_object_are_an_error_of_the_call()
    {
        ToolCallParser parser = new(Syntax, []);
        FunctionCallContent call = Assert.IsType<FunctionCallContent>(Assert.Single(parser.Append("""<tool_call>{"name":"a","arguments":[1]}</tool_call>""")));
        Assert.Null(call.Arguments);
        Assert.Contains("[1]", Assert.IsType<JsonException>(call.Exception).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("<tool_call>{\"name\":\"a\",\"arguments\":{\"b\":\"", "\"}}</tool_call>")]
    [InlineData("<function=a><parameter=b>", "</parameter></function>")]
    public void A_long_call_that_comes_in_small_pieces_takes_no_copy_of_it_for_each(string begin, string end)
    {
        ToolCallSyntax syntax = begin[1] == 't' ? Syntax : new("<function=", "</function>") { AfterName = ">", Arguments = new("<parameter=", ">", "</parameter>") };
        string value = new('x', 400_000);
        long before = GC.GetAllocatedBytesForCurrentThread();
        ToolCallParser parser = new(syntax, []);
        List<AIContent> contents = [];
        foreach (char[] piece in (begin + value + end).Chunk(4)) contents.AddRange(parser.Append(new string(piece)));
        contents.AddRange(parser.Finish());
        Assert.Equal(value, Assert.IsType<FunctionCallContent>(Assert.Single(contents)).Arguments!["b"]!.ToString());
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 64 << 20);
    }

    [Fact]
    public void A_mark_that_is_cut_after_a_call_is_no_text() => Assert.Equal(["a {}"], Read(["""<tool_call>{"name":"a"}</tool""", "_c"]));

    [Fact]
    public void Half_of_a_surrogate_pair_is_no_name_of_a_tool() => Assert.Equal([@"<tool_call>{""name"":""\ud800""}</tool_call>"], Read([@"<tool_call>{""name"":""\ud800""}</tool_call>"]));

    [Fact]
    public void Of_one_call_alone_what_follows_is_left_out()
    {
        ToolCallParser parser = new(Syntax, [], isSingle: true);
        Assert.Equal("a", Assert.IsType<FunctionCallContent>(Assert.Single(parser.Append("""<tool_call>[{"name":"a"},{"name":"b"}]</tool_call>c"""))).Name);
        Assert.Empty(parser.Append("d"));
        Assert.Empty(parser.Finish());
    }

    [Fact]
    public void An_answer_can_begin_within_a_call()
    {
        Assert.Equal(["""a {"b":1}"""], Read(["""{"name":"a","argum""", """ents":{"b":1}}"""], inCall: true));
        Assert.Equal(["<tool_call>{\"name\":"], Read(["""{"name":"""], inCall: true));
    }

    private static List<string> Read(IEnumerable<string> pieces, bool inCall = false)
    {
        ToolCallParser parser = new(Syntax, [], inCall ? "" : null);
        List<string> read = [];
        bool lastIsText = false;
        foreach (AIContent content in pieces.SelectMany(parser.Append).ToList().Concat(parser.Finish()))
        {
            if (content is TextContent text)
            {
                Assert.NotEqual("", text.Text);
                if (lastIsText) read[^1] += text.Text;
                else read.Add(text.Text);
                lastIsText = true;
            }
            else
            {
                FunctionCallContent call = Assert.IsType<FunctionCallContent>(content);
                read.Add($"{call.Name} {{{string.Join(',', call.Arguments!.Select(a => $"\"{a.Key}\":{(a.Value is null ? "null" : ((JsonElement)a.Value).GetRawText())}"))}}}");
                lastIsText = false;
            }
        }

        return read;
    }
}
