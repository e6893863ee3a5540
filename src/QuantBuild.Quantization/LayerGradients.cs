using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>What went into each linear of a layer, and the gradient at what came out, of all batches.</summary>
/// <param name="config">The decoder.</param>
/// <param name="index">The layer, from 0.</param>
/// <param name="batches">How many.</param>
/// <param name="store">Where they are kept.</param>
internal sealed class LayerGradients(DecoderConfig config, int index, int batches, ActivationStore store) : IDisposable
{
    private readonly LinearRole[] roles = LinearRoles.All(config, index);
    private readonly StoredActivation?[,] inputs = new StoredActivation?[batches, LinearRoles.Slots(config, index)];
    private readonly StoredActivation?[,] gradients = new StoredActivation?[batches, LinearRoles.Slots(config, index)];

    // For each linear the first that reads the same input: that one has it.
    private readonly LinearRole[] readers = new LinearRole[LinearRoles.Slots(config, index)];

    /// <summary>Bytes that are kept of a token of the layer that has most.</summary>
    public static long BytesOfToken(DecoderConfig config)
    {
        long Layer(int layer)
        {
            LinearShape[] shapes = LinearRoles.Shapes(config, layer);
            // What attention reads and what the MLP reads are there once, for all experts too; what each brings down is its own.
            LinearRole[] readers = [LinearRole.Query, LinearRole.Output, LinearRole.Up, .. Enumerable.Range(0, config.Mlps(layer).Count).Select(mlp => LinearRole.Down.Of(mlp))];
            return config.Linears(layer).Sum(linear => (long)linear.Outputs) + readers.Sum(role => (long)shapes[(int)role].Inputs);
        }

        return sizeof(float) * Enumerable.Range(0, config.Layers).Max(Layer);
    }

    /// <summary>Takes a batch through the layer and back.</summary>
    /// <param name="forward">The decoder.</param>
    /// <param name="layer">The layer's weights.</param>
    /// <param name="batch">The batch's number.</param>
    /// <param name="hidden">The residual stream before the layer, [B, T, D].</param>
    /// <param name="upstream">The gradient with respect to the one after it, [B, T, D].</param>
    /// <param name="memory">What the device has memory for.</param>
    /// <returns>The gradient with respect to <paramref name="hidden"/>, on the host.</returns>
    public torch.Tensor Back(DecoderForward forward, LayerWeights layer, int batch, torch.Tensor hidden, torch.Tensor upstream, DeviceMemory memory)
    {
        List<Pass> passes = memory.InPieces(
            hidden.shape[0], hidden.shape[1], (first, count) => Back(forward, layer, hidden.narrow(0, first, count), upstream.narrow(0, first, count)));
        torch.Tensor Whole(Func<Pass, torch.Tensor> part) => passes.Count == 1 ? part(passes[0]) : torch.cat([.. passes.Select(part)], 0);
        foreach (int role in roles.Select(role => (int)role))
        {
            if ((int)readers[role] == role) inputs[batch, role] = store.Keep(Whole(pass => pass.Inputs[role]!));
            gradients[batch, role] = store.Keep(Whole(pass => pass.Gradients[role]));
        }

        return Whole(pass => pass.Before);
    }

    /// <summary>Takes some windows through the layer and back.</summary>
    private Pass Back(DecoderForward forward, LayerWeights layer, torch.Tensor hidden, torch.Tensor upstream)
    {
        using IDisposable withGradients = torch.enable_grad();
        torch.Tensor leaf = hidden.detach().requires_grad_();
        torch.Tensor?[] read = new torch.Tensor?[readers.Length], made = new torch.Tensor?[readers.Length], kept = new torch.Tensor?[readers.Length];
        torch.Tensor[] changes = new torch.Tensor[readers.Length];
        using LayerWeights observed = layer.Share();
        // They are needed after the step of the forward pass that made them.
        observed.Observer = (role, input, output) => (read[(int)role], made[(int)role]) = (input.DetachFromDisposeScope(), output.DetachFromDisposeScope());
        try
        {
            torch.Tensor after = forward.Layer(leaf, observed);
            torch.Tensor[] found = Backward.Gradients(after, [leaf, .. roles.Select(role => made[(int)role]!)], upstream);
            for (int i = 0; i < roles.Length; i++)
            {
                // q, k and v read one tensor, and so do gate and up.
                int role = (int)roles[i];
                readers[role] = roles.First(other => ReferenceEquals(read[(int)other], read[role]));
                if (readers[role] == roles[i]) kept[role] = OnHost(Rows(read[role]!.detach()));
                changes[role] = OnHost(Rows(found[i + 1]));
            }

            return new Pass(OnHost(found[0]), kept, changes);
        }
        finally
        {
            foreach (torch.Tensor? observation in read.Concat(made)) observation?.Dispose();
        }
    }

    /// <summary>What went into a linear, [tokens, K], on the host.</summary>
    public torch.Tensor Input(int batch, LinearRole role) => inputs[batch, (int)readers[(int)role]]!.Load();

    /// <summary>The gradient at what came out of a linear, [tokens, N], on the host.</summary>
    public torch.Tensor Gradient(int batch, LinearRole role) => gradients[batch, (int)role]!.Load();

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (StoredActivation? kept in inputs) kept?.Dispose();
        foreach (StoredActivation? kept in gradients) kept?.Dispose();
    }

    private static torch.Tensor OnHost(torch.Tensor tensor) => tensor.cpu().contiguous().MoveToOuterDisposeScope();

    // Experts have the tokens of all windows in one.
    private static torch.Tensor Rows(torch.Tensor tensor) => tensor.reshape(-1, tensor.shape[^1]);

    /// <summary>What some windows gave, on the host.</summary>
    /// <param name="Before">The gradient with respect to the residual stream before the layer.</param>
    /// <param name="Inputs">What went into each linear, [tokens, K]; only once where several read it.</param>
    /// <param name="Gradients">The gradient at what came out of each, [tokens, N].</param>
    private sealed record Pass(torch.Tensor Before, torch.Tensor?[] Inputs, torch.Tensor[] Gradients);
}
