using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The residual stream of a set of windows between two layers, float32 [windows, tokens, hidden], kept on the host in batches: a text's
/// activations can be larger than a device.
/// </summary>
internal sealed class HiddenStates : IDisposable
{
    // Enough rows for a matrix product to run at full speed, few enough that an MLP's activations stay small.
    internal const int BatchTokens = 4096;

    private readonly torch.Tensor[] batches;
    private readonly torch.Device device;

    private HiddenStates(torch.Tensor[] batches, torch.Device device)
    {
        (this.batches, this.device) = (batches, device);
    }

    /// <summary>Looks tokens up in the embedding.</summary>
    /// <param name="windows">The tokens.</param>
    /// <param name="embedding">[vocabulary, hidden].</param>
    /// <param name="device">Where to compute with the batches.</param>
    public static HiddenStates Embed(TokenWindows windows, torch.Tensor embedding, torch.Device device)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor[] batches =
        [
            .. windows.Batches(BatchTokens).Select(
                batch => embedding.index_select(0, batch.reshape(-1).to(embedding.device)).view(batch.shape[0], batch.shape[1], -1).cpu().DetachFromDisposeScope()),
        ];
        return new HiddenStates(batches, device);
    }

    /// <summary>Computes something of each batch.</summary>
    /// <param name="step">Gets the batch on the device; what it makes is freed after it.</param>
    /// <param name="cancellationToken">Looked at between batches.</param>
    public void ForEach(Action<torch.Tensor> step, CancellationToken cancellationToken)
    {
        foreach (torch.Tensor batch in batches)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using DisposeScope scope = torch.NewDisposeScope();
            step(batch.to(device));
        }
    }

    /// <summary>Computes something of each batch with the same batch of another set.</summary>
    public void ForEach(HiddenStates other, Action<torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken)
    {
        int index = 0;
        ForEach(batch => step(batch, other.batches[index++].to(device)), cancellationToken);
    }

    /// <summary>A new set, made batch by batch.</summary>
    public HiddenStates Map(Func<torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken)
    {
        List<torch.Tensor> results = [];
        try
        {
            ForEach(batch => results.Add(step(batch).cpu().DetachFromDisposeScope()), cancellationToken);
            return new HiddenStates([.. results], device);
        }
        catch
        {
            foreach (torch.Tensor result in results) result.Dispose();
            throw;
        }
    }

    /// <summary>Replaces each batch.</summary>
    public void Update(Func<torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken)
    {
        for (int i = 0; i < batches.Length; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using DisposeScope scope = torch.NewDisposeScope();
            torch.Tensor next = step(batches[i].to(device)).cpu().DetachFromDisposeScope();
            batches[i].Dispose();
            batches[i] = next;
        }
    }

    /// <summary>Replaces each batch by something computed of it and of the same batch of another set.</summary>
    public void Update(HiddenStates other, Func<torch.Tensor, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken)
    {
        int index = 0;
        Update(batch => step(batch, other.batches[index++].to(device)), cancellationToken);
    }

    /// <summary>A copy that shares nothing that changes.</summary>
    public HiddenStates Copy() => new([.. batches.Select(batch => batch.alias().DetachFromDisposeScope())], device);

    /// <summary>Throws where a value is not finite.</summary>
    /// <exception cref="QuantBuildException">QB3006.</exception>
    public void CheckFinite(string layer)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        foreach (torch.Tensor batch in batches)
        {
            if (batch.AllFinite()) continue;
            throw new QuantBuildException(
                DiagnosticIds.NonFinite,
                $"{layer}: its outputs are not finite numbers. The model's weights overflow float32 there, or are damaged: copy the model again.");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (torch.Tensor batch in batches) batch.Dispose();
    }
}
