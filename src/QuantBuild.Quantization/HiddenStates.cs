using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The residual stream of a set of windows between two layers, float32 [windows, tokens, hidden], kept on the host in batches: a text's
/// activations can be larger than a device.
/// </summary>
internal sealed class HiddenStates : IDisposable
{
    private readonly StoredActivation[] batches;
    private readonly ActivationStore store;
    private readonly torch.Device device;
    private readonly DeviceMemory memory;

    private HiddenStates(StoredActivation[] batches, ActivationStore store, torch.Device device, DeviceMemory memory)
    {
        (this.batches, this.store, this.device, this.memory) = (batches, store, device, memory);
    }

    /// <summary>How many batches there are.</summary>
    public int Count => batches.Length;

    /// <summary>How many tokens a batch has, or the one window that is longer.</summary>
    public int BatchTokens => DeviceMemory.TokensOfBatch(device);

    /// <summary>Looks tokens up in the embedding.</summary>
    /// <param name="windows">The tokens.</param>
    /// <param name="embedding">What they become.</param>
    /// <param name="device">Where to compute with the batches.</param>
    /// <param name="store">Where the batches are kept.</param>
    /// <param name="memory">What the device has memory for, over all sets of a run.</param>
    public static HiddenStates Embed(TokenWindows windows, EmbeddingTables embedding, torch.Device device, ActivationStore store, DeviceMemory? memory = null)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        StoredActivation[] batches =
        [
            .. windows.Batches(DeviceMemory.TokensOfBatch(device)).Select(
                batch => store.Keep(embedding.Of(batch).cpu())),
        ];
        return new HiddenStates(batches, store, device, memory ?? new(_ => { }));
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
        TokenPart[] parts = [.. Enumerable.Range(0, batches.Length).SelectMany(PartsOf)];
        VisitParts(parts, part => step(part, Tokens(part)), take, cancellationToken);
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
        VisitParts([.. PartsOf(batch)], part => step(Tokens(part), others.narrow(1, part.First, part.Count)), take, cancellationToken);
    }

    /// <summary>A part of a batch on the device, [1, tokens, D], for the current dispose scope: not to be changed.</summary>
    public torch.Tensor Tokens(TokenPart part) => batches[part.Batch].Load(part.First, part.Count).unsqueeze(0).to(device);

    /// <summary>A batch on the device, for the current dispose scope: not to be changed.</summary>
    public torch.Tensor Batch(int index) => batches[index].Load().to(device);

    /// <summary>A new set, made batch by batch.</summary>
    public HiddenStates Map(Func<torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        Map(index => ByWindows(index, (first, count) => step(Windows(index, first, count))), cancellationToken);

    /// <summary>A new set, made batch by batch of a batch's number and the batch.</summary>
    public HiddenStates Map(Func<int, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) => Map(index => step(index, Batch(index)), cancellationToken);

    private HiddenStates Map(Func<int, torch.Tensor> step, CancellationToken cancellationToken)
    {
        StoredActivation[] results = new StoredActivation[batches.Length];
        try
        {
            OrderedSteps.Run(device, batches.Length, index => { results[index] = store.Keep(step(index).cpu().contiguous()); }, cancellationToken);
            FreedMemory.Return();
            return new HiddenStates(results, store, device, memory);
        }
        catch
        {
            foreach (StoredActivation? result in results) result?.Dispose();
            throw;
        }
    }

    /// <summary>Replaces each batch.</summary>
    public void Update(Func<torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        Update(index => ByWindows(index, (first, count) => step(Windows(index, first, count))), cancellationToken);

    /// <summary>Replaces each batch by something computed of it and of the same batch of another set.</summary>
    public void Update(HiddenStates other, Func<torch.Tensor, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        Update(index => ByWindows(index, (first, count) => step(Windows(index, first, count), other.Windows(index, first, count))), cancellationToken);

    /// <summary>Replaces each batch by something computed of its number and of it.</summary>
    public void Update(Func<int, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) => Update(index => step(index, Batch(index)), cancellationToken);

    private void Update(Func<int, torch.Tensor> step, CancellationToken cancellationToken)
    {
        OrderedSteps.Run(
            device,
            batches.Length,
            index =>
            {
                torch.Tensor next = step(index).cpu().contiguous();
                // First the room of the old, then the new: they are of one size.
                batches[index].Dispose();
                batches[index] = store.Keep(next);
            },
            cancellationToken);
        FreedMemory.Return();
    }

    /// <summary>A copy that shares nothing that changes.</summary>
    public HiddenStates Copy()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        return new([.. batches.Select(batch => store.Keep(batch.Load()))], store, device, memory);
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

    /// <summary>Some windows of a batch on the device, [count, T, D], for the current dispose scope: not to be changed.</summary>
    private torch.Tensor Windows(int index, long first, long count)
    {
        (long length, long width) = (batches[index].Shape[1], batches[index].Shape[2]);
        return batches[index].Load(first * length, count * length).view(count, length, width).to(device);
    }

    /// <summary>Something of each window of a batch, computed of all of them at once where the device has the memory; on the host, for the current dispose scope.</summary>
    private torch.Tensor ByWindows(int index, Func<long, long, torch.Tensor> step)
    {
        long[] shape = batches[index].Shape;
        List<torch.Tensor> pieces = memory.InPieces(shape[0], shape[1], (first, count) => step(first, count).cpu().MoveToOuterDisposeScope());
        return pieces.Count == 1 ? pieces[0] : torch.cat(pieces, 0);
    }

    private IEnumerable<TokenPart> PartsOf(int batch) => TokenPart.Of(batch, batches[batch].Rows, DeviceMemory.TokensOfPart(device));

    private void VisitParts<T>(TokenPart[] parts, Func<TokenPart, T> step, Action<T> take, CancellationToken cancellationToken) => OrderedSteps.Run(
        device,
        parts.Length,
        index => memory.InPieces(parts[index].Count, 1, (first, count) => step(new TokenPart(parts[index].Batch, parts[index].First + first, count))),
        (_, results) => results.ForEach(take),
        cancellationToken);
}

/// <summary>Some of a batch's tokens, whatever window they are in.</summary>
/// <param name="Batch">The batch.</param>
/// <param name="First">The first token.</param>
/// <param name="Count">How many.</param>
internal readonly record struct TokenPart(int Batch, long First, long Count)
{
    /// <summary>The parts of a batch, of so many tokens at most.</summary>
    public static IEnumerable<TokenPart> Of(int batch, long tokens, long most)
    {
        for (long first = 0; first < tokens; first += most) yield return new TokenPart(batch, first, Math.Min(most, tokens - first));
    }
}
