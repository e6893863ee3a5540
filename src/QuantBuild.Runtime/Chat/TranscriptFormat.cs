using System.Text;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>A conversation written down in plain text, which any model can continue: <c>User: …</c>, <c>Assistant: …</c>.</summary>
internal sealed class TranscriptFormat : ChatFormat
{
    private static readonly (ChatRole Role, string Name)[] Speakers =
        [(ChatRole.User, "User:"), (ChatRole.Assistant, "Assistant:"), (ChatRole.System, "System:"), (ChatRole.Tool, "Tool:")];

    public override IReadOnlyList<string> StopStrings { get; } = [.. Speakers.Select(speaker => "\n" + speaker.Name)];

    public override ToolCallSyntax ToolCalls => HermesTools.Syntax;

    public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt)
    {
        StringBuilder prompt = new();
        foreach ((ChatRole role, string text) in HermesTools.Turns(messages, tools))
        {
            // What comes first is about the conversation, and nobody in it says it.
            if (prompt.Length == 0 && role == ChatRole.System) prompt.Append($"{text}\n\n");
            else prompt.Append($"{NameOf(role)} {text}\n");
        }

        if (addGenerationPrompt) prompt.Append(NameOf(ChatRole.Assistant));
        return prompt.ToString();
    }

    private static string NameOf(ChatRole role) => Speakers.First(speaker => speaker.Role == role).Name;
}
