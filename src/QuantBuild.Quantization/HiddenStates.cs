using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The residual stream of a set of windows between two layers, float32 [windows, tokens, hidden], kept on the host in batches: a text's
/// activations can be larger than a device.
/// </summary>
internal sealed class HiddenStates : IDisposable
{
    // Enough rows for a matrix product to run at full speed, few enough that several batches at once, with an MLP's activations each, stay small.
    internal const int BatchTokens = 512;

    private readonly StoredActivation[] batches;
    private readonly ActivationStore store;
    private readonly torch.Device device;

    private HiddenStates(StoredActivation[] batches, ActivationStore store, torch.Device device)
    {
        (this.batches, this.store, this.device) = (batches, store, device);
    }

    /// <summary>How many batches there are.</summary>
    public int Count => batches.Length;

    /// <summary>Looks tokens up in the embedding.</summary>
    /// <param name="windows">The tokens.</param>
    /// <param name="embedding">What they become.</param>
    /// <param name="device">Where to compute with the batches.</param>
    /// <param name="store">Where the batches are kept.</param>
    public static HiddenStates Embed(TokenWindows windows, EmbeddingTables embedding, torch.Device device, ActivationStore store)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        StoredActivation[] batches =
        [
            .. windows.Batches(BatchTokens).Select(
                batch => store.Keep(embedding.Of(batch).cpu())),
        ];
        return new HiddenStates(batches, store, device);
    }

    /// <summary>Computes something of each batch, several at once, and takes the results in the order of the batches.</summary>
    /// <param name="step">Gets a batch's number and the batch on the device; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the results, on this thread.</param>
    /// <param name="cancellationToken">Looked at between batches.</param>
    public void Visit<T>(Func<int, torch.Tensor, T> step, Action<T> take, CancellationToken cancellationToken)
    {
        OrderedSteps.Run(device, batches.Length, index => step(index, Batch(index)), (_, result) => take(result), cancellationToken);
        FreedMemory.Return();
    }

    /// <summary>Computes something of a few tokens at a time, for what sees each token alone; several such parts at once, and takes the results in their order.</summary>
    /// <param name="step">Gets a part, and its tokens on the device, [1, tokens, D]; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the results, on this thread.</param>
    /// <param name="cancellationToken">Looked at between parts.</param>
    public void VisitTokens<T>(Func<TokenPart, torch.Tensor, T> step, Action<T> take, CancellationToken cancellationToken)
    {
        TokenPart[] parts = [.. Enumerable.Range(0, batches.Length).SelectMany(batch => TokenPart.Of(batch, batches[batch].Rows))];
        OrderedSteps.Run(device, parts.Length, index => step(parts[index], Tokens(parts[index])), (_, result) => take(result), cancellationToken);
        FreedMemory.Return();
    }

    /// <summary>The same for one batch, and something that was made of it.</summary>
    /// <param name="batch">The batch's number.</param>
    /// <param name="beside">[B, T, K].</param>
    /// <param name="step">Gets a part's tokens of both, [1, tokens, D] and [1, tokens, K]; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the results, on this thread.</param>
    /// <param name="cancellationToken">Looked at between parts.</param>
    public void VisitTokens<T>(int batch, torch.Tensor beside, Func<torch.Tensor, torch.Tensor, T> step, Action<T> take, CancellationToken cancellationToken)
    {
        using torch.Tensor others = beside.view(1, -1, beside.shape[^1]);
        TokenPart[] parts = [.. TokenPart.Of(batch, batches[batch].Rows)];
        OrderedSteps.Run(
            device, parts.Length, i => step(Tokens(parts[i]), others.narrow(1, parts[i].First, parts[i].Count)), (_, result) => take(result), cancellationToken);
    }

    /// <summary>A part of a batch on the device, [1, tokens, D], for the current dispose scope: not to be changed.</summary>
    public torch.Tensor Tokens(TokenPart part) => batches[part.Batch].Load(part.First, part.Count).unsqueeze(0).to(device);

    /// <summary>A batch on the device, for the current dispose scope: not to be changed.</summary>
    public torch.Tensor Batch(int index) => batches[index].Load().to(device);

    /// <summary>A new set, made batch by batch.</summary>
    public HiddenStates Map(Func<torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        Map((_, batch) => step(batch), cancellationToken);

    /// <summary>A new set, made batch by batch of a batch's number and the batch.</summary>
    public HiddenStates Map(Func<int, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken)
    {
        StoredActivation[] results = new StoredActivation[batches.Length];
        try
        {
            Visit(
                (index, batch) =>
                {
                    results[index] = store.Keep(step(index, batch).cpu().contiguous());
                    return true;
                },
                _ => { },
                cancellationToken);
            return new HiddenStates(results, store, device);
        }
        catch
        {
            foreach (StoredActivation? result in results) result?.Dispose();
            throw;
        }
    }

    /// <summary>Replaces each batch.</summary>
    public void Update(Func<torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        Update((_, batch) => step(batch), cancellationToken);

    /// <summary>Replaces each batch by something computed of it and of the same batch of another set.</summary>
    public void Update(HiddenStates other, Func<torch.Tensor, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        Update((index, batch) => step(batch, other.Batch(index)), cancellationToken);

    /// <summary>Replaces each batch by something computed of its number and of it.</summary>
    public void Update(Func<int, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) => Visit(
        (index, batch) =>
        {
            torch.Tensor next = step(index, batch).cpu().contiguous();
            // First the room of the old, then the new: they are of one size.
            batches[index].Dispose();
            batches[index] = store.Keep(next);
            return true;
        },
        _ => { },
        cancellationToken);

    /// <summary>A copy that shares nothing that changes.</summary>
    public HiddenStates Copy()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        return new([.. batches.Select(batch => store.Keep(batch.Load()))], store, device);
    }

    /// <summary>Throws where a value is not finite.</summary>
    /// <exception cref="QuantBuildException">QB3006.</exception>
    public void CheckFinite(string layer)
    {
        Visit(
            (_, batch) => batch.AllFinite(),
            finite =>
            {
                if (finite) return;
                throw new QuantBuildException(
                    DiagnosticIds.NonFinite,
                    $"{layer}: its outputs are not finite numbers. The model's weights overflow float32 there, or are damaged: copy the model again.");
            },
            default);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (StoredActivation batch in batches) batch.Dispose();
    }
}

/// <summary>Some of a batch's tokens, whatever window they are in.</summary>
/// <param name="Batch">The batch.</param>
/// <param name="First">The first token.</param>
/// <param name="Count">How many.</param>
internal readonly record struct TokenPart(int Batch, long First, long Count)
{
    /// <summary>Tokens of a part. How a sum is divided among parts is in its bits, so it does not depend on the number of processors.</summary>
    public const int Most = 256;

    /// <summary>The parts of a batch.</summary>
    public static IEnumerable<TokenPart> Of(int batch, long tokens)
    {
        for (long first = 0; first < tokens; first += Most) yield return new TokenPart(batch, first, Math.Min(Most, tokens - first));
    }
}
