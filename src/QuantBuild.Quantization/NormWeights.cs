using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>The weights of a norm, float32. Takes over the tensors.</summary>
/// <param name="weight">[width], with <see cref="DecoderConfig.NormOffset"/> in it.</param>
/// <param name="bias">[width], where it has one.</param>
internal sealed class NormWeights(torch.Tensor weight, torch.Tensor? bias = null) : IDisposable
{
    /// <summary>[width].</summary>
    public torch.Tensor Weight { get; } = weight.DetachFromDisposeScope();

    /// <summary>[width], where there is one.</summary>
    public torch.Tensor? Bias { get; } = bias?.DetachFromDisposeScope();

    /// <summary>A norm on the same memory.</summary>
    public NormWeights Share() => new(Weight.alias(), Bias?.alias());

    /// <summary>The norm whose outputs are divided by scales, [width].</summary>
    public NormWeights Divided(torch.Tensor scales) => new(Weight / scales, Bias is null ? null : Bias / scales);

    /// <inheritdoc/>
    public void Dispose()
    {
        Weight.Dispose();
        Bias?.Dispose();
    }
}
