using Microsoft.Build.Framework;

namespace QuantBuild.Tasks.Tests;

[Collection("one cache variable a process")]
public sealed class ChatTemplateTests : IDisposable
{
    private readonly TestProject project = new();

    public void Dispose() => project.Dispose();

    [Fact]
    public void The_template_of_tokenizer_config_becomes_a_file_for_the_generator()
    {
        project.Write("tiny/tokenizer_config.json", """{"chat_template": "a\n{{ 'ü' }}\r\n", "bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": null}""");
        DeclareModels task = project.Declare(TestProject.Sound()).Task;

        string path = Path.Combine(project.OutputFolder, "TinyGptq4.chat.jinja");
        ITaskItem item = Assert.Single(task.ChatTemplates);
        Assert.Equal((path, "true"), (item.ItemSpec, item.GetMetadata("Written")));
        Assert.Equal("a\n{{ 'ü' }}\r\n", File.ReadAllText(path));
        ModelDescriptor descriptor = project.Descriptor("TinyGptq4");
        Assert.Equal((path, null), (descriptor.ChatTemplateFile, descriptor.ToolChatTemplateFile));
        Assert.Equal(("<s>", "</s>", null, null), (descriptor.BosToken, descriptor.EosToken, descriptor.UnkToken, descriptor.PadToken));
    }

    [Fact]
    public void A_template_that_stays_the_same_is_not_written_again()
    {
        project.Write("tiny/tokenizer_config.json", """{"chat_template": "a"}""");
        project.Declare(TestProject.Sound());
        string path = Path.Combine(project.OutputFolder, "TinyGptq4.chat.jinja");
        DateTime past = new(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(path, past);
        project.Declare(TestProject.Sound());
        Assert.Equal(past, File.GetLastWriteTimeUtc(path));
    }

    [Fact]
    public void Of_named_templates_the_default_and_that_for_tools_are_taken()
    {
        project.Write("tiny/tokenizer_config.json", """{"chat_template": [{"name": "rag", "template": "r"}, {"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}""");
        project.Declare(TestProject.Sound());
        ModelDescriptor descriptor = project.Descriptor("TinyGptq4");
        Assert.Equal(("d", "t"), (File.ReadAllText(descriptor.ChatTemplateFile!), File.ReadAllText(descriptor.ToolChatTemplateFile!)));

        project.Declare(TestProject.Sound(("ChatTemplate", "rag")));
        descriptor = project.Descriptor("TinyGptq4");
        Assert.Equal(("r", null), (File.ReadAllText(descriptor.ChatTemplateFile!), descriptor.ToolChatTemplateFile));
    }

    [Fact]
    public void A_template_file_of_the_model_comes_first_and_is_read_where_it_is()
    {
        project.Write("tiny/tokenizer_config.json", """{"chat_template": "a"}""");
        project.Write("tiny/chat_template.jinja", "b");
        project.Write("tiny/additional_chat_templates/tool_use.jinja", "t");
        DeclareModels task = project.Declare(TestProject.Sound()).Task;
        string file = Path.Combine(project.Folder, "tiny", "chat_template.jinja"), tools = Path.Combine(project.Folder, "tiny", "additional_chat_templates", "tool_use.jinja");
        Assert.Equal([file, tools], task.ChatTemplates.Select(item => item.ItemSpec));
        Assert.Contains(file, task.Inputs.Select(item => item.ItemSpec));
        ModelDescriptor descriptor = project.Descriptor("TinyGptq4");
        Assert.Equal((file, tools), (descriptor.ChatTemplateFile, descriptor.ToolChatTemplateFile));
    }

    [Fact]
    public void ChatTemplate_of_the_item_is_a_file_of_the_project()
    {
        project.Write("tiny/chat_template.jinja", "b");
        project.Write("mine.jinja", "m");
        project.Declare(TestProject.Sound(("ChatTemplate", "mine.jinja")));
        Assert.Equal(Path.Combine(project.Folder, "mine.jinja"), project.Descriptor("TinyGptq4").ChatTemplateFile);
    }

    [Fact]
    public void ChatTemplate_that_is_neither_a_file_nor_a_name_is_an_error_that_says_what_there_is()
    {
        project.Write("tiny/tokenizer_config.json", """{"chat_template": [{"name": "default", "template": "d"}, {"name": "rag", "template": "r"}]}""");
        (_, RecordingBuildEngine engine, bool succeeded) = project.Declare(TestProject.Sound(("ChatTemplate", "tool")));
        Assert.False(succeeded);
        BuildErrorEventArgs error = Assert.Single(engine.Errors);
        Assert.Equal("QB0031", error.Code);
        Assert.Contains("which has default, rag", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[]")]
    public void A_malformed_tokenizer_config_is_a_warning_and_the_model_has_no_template(string json)
    {
        project.Write("tiny/tokenizer_config.json", json);
        (DeclareModels task, RecordingBuildEngine engine, bool succeeded) = project.Declare(TestProject.Sound());
        Assert.True(succeeded);
        Assert.Equal("QB0031", Assert.Single(engine.Warnings).Code);
        Assert.Empty(task.ChatTemplates);
    }

    [Fact]
    public void A_model_without_a_template_has_none()
    {
        DeclareModels task = project.Declare(TestProject.Sound()).Task;
        Assert.Empty(task.ChatTemplates);
        Assert.Null(project.Descriptor("TinyGptq4").ChatTemplateFile);
    }
}
