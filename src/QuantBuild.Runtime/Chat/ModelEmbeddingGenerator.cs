using Microsoft.Extensions.AI;

namespace QuantBuild.Chat;

/// <summary>Embeddings of texts: <see cref="LanguageModel.Embed"/> for each.</summary>
internal sealed class ModelEmbeddingGenerator(LanguageModel model) : IEmbeddingGenerator<string, Embedding<float>>
{
    private readonly EmbeddingGeneratorMetadata metadata = new("quantbuild", defaultModelId: model.Manifest.ModelName, defaultModelDimensions: model.Config.HiddenSize);

    public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
        IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(values);
        Check(options);
        string[] texts = [.. values];
        return Task.Run(() => Generate(texts, cancellationToken), cancellationToken);
    }

    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        object[] services = [this, metadata, model];
        return serviceKey is null ? services.FirstOrDefault(serviceType.IsInstanceOfType) : null;
    }

    /// <summary>Nothing to release: the model belongs to whoever loaded it.</summary>
    public void Dispose()
    {
    }

    private GeneratedEmbeddings<Embedding<float>> Generate(string[] texts, CancellationToken cancellationToken)
    {
        GeneratedEmbeddings<Embedding<float>> embeddings = new(texts.Length);
        long tokens = 0;
        DateTimeOffset created = DateTimeOffset.UtcNow;
        foreach (string text in texts)
        {
            embeddings.Add(new Embedding<float>(model.Embed(text, cancellationToken)) { ModelId = model.Manifest.ModelName, CreatedAt = created });
            tokens += model.Tokenizer.Encode(text).Count;
        }

        embeddings.Usage = new UsageDetails { InputTokenCount = tokens, TotalTokenCount = tokens };
        return embeddings;
    }

    private void Check(EmbeddingGenerationOptions? options)
    {
        if (options is null) return;
        ChatSettings.CheckModel(nameof(EmbeddingGenerationOptions), options.ModelId, model.Manifest.ModelName);
        if (options.Dimensions is { } dimensions && dimensions != model.Config.HiddenSize)
        {
            throw ChatSettings.Unsupported($"EmbeddingGenerationOptions.Dimensions is {dimensions}, and the model's vectors have {model.Config.HiddenSize}. Leave it out.");
        }

        if (options.RawRepresentationFactory is not null || options.AdditionalProperties is { Count: > 0 })
        {
            throw ChatSettings.Unsupported("EmbeddingGenerationOptions has a RawRepresentationFactory or AdditionalProperties, and there are no further settings. Leave them out.");
        }
    }
}
