using Microsoft.Extensions.AI;
using QuantBuild.Chat;

namespace QuantBuild;

/// <summary>
/// How a conversation becomes the text that a model continues, and how its answer is read: what a chat template of Hugging Face says, in code. Safe to use from several threads at once.
/// </summary>
public abstract class ChatFormat
{
    /// <summary>
    /// Texts that end a turn. One that is a special token of the model, such as <c>&lt;|im_end|&gt;</c>, ends it as a token.
    /// </summary>
    public abstract IReadOnlyList<string> StopStrings { get; }

    /// <summary>How the model calls tools; <see langword="null"/> where the format has no place for them, and a request with tools is an error, QB4012.</summary>
    public virtual ToolCallSyntax? ToolCalls => null;

    /// <summary>How the model writes its reasoning; <see langword="null"/> where it has none, or the format knows nothing of it, and all that it writes is its answer.</summary>
    public virtual ReasoningSyntax? Reasoning => null;

    /// <summary>Whether answers are in channels: see <see cref="ChannelParser"/>.</summary>
    internal virtual bool HasChannels => false;

    /// <summary>The names of the variables that a request may set, in <see cref="ChatOptions.AdditionalProperties"/>.</summary>
    public virtual IReadOnlyCollection<string> Variables => [];

    /// <summary>Whether <see cref="Render(IReadOnlyList{ChatMessage}, IReadOnlyList{AIFunctionDeclaration}, bool)"/> writes the token that begins texts, where there is one: then the tokenizer adds none.</summary>
    public virtual bool WritesSpecialTokens => false;

    /// <summary>Writes a conversation as a prompt.</summary>
    /// <param name="messages">
    /// The messages. Those of the system and of the user have <see cref="TextContent"/>; those of the assistant may have <see cref="TextReasoningContent"/> and
    /// <see cref="FunctionCallContent"/> too, and those of tools <see cref="FunctionResultContent"/>. Instructions and system messages at the beginning are one message.
    /// </param>
    /// <param name="tools">The tools that the model may call.</param>
    /// <param name="addGenerationPrompt">Whether the text ends with the beginning of the assistant's turn.</param>
    /// <returns>The prompt; without the token that begins texts, unless <see cref="WritesSpecialTokens"/>: the tokenizer adds that.</returns>
    public abstract string Render(IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt);

    /// <summary>The same with <see cref="Variables"/>. A format that has some must override it.</summary>
    /// <param name="messages">The messages.</param>
    /// <param name="tools">The tools that the model may call.</param>
    /// <param name="addGenerationPrompt">Whether the text ends with the beginning of the assistant's turn.</param>
    /// <param name="variables">The values of those that the request sets.</param>
    /// <returns>The prompt.</returns>
    public virtual string Render(
        IReadOnlyList<ChatMessage> messages, IReadOnlyList<AIFunctionDeclaration> tools, bool addGenerationPrompt, IReadOnlyDictionary<string, object?> variables) =>
        Render(messages, tools, addGenerationPrompt);

    /// <summary>The format that a model brings, its chat template, and else <see cref="DefaultFor"/> its tokenizer.</summary>
    internal static ChatFormat Of(LanguageModel model) =>
        model.Info?.ChatTemplate is { } template ? ForTemplate(template, model.Tokenizer, model.Info.ToolChatTemplate) : DefaultFor(model.Tokenizer);

    /// <summary>The format of a chat template: what ends a turn, how tools are called and where reasoning is, is read off what the template writes.</summary>
    /// <param name="template">The template, such as <see cref="QuantizedModelInfo.ChatTemplate"/> of a generated class.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="toolTemplate">The template for requests with tools, where that is another.</param>
    public static ChatFormat ForTemplate(ChatTemplate template, TextTokenizer tokenizer, ChatTemplate? toolTemplate = null)
    {
        ArgumentNullException.ThrowIfNull(template);
        ArgumentNullException.ThrowIfNull(tokenizer);
        return new TemplateFormat(template, toolTemplate, tokenizer);
    }

    /// <summary>
    /// The format for a model that brings none: turns in ChatML where the tokenizer has its tokens <c>&lt;|im_start|&gt;</c> and <c>&lt;|im_end|&gt;</c>, else a plain transcript,
    /// <c>User: …</c> and <c>Assistant: …</c>. Either describes tools, and reads their calls, as Hermes and Qwen models have it.
    /// </summary>
    /// <param name="tokenizer">The model's tokenizer.</param>
    public static ChatFormat DefaultFor(TextTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return ChatMLFormat.Tokens.All(token => tokenizer.Encode(token, addSpecialTokens: false).Count == 1) ? new ChatMLFormat() : new TranscriptFormat();
    }
}
