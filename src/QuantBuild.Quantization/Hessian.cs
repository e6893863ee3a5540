using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// The Hessian of the squared error of a linear's outputs, the same for each of its rows: <c>H = 2 sum_t x_t x_t^T</c> over the tokens of the
/// calibration text. Linears that read the same input share one.
/// </summary>
public sealed class Hessian : IDisposable
{
    /// <summary>Starts at zero.</summary>
    /// <param name="inputs">K, the width of the input.</param>
    /// <param name="device">Where to add up.</param>
    public Hessian(int inputs, torch.Device device)
    {
        Matrix = torch.zeros(inputs, inputs, torch.float32, device).DetachFromDisposeScope();
    }

    /// <summary>The sum so far, float32 [K, K].</summary>
    public torch.Tensor Matrix { get; }

    /// <summary>Adds the tokens of a batch.</summary>
    /// <param name="input">float32 [..., K].</param>
    public void Add(torch.Tensor input)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor tokens = input.reshape(-1, Matrix.shape[0]);
        Matrix.addmm_(tokens.t(), tokens, beta: 1, alpha: 2);
    }

    /// <inheritdoc/>
    public void Dispose() => Matrix.Dispose();
}
