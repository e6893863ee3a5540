namespace QuantBuild;

/// <summary>
/// The one instance of a model that a whole program shares. It is loaded on first use, once; a load that failed is tried again at the next use,
/// and so is a model that somebody disposed: it was not theirs alone.
/// </summary>
/// <param name="info">The model.</param>
public sealed class SharedLanguageModel(QuantizedModelInfo info)
{
    private readonly Lock loading = new();
    private volatile LanguageModel? model;

    /// <summary>The model; loads it if this is the first use.</summary>
    /// <exception cref="QuantBuildException">As for <see cref="LanguageModel.Load(QuantizedModelInfo, LoadOptions?)"/>.</exception>
    public LanguageModel Value
    {
        get
        {
            if (model is { IsDisposed: false } loaded) return loaded;
            lock (loading)
            {
                return model is { IsDisposed: false } other ? other : model = LanguageModel.Load(info);
            }
        }
    }

    /// <summary>The model; loads it in the background if this is the first use.</summary>
    /// <param name="cancellationToken">Ends the wait; a load that has begun goes on for the others who wait for it.</param>
    /// <exception cref="QuantBuildException">As for <see cref="LanguageModel.Load(QuantizedModelInfo, LoadOptions?)"/>.</exception>
    public Task<LanguageModel> GetAsync(CancellationToken cancellationToken = default) =>
        model is { IsDisposed: false } loaded ? Task.FromResult(loaded) : Task.Run(() => Value, CancellationToken.None).WaitAsync(cancellationToken);
}
