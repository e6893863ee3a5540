using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>What is between the last layer and the head, and the head's bias. Takes over the tensors.</summary>
/// <param name="norm">The last norm, where there is one.</param>
/// <param name="projection">[embedding, hidden], where the head reads another width than that of the residual stream.</param>
/// <param name="bias">[vocabulary], where the head has one.</param>
internal sealed class FinalWeights(NormWeights? norm, torch.Tensor? projection = null, torch.Tensor? bias = null) : IDisposable
{
    /// <summary>The last norm, where there is one.</summary>
    public NormWeights? Norm { get; } = norm;

    /// <summary>[embedding, hidden], where the head reads another width than that of the residual stream.</summary>
    public torch.Tensor? Projection { get; } = projection?.DetachFromDisposeScope();

    /// <summary>[vocabulary], where the head has one.</summary>
    public torch.Tensor? Bias { get; } = bias?.DetachFromDisposeScope();

    /// <summary>A copy on another device.</summary>
    public FinalWeights To(torch.Device device) => new(Norm?.To(device), Projection?.to(device, copy: true), Bias?.to(device, copy: true));

    /// <inheritdoc/>
    public void Dispose()
    {
        Norm?.Dispose();
        Projection?.Dispose();
        Bias?.Dispose();
    }
}
