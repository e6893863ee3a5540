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

    /// <summary>Takes a batch through the layer and back.</summary>
    /// <param name="forward">The decoder.</param>
    /// <param name="layer">The layer's weights.</param>
    /// <param name="batch">The batch's number.</param>
    /// <param name="hidden">The residual stream before the layer, [B, T, D].</param>
    /// <param name="upstream">The gradient with respect to the one after it, [B, T, D].</param>
    /// <returns>The gradient with respect to <paramref name="hidden"/>.</returns>
    public torch.Tensor Back(DecoderForward forward, LayerWeights layer, int batch, torch.Tensor hidden, torch.Tensor upstream)
    {
        using IDisposable withGradients = torch.enable_grad();
        torch.Tensor leaf = hidden.detach().requires_grad_();
        torch.Tensor[] read = new torch.Tensor[readers.Length], made = new torch.Tensor[readers.Length];
        using LayerWeights observed = layer.Share();
        // They are needed after the step of the forward pass that made them.
        observed.Observer = (role, input, output) => (read[(int)role], made[(int)role]) = (input.DetachFromDisposeScope(), output.DetachFromDisposeScope());
        torch.Tensor after = forward.Layer(leaf, observed);
        IList<torch.Tensor> found = torch.autograd.grad([after], [leaf, .. roles.Select(role => made[(int)role])], [upstream]);
        for (int i = 0; i < roles.Length; i++)
        {
            // q, k and v read one tensor, and so do gate and up.
            int role = (int)roles[i];
            readers[role] = roles.First(other => ReferenceEquals(read[(int)other], read[role]));
            if (readers[role] == roles[i]) inputs[batch, role] = Keep(read[role].detach());
            gradients[batch, role] = Keep(found[i + 1]);
        }

        foreach (torch.Tensor? observation in read.Concat(made)) observation?.Dispose();
        return found[0];
    }

    /// <summary>What went into a linear, [B, T, K], on the host.</summary>
    public torch.Tensor Input(int batch, LinearRole role) => inputs[batch, (int)readers[(int)role]]!.Load();

    /// <summary>The gradient at what came out of a linear, [B, T, N], on the host.</summary>
    public torch.Tensor Gradient(int batch, LinearRole role) => gradients[batch, (int)role]!.Load();

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (StoredActivation? kept in inputs) kept?.Dispose();
        foreach (StoredActivation? kept in gradients) kept?.Dispose();
    }

    private StoredActivation Keep(torch.Tensor tensor) => store.Keep(tensor.cpu().contiguous());
}
