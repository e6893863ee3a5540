using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace QuantBuild.Runtime.Tests.Chat;

public sealed class DependencyInjectionTests(Generation.LanguageModelTests.Quantized sample) : IClassFixture<Generation.LanguageModelTests.Quantized>
{
    private LoadOptions Beside => new() { ArtifactPath = sample.Path };

    [Fact]
    public async Task A_model_is_registered_as_model_chat_client_and_embedding_generator()
    {
        ServiceProvider provider = new ServiceCollection().AddQuantizedModel<First>(Beside).BuildServiceProvider();
        LanguageModel model = provider.GetRequiredService<LanguageModel>();
        IChatClient client = provider.GetRequiredService<IChatClient>();
        Assert.Same(model, provider.GetRequiredService<LanguageModel>());
        Assert.Same(client, provider.GetRequiredService<IChatClient>());
        Assert.Same(model, client.GetService<LanguageModel>());
        Assert.Same(model, provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GetService<LanguageModel>());
        Assert.Same(model, provider.GetRequiredKeyedService<LanguageModel>(typeof(First)));
        Assert.NotNull(await client.GetResponseAsync("Who?", new() { MaxOutputTokens = 2 }));
        await provider.DisposeAsync();
        Assert.Throws<ObjectDisposedException>(() => model.Generate("Once"));
    }

    [Fact]
    public void Nothing_is_loaded_before_it_is_asked_for()
    {
        using ServiceProvider provider = new ServiceCollection().AddQuantizedModel<First>(new() { ArtifactPath = "nowhere" }).BuildServiceProvider();
        Assert.Equal("QB4001", Assert.Throws<QuantBuildException>(() => provider.GetRequiredService<IChatClient>()).Id);
    }

    [Fact]
    public void Several_models_have_the_keys_of_their_classes()
    {
        using ServiceProvider provider = new ServiceCollection().AddQuantizedModel<First>(Beside).AddQuantizedModel<Second>(Beside).BuildServiceProvider();
        LanguageModel first = provider.GetRequiredKeyedService<LanguageModel>(typeof(First)), second = provider.GetRequiredKeyedService<LanguageModel>(typeof(Second));
        Assert.NotSame(first, second);
        Assert.Same(second, provider.GetRequiredService<LanguageModel>());
        Assert.Same(first, provider.GetRequiredKeyedService<IChatClient>(typeof(First)).GetService<LanguageModel>());
        Assert.Equal([first, second], provider.GetServices<IChatClient>().Select(client => client.GetService<LanguageModel>()));
    }

    [Fact]
    public void A_key_of_ones_own_leaves_the_services_without_a_key_alone()
    {
        using ServiceProvider provider = new ServiceCollection().AddKeyedQuantizedModel<First>("small", Beside).BuildServiceProvider();
        Assert.Null(provider.GetService<IChatClient>());
        LanguageModel model = provider.GetRequiredKeyedService<LanguageModel>("small");
        Assert.Same(model, provider.GetRequiredKeyedService<IChatClient>("small").GetService<LanguageModel>());
        Assert.Same(model, provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>("small").GetService<LanguageModel>());
    }

    [Fact]
    public async Task A_pipeline_of_ones_own_takes_the_model()
    {
        ServiceCollection services = new();
        services.AddQuantizedModel<First>(Beside).AddChatClient(provider => provider.GetRequiredService<LanguageModel>().AsChatClient()).UseFunctionInvocation();
        await using ServiceProvider provider = services.BuildServiceProvider();
        Assert.NotNull(provider.GetRequiredService<IChatClient>().GetService<FunctionInvokingChatClient>());
    }

    private static QuantizedModelInfo InfoOf(string name) => new()
    {
        ClassName = name, ModelName = "test", Architecture = "LlamaForCausalLM", Method = QuantizationMethod.Rtn, Bits = 4, GroupSize = 128, Parameters = 6_819_072, ContextLength = 512,
        VocabularySize = 4096, ArtifactFileName = name + ".safetensors", Fingerprint = "sample",
    };

    private sealed class First : IQuantizedModel
    {
        public static QuantizedModelInfo Info => InfoOf(nameof(First));
    }

    private sealed class Second : IQuantizedModel
    {
        public static QuantizedModelInfo Info => InfoOf(nameof(Second));
    }
}
