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
    private readonly Devices devices;

    private HiddenStates(StoredActivation[] batches, ActivationStore store, Devices devices)
    {
        (this.batches, this.store, this.devices) = (batches, store, devices);
    }

    /// <summary>Where its batches are computed with.</summary>
    public Devices Devices => devices;

    /// <summary>How many batches there are.</summary>
    public int Count => batches.Length;

    /// <summary>How many windows a batch has.</summary>
    public int WindowsOf(int batch) => (int)batches[batch].Shape[0];

    /// <summary>How many tokens a batch has.</summary>
    public int TokensOf(int batch) => (int)batches[batch].Rows;

    /// <summary>How many tokens a batch has, or the one window that is longer.</summary>
    public int BatchTokens => DeviceMemory.TokensOfBatch(devices.First.Device);

    /// <summary>Looks tokens up in the embedding.</summary>
    /// <param name="windows">The tokens.</param>
    /// <param name="embedding">What they become.</param>
    /// <param name="devices">Where to compute with the batches.</param>
    /// <param name="store">Where the batches are kept.</param>
    public static HiddenStates Embed(TokenWindows windows, EmbeddingTables embedding, Devices devices, ActivationStore store)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        StoredActivation[] batches =
        [
            .. windows.Batches(DeviceMemory.TokensOfBatch(devices.First.Device)).Select(
                batch => store.Keep(embedding.Of(batch).cpu())),
        ];
        return new HiddenStates(batches, store, devices);
    }

    /// <summary>Computes something of each batch, several at once, and takes the results of each device in the order of its batches.</summary>
    /// <param name="step">Gets the device, a batch's number and the batch there; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the device and the results: those of different devices at the same time.</param>
    /// <param name="cancellationToken">Looked at between batches.</param>
    public void Visit<T>(Func<Place, int, torch.Tensor, T> step, Action<Place, T> take, CancellationToken cancellationToken)
    {
        devices.Run(batches.Length, (at, index) => step(at, index, Batch(at, index)), take, cancellationToken);
        FreedMemory.Return();
    }

    /// <summary>Computes something of each window, of as many of a batch at once as there is memory for.</summary>
    /// <param name="step">Gets the device, which tokens they are, and the windows there, [count, T, D]; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the device and the results: those of different devices at the same time.</param>
    /// <param name="cancellationToken">Looked at between batches.</param>
    public void VisitWindows<T>(Func<Place, TokenPart, torch.Tensor, T> step, Action<Place, T> take, CancellationToken cancellationToken)
    {
        devices.Run(
            batches.Length,
            (at, index) =>
            {
                long length = batches[index].Shape[1];
                return at.Memory.InPieces(batches[index].Shape[0], length, (first, count) => step(at, new TokenPart(index, first * length, count * length), Windows(at, index, first, count)));
            },
            (at, results) => results.ForEach(result => take(at, result)),
            cancellationToken);
        FreedMemory.Return();
    }

    /// <summary>Computes something of a few tokens at a time, for what sees each token alone; several such parts at once, and takes the results of each device in their order.</summary>
    /// <param name="step">Gets the device, a part, and its tokens there, [1, tokens, D]; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the device and the results: those of different devices at the same time.</param>
    /// <param name="cancellationToken">Looked at between parts.</param>
    public void VisitTokens<T>(Func<Place, TokenPart, torch.Tensor, T> step, Action<Place, T> take, CancellationToken cancellationToken)
    {
        TokenPart[] parts = [.. Enumerable.Range(0, batches.Length).SelectMany(batch => PartsOf(new TokenPart(batch, 0, batches[batch].Rows)))];
        devices.Run(parts.Length, (at, index) => InPieces(at, parts[index], part => step(at, part, Tokens(at, part))), (at, results) => results.ForEach(result => take(at, result)), cancellationToken);
        FreedMemory.Return();
    }

    /// <summary>The same for some tokens of the text, whichever they are: what goes to a device is brought together on the host.</summary>
    /// <param name="tokens">Where they are. How they are divided among parts depends on their number alone.</param>
    /// <param name="step">Gets the device, and the tokens of a part there, [1, tokens, D]; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the device and the results: those of different devices at the same time.</param>
    /// <param name="cancellationToken">Looked at between parts.</param>
    public void VisitTokens<T>(TokenPlace[] tokens, Func<Place, torch.Tensor, T> step, Action<Place, T> take, CancellationToken cancellationToken)
    {
        int most = DeviceMemory.TokensOfPart(devices.First.Device);
        devices.Run(
            (tokens.Length + most - 1) / most,
            (at, index) => at.Memory.InPieces(
                Math.Min(most, tokens.Length - (index * most)), 1, (first, count) => step(at, Gather(at, tokens.AsSpan((index * most) + (int)first, (int)count)))),
            (at, results) => results.ForEach(result => take(at, result)),
            cancellationToken);
        FreedMemory.Return();
    }

    /// <summary>The same for some tokens of a batch on one device, and something that was made of them there.</summary>
    /// <param name="at">The device.</param>
    /// <param name="tokens">Which tokens.</param>
    /// <param name="beside">[B, T, K].</param>
    /// <param name="step">Gets a part's tokens of both, [1, tokens, D] and [1, tokens, K]; a tensor that it returns is to be detached from its dispose scope.</param>
    /// <param name="take">Receives the results, on this thread.</param>
    /// <param name="cancellationToken">Looked at between parts.</param>
    public void VisitTokens<T>(Place at, TokenPart tokens, torch.Tensor beside, Func<torch.Tensor, torch.Tensor, T> step, Action<T> take, CancellationToken cancellationToken)
    {
        using torch.Tensor others = beside.view(1, -1, beside.shape[^1]);
        TokenPart[] parts = [.. PartsOf(tokens)];
        OrderedSteps.Run(
            at.Device,
            parts.Length,
            index => InPieces(at, parts[index], part => step(Tokens(at, part), others.narrow(1, part.First - tokens.First, part.Count))),
            (_, results) => results.ForEach(take),
            cancellationToken);
    }

    /// <summary>A part of a batch on a device, [1, tokens, D], for the current dispose scope: not to be changed.</summary>
    public torch.Tensor Tokens(Place at, TokenPart part) => batches[part.Batch].Load(part.First, part.Count).unsqueeze(0).to(at.Device);

    /// <summary>A batch on a device, for the current dispose scope: not to be changed.</summary>
    public torch.Tensor Batch(Place at, int index) => batches[index].Load().to(at.Device);

    /// <summary>A new set, made batch by batch.</summary>
    public HiddenStates Map(Func<Place, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        MapBatches((at, index) => ByWindows(at, index, (first, count) => step(at, Windows(at, index, first, count))), cancellationToken);

    /// <summary>A new set, made batch by batch of a batch's number and the batch.</summary>
    public HiddenStates Map(Func<Place, int, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        MapBatches((at, index) => step(at, index, Batch(at, index)), cancellationToken);

    private HiddenStates MapBatches(Func<Place, int, torch.Tensor> step, CancellationToken cancellationToken)
    {
        StoredActivation[] results = new StoredActivation[batches.Length];
        try
        {
            devices.Run(batches.Length, (at, index) => { results[index] = store.Keep(step(at, index).cpu().contiguous()); }, cancellationToken);
            FreedMemory.Return();
            return new HiddenStates(results, store, devices);
        }
        catch
        {
            foreach (StoredActivation? result in results) result?.Dispose();
            throw;
        }
    }

    /// <summary>Replaces each batch.</summary>
    public void Update(Func<Place, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        UpdateBatches((at, index) => ByWindows(at, index, (first, count) => step(at, Windows(at, index, first, count))), cancellationToken);

    /// <summary>Replaces each batch by something computed of it and of the same batch of another set.</summary>
    public void Update(HiddenStates other, Func<Place, torch.Tensor, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        UpdateBatches((at, index) => ByWindows(at, index, (first, count) => step(at, Windows(at, index, first, count), other.Windows(at, index, first, count))), cancellationToken);

    /// <summary>Replaces each batch by something computed of its number and of it.</summary>
    public void Update(Func<Place, int, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        UpdateBatches((at, index) => step(at, index, Batch(at, index)), cancellationToken);

    private void UpdateBatches(Func<Place, int, torch.Tensor> step, CancellationToken cancellationToken)
    {
        devices.Run(
            batches.Length,
            (at, index) =>
            {
                torch.Tensor next = step(at, index).cpu().contiguous();
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
        return new([.. batches.Select(batch => store.Keep(batch.Load()))], store, devices);
    }

    /// <summary>Throws where a value is not finite.</summary>
    /// <exception cref="QuantBuildException">QB3006.</exception>
    public void CheckFinite(string layer)
    {
        Visit(
            (_, _, batch) => batch.AllFinite(),
            (_, finite) =>
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

    /// <summary>Tokens of any batches on a device, [1, tokens, D], for the current dispose scope.</summary>
    private torch.Tensor Gather(Place at, ReadOnlySpan<TokenPlace> tokens)
    {
        long width = batches[0].Shape[^1];
        torch.Tensor gathered = torch.empty([1, tokens.Length, width], torch.float32);
        Span<byte> bytes = gathered.bytes;
        for (int first = 0, end; first < tokens.Length; first = end)
        {
            int batch = tokens[first].Batch;
            for (end = first + 1; end < tokens.Length && tokens[end].Batch == batch;) end++;
            int[] rows = new int[end - first];
            for (int i = 0; i < rows.Length; i++) rows[i] = tokens[first + i].Token;
            batches[batch].Copy(rows, bytes.Slice((int)(first * width * sizeof(float))));
        }

        return gathered.to(at.Device);
    }

    /// <summary>Some windows of a batch on a device, [count, T, D], for the current dispose scope: not to be changed.</summary>
    private torch.Tensor Windows(Place at, int index, long first, long count)
    {
        (long length, long width) = (batches[index].Shape[1], batches[index].Shape[2]);
        return batches[index].Load(first * length, count * length).view(count, length, width).to(at.Device);
    }

    /// <summary>Something of each window of a batch, computed of all of them at once where the device has the memory; on the host, for the current dispose scope.</summary>
    private torch.Tensor ByWindows(Place at, int index, Func<long, long, torch.Tensor> step)
    {
        long[] shape = batches[index].Shape;
        List<torch.Tensor> pieces = at.Memory.InPieces(shape[0], shape[1], (first, count) => step(first, count).cpu().MoveToOuterDisposeScope());
        return pieces.Count == 1 ? pieces[0] : torch.cat(pieces, 0);
    }

    private IEnumerable<TokenPart> PartsOf(TokenPart tokens) => TokenPart.Of(tokens, DeviceMemory.TokensOfPart(devices.First.Device));

    private static List<T> InPieces<T>(Place at, TokenPart part, Func<TokenPart, T> step) =>
        at.Memory.InPieces(part.Count, 1, (first, count) => step(new TokenPart(part.Batch, part.First + first, count)));
}

/// <summary>Where a token of a text is.</summary>
/// <param name="Batch">The batch.</param>
/// <param name="Token">Its number there, whatever window it is in.</param>
internal readonly record struct TokenPlace(int Batch, int Token);

/// <summary>Some of a batch's tokens, whatever window they are in.</summary>
/// <param name="Batch">The batch.</param>
/// <param name="First">The first token.</param>
/// <param name="Count">How many.</param>
internal readonly record struct TokenPart(int Batch, long First, long Count)
{
    /// <summary>Some tokens in parts of so many at most.</summary>
    public static IEnumerable<TokenPart> Of(TokenPart tokens, long most)
    {
        for (long first = 0; first < tokens.Count; first += most) yield return new TokenPart(tokens.Batch, tokens.First + first, Math.Min(most, tokens.Count - first));
    }
}
