using Microsoft.Extensions.AI;

namespace QuantBuild.Runtime.Tests.Chat;

public sealed class EmbeddingGeneratorTests(Generation.LanguageModelTests.Quantized sample) : IClassFixture<Generation.LanguageModelTests.Quantized>
{
    private readonly IEmbeddingGenerator<string, Embedding<float>> generator = sample.Model.AsEmbeddingGenerator();

    [Fact]
    public async Task Embeddings_are_those_of_the_model_in_the_order_of_the_texts()
    {
        string[] texts = ["A dark night", "The old captain"];
        GeneratedEmbeddings<Embedding<float>> embeddings = await generator.GenerateAsync(texts, new() { Dimensions = 256, ModelId = "test" });
        Assert.Equal(texts.Select(text => sample.Model.Embed(text)), embeddings.Select(embedding => embedding.Vector.ToArray()));
        Assert.Equal(texts.Sum(text => sample.Model.Tokenizer.Encode(text).Count), embeddings.Usage!.InputTokenCount);
        Assert.All(embeddings, embedding => Assert.Equal("test", embedding.ModelId));
        Assert.Empty(await generator.GenerateAsync([]));
    }

    [Fact]
    public void Services_are_the_metadata_the_model_and_the_generator_itself()
    {
        EmbeddingGeneratorMetadata metadata = generator.GetRequiredService<EmbeddingGeneratorMetadata>();
        Assert.Equal(("quantbuild", "test", 256), (metadata.ProviderName, metadata.DefaultModelId, metadata.DefaultModelDimensions));
        Assert.Same(sample.Model, generator.GetService<LanguageModel>());
        Assert.Same(generator, generator.GetService<IEmbeddingGenerator<string, Embedding<float>>>());
        Assert.Null(generator.GetService(typeof(LanguageModel), 1));
    }

    [Fact]
    public async Task Options_that_cannot_be_honoured_are_QB4012()
    {
        foreach (EmbeddingGenerationOptions options in (EmbeddingGenerationOptions[])
            [new() { Dimensions = 128 }, new() { ModelId = "other" }, new() { AdditionalProperties = new() { ["x"] = 1 } }, new() { RawRepresentationFactory = _ => null }])
        {
            Assert.Equal("QB4012", (await Assert.ThrowsAsync<QuantBuildException>(() => generator.GenerateAsync(["x"], options))).Id);
        }

        await Assert.ThrowsAsync<ArgumentNullException>(() => generator.GenerateAsync(null!));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => generator.GenerateAsync(["x"], null, new CancellationToken(canceled: true)));
    }
}
