using System.Collections.Generic;
using System.Text;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>
/// Conversations as the model's own chat template writes them. What ends a turn, how tools are called and where reasoning is, a template does not say: all of it is read off what it writes.
/// </summary>
internal sealed class TemplateFormat : ChatFormat
{
    // What the template is given anyway.
    private static readonly string[] OwnVariables = ["messages", "tools", "add_generation_prompt"];

    private static readonly Dictionary<string, object?> NoVariables = [];

    private readonly ChatTemplate template;
    private readonly ChatTemplate? toolTemplate;
    private readonly TimeProvider clock;
    private readonly TemplateDialect dialect;

    // The names that the templates asked for, while it is found out.
    private readonly HashSet<string>? asked;

    /// <summary>A format of templates.</summary>
    /// <param name="template">The model's template.</param>
    /// <param name="toolTemplate">The one for requests with tools, where that is another.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="clock">The time, for templates that write it.</param>
    public TemplateFormat(ChatTemplate template, ChatTemplate? toolTemplate, TextTokenizer tokenizer, TimeProvider? clock = null)
    {
        (this.template, this.toolTemplate, this.clock) = (template, toolTemplate, clock ?? TimeProvider.System);
        asked = new HashSet<string>(StringComparer.Ordinal);
        dialect = new TemplateProbe(TryRender, tokenizer).Read();
        Variables = [.. asked.Except(OwnVariables)];
        asked = null;
    }

    public override IReadOnlyList<string> StopStrings => dialect.StopStrings;

    public override ToolCallSyntax ToolCalls => dialect.Calls ?? HermesTools.Syntax;

    public override ReasoningSyntax? Reasoning => dialect.Reasoning;

    internal override bool HasChannels => dialect.HasChannels;

    public override IReadOnlyCollection<string> Variables { get; }

    public override bool WritesSpecialTokens => true;

    public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt) => Render(messages, tools, dialect, addGenerationPrompt, NoVariables);

    public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt, IReadOnlyDictionary<string, object?> variables) =>
        Render(messages, tools, dialect, addGenerationPrompt, variables);

    private string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, TemplateDialect dialect, bool addGenerationPrompt, IReadOnlyDictionary<string, object?> variables)
    {
        // Calls that the template does not write are part of the text; tools that it has no place for are described by the system, and answered by the user.
        if (!dialect.WritesCalls) messages = [.. WithCallsAsText(messages, dialect.Tools == ToolsPlace.None ? tools : [], dialect)];
        List<TemplateValue> turns = [.. TemplateMessages.Of(messages, dialect)];
        bool given = tools.Count > 0 && dialect.Tools != ToolsPlace.None;
        if (given && dialect.Tools == ToolsPlace.SystemMessage)
        {
            TemplateValue functions = TemplateMessages.Json(TemplateMessages.List(tools.Select(TemplateMessages.Function)));
            bool hasSystem = messages is [{ } system, ..] && system.Role == ChatRole.System;
            TemplateValue message = TemplateMessages.Mapping(("role", "system"), ("content", hasSystem ? messages[0].Text : ""), ("tools", functions));
            if (hasSystem) turns[0] = message;
            else turns.Insert(0, message);
        }

        Dictionary<string, TemplateValue> values = new(StringComparer.Ordinal) { ["documents"] = TemplateValue.None };
        foreach ((string name, object? value) in variables) values[name] = TemplateMessages.ValueOf(value);
        values["messages"] = TemplateMessages.List(turns);
        values["tools"] = given && dialect.Tools == ToolsPlace.Variable ? TemplateMessages.List(tools.Select(TemplateMessages.Describe)) : TemplateValue.None;
        values["add_generation_prompt"] = addGenerationPrompt;
        return (tools.Count > 0 ? toolTemplate ?? template : template).Render(values, clock, asked);
    }

    private static IEnumerable<ChatMessage> WithCallsAsText(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> described, TemplateDialect dialect)
    {
        foreach ((ChatMessage? message, ChatRole role, string text) in HermesTools.Turns(messages, described, dialect.Calls, keepsResults: dialect.WritesResults))
        {
            if (role == ChatRole.Tool && message is not null) yield return message;
            else yield return new ChatMessage(role == ChatRole.Tool ? ChatRole.User : role, [.. message?.Contents.OfType<TextReasoningContent>() ?? [], new TextContent(text)]);
        }
    }

    private string? TryRender(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, TemplateDialect dialect, bool prompt, IReadOnlyDictionary<string, object?> variables)
    {
        try
        {
            return Render(messages, tools, dialect, prompt, variables);
        }
        catch (QuantBuildException)
        {
            return null;
        }
    }
}
