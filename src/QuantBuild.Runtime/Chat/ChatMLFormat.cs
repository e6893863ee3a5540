using System.Text;
using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>ChatML: each turn between two tokens, with its role in the first line.</summary>
internal sealed class ChatMLFormat : ChatFormat
{
    private const string Begin = "<|im_start|>";
    private const string End = "<|im_end|>";

    /// <summary>The tokens that the format needs.</summary>
    public static IReadOnlyList<string> Tokens { get; } = [Begin, End];

    public override IReadOnlyList<string> StopStrings { get; } = [End, Begin];

    public override ToolCallSyntax ToolCalls => HermesTools.Syntax;

    public override string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt)
    {
        StringBuilder prompt = new();
        foreach ((ChatRole role, string text) in HermesTools.Turns(messages, tools)) prompt.Append($"{Begin}{role.Value}\n{text}{End}\n");
        if (addGenerationPrompt) prompt.Append($"{Begin}{ChatRole.Assistant.Value}\n");
        return prompt.ToString();
    }
}
