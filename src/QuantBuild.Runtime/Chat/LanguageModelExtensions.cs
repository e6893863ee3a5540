using Microsoft.Extensions.AI;
using QuantBuild.Chat;

namespace QuantBuild;

/// <summary>Models as the services of Microsoft.Extensions.AI.</summary>
public static class LanguageModelExtensions
{
    /// <summary>
    /// A client that answers conversations with the model: <c>docs/chat.md</c> says how each option is honoured. Safe to use from several threads at once. Disposing it leaves the model as it is.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="format">How conversations are written for it; <see langword="null"/> is its own chat template, or <see cref="ChatFormat.DefaultFor"/> its tokenizer.</param>
    public static IChatClient AsChatClient(this LanguageModel model, ChatFormat? format = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new ModelChatClient(model, format ?? ChatFormat.Of(model));
    }

    /// <summary>A generator of embeddings by <see cref="LanguageModel.Embed"/>. Safe to use from several threads at once. Disposing it leaves the model as it is.</summary>
    /// <param name="model">The model.</param>
    public static IEmbeddingGenerator<string, Embedding<float>> AsEmbeddingGenerator(this LanguageModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new ModelEmbeddingGenerator(model);
    }
}
