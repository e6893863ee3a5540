using System.Text.Json;
using Microsoft.Extensions.AI;

namespace QuantBuild.Worker.Chat;

/// <summary>What was said, and what the model was told before.</summary>
internal sealed class Conversation
{
    /// <summary>What the model is told before the conversation.</summary>
    public string? System { get; set; }

    /// <summary>The turns of both sides.</summary>
    public List<ChatMessage> Turns { get; } = [];

    /// <summary>Everything, for the model.</summary>
    public IEnumerable<ChatMessage> Messages => string.IsNullOrEmpty(System) ? Turns : Turns.Prepend(new ChatMessage(ChatRole.System, System));

    /// <summary>Writes the conversation to a file.</summary>
    /// <exception cref="QuantBuildException">QB1003: the disk is full. QB1004: it cannot be written.</exception>
    public void Save(string path) => WholeFile.Write(
        path, JsonSerializer.Serialize([.. Messages.Select(message => new SavedMessage(message.Role.Value, message.Text))], CommandJson.Readable.ListSavedMessage) + "\n");

    /// <summary>Goes on with a conversation that was saved, in place of this one.</summary>
    /// <exception cref="QuantBuildException">QB1020: there is no such file, or it is no conversation.</exception>
    public void Load(string path)
    {
        List<ChatMessage> messages;
        try
        {
            messages = [.. Read(path).Select(message => new ChatMessage(new ChatRole(message.Role), message.Text))];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or ArgumentException)
        {
            throw new QuantBuildException(
                DiagnosticIds.ConversationUnreadable, $"The conversation {path} cannot be read: {e.Message.TrimEnd('.')}. Name a file that /save of {CommandLine.Name} chat wrote.", e);
        }

        System = messages.FirstOrDefault() is { } first && first.Role == ChatRole.System ? first.Text : null;
        Turns.Clear();
        Turns.AddRange(messages.Skip(System is null ? 0 : 1));
    }

    private static List<SavedMessage> Read(string path) =>
        JsonSerializer.Deserialize(File.ReadAllText(path), CommandJson.Readable.ListSavedMessage) is { } messages && messages.TrueForAll(message => message is { Role: not null, Text: not null })
            ? messages
            : throw new JsonException("it is JSON, and not a list of messages with a role and a text");
}

/// <summary>A message as it is saved.</summary>
/// <param name="Role"><c>system</c>, <c>user</c> or <c>assistant</c>.</param>
/// <param name="Text">What was said.</param>
internal sealed record SavedMessage(string Role, string Text);
