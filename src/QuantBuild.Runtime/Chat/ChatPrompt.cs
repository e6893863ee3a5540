using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>Checks that a model can read a conversation, and puts what the system says at its beginning into one message.</summary>
internal static class ChatPrompt
{
    /// <summary>The messages for a <see cref="ChatFormat"/>.</summary>
    /// <param name="messages">The conversation.</param>
    /// <param name="instructions">What comes before all else; may be <see langword="null"/>.</param>
    /// <exception cref="QuantBuildException">QB4013: a role or a content that the model cannot read.</exception>
    public static IReadOnlyList<ChatMessage> Messages(IEnumerable<ChatMessage> messages, string? instructions)
    {
        List<ChatMessage> readable = [.. messages.Select(Readable)];
        int system = readable.TakeWhile(message => message.Role == ChatRole.System).Count();
        string[] beginning = [.. readable.Take(system).Select(message => message.Text).Prepend(instructions).OfType<string>().Where(text => text.Length > 0)];
        readable.RemoveRange(0, system);
        if (beginning.Length > 0) readable.Insert(0, new ChatMessage(ChatRole.System, string.Join("\n\n", beginning)));
        return readable;
    }

    private static ChatMessage Readable(ChatMessage message)
    {
        ChatRole role = message.Role;
        if (role != ChatRole.System && role != ChatRole.User && role != ChatRole.Assistant && role != ChatRole.Tool)
        {
            throw Unsupported($"A message has the role {role.Value}, expected system, user, assistant or tool. Give it the one that fits.");
        }

        // Usage is not for the model.
        List<AIContent> contents = [.. message.Contents.Where(content => content is not UsageContent)];
        foreach (AIContent content in contents)
        {
            bool fits = content switch
            {
                TextContent => true,
                TextReasoningContent => role == ChatRole.Assistant,
                FunctionCallContent => role == ChatRole.Assistant,
                FunctionResultContent => role == ChatRole.Tool,
                _ => false,
            };
            if (fits) continue;
            string what = content switch
            {
                DataContent data => $"{data.MediaType} ({content.GetType().Name})",
                UriContent uri => $"{uri.MediaType} ({content.GetType().Name})",
                _ => content.GetType().Name,
            };
            throw Unsupported(
                $"A message of the role {role.Value} has {what}, and a model reads text, function calls of the assistant and function results of tools alone. " +
                "Leave it out, or say in text what it says.");
        }

        return new ChatMessage(role, contents) { AuthorName = message.AuthorName, MessageId = message.MessageId };
    }

    private static QuantBuildException Unsupported(string message) => new(DiagnosticIds.ChatMessageUnsupported, message);
}
