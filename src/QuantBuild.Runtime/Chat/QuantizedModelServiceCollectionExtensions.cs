using Microsoft.Extensions.AI;
using QuantBuild;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Models for dependency injection.</summary>
public static class QuantizedModelServiceCollectionExtensions
{
    /// <summary>
    /// Registers a model as <see cref="LanguageModel"/>, <see cref="IChatClient"/> and <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/>, one of each for the whole program. It is loaded when
    /// the first of them is asked for, and released with the container. With several models the last one has these services, and each has them under the key of its class too:
    /// <c>[FromKeyedServices(typeof(Llama7bGptq4))]</c>.
    /// </summary>
    /// <typeparam name="T">The class that the build generated for the model.</typeparam>
    /// <param name="services">The services.</param>
    /// <param name="options">How the model is loaded.</param>
    public static IServiceCollection AddQuantizedModel<T>(this IServiceCollection services, LoadOptions? options = null)
        where T : IQuantizedModel
    {
        services.AddKeyedQuantizedModel<T>(typeof(T), options);
        services.AddSingleton(provider => provider.GetRequiredKeyedService<LanguageModel>(typeof(T)));
        services.AddSingleton(provider => provider.GetRequiredKeyedService<IChatClient>(typeof(T)));
        services.AddSingleton(provider => provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(typeof(T)));
        return services;
    }

    /// <summary>Registers a model as <see cref="AddQuantizedModel"/> does, under a key alone.</summary>
    /// <typeparam name="T">The class that the build generated for the model.</typeparam>
    /// <param name="services">The services.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="options">How the model is loaded.</param>
    public static IServiceCollection AddKeyedQuantizedModel<T>(this IServiceCollection services, object? serviceKey, LoadOptions? options = null)
        where T : IQuantizedModel
    {
        ArgumentNullException.ThrowIfNull(services);
        services.AddKeyedSingleton(serviceKey, (_, _) => LanguageModel.Load(T.Info, options));
        services.AddKeyedSingleton(serviceKey, (provider, key) => provider.GetRequiredKeyedService<LanguageModel>(key).AsChatClient());
        services.AddKeyedSingleton(serviceKey, (provider, key) => provider.GetRequiredKeyedService<LanguageModel>(key).AsEmbeddingGenerator());
        return services;
    }
}
