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

    /// <summary>RMSNorm, <c>x / sqrt(mean(x^2) + epsilon) * weight</c>, or LayerNorm, which takes the mean away first and adds a bias; over the last dimension.</summary>
    /// <param name="hidden">[..., width].</param>
    /// <param name="kind">Which.</param>
    /// <param name="epsilon">[1].</param>
    public torch.Tensor Of(torch.Tensor hidden, NormKind kind, torch.Tensor epsilon)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor centered = kind == NormKind.Rms ? hidden : hidden.Minus(hidden.mean([-1], keepdim: true));
        torch.Tensor normed = centered * InverseRms(centered, epsilon);
        normed = torch.is_grad_enabled() ? normed * Weight : normed.mul_(Weight);
        return (Bias is null ? normed : normed.Plus(Bias)).MoveToOuterDisposeScope();
    }

    /// <summary>What RMSNorm multiplies a token by: <c>1 / sqrt(mean(x^2) + epsilon)</c>, [..., width] to [..., 1].</summary>
    public static torch.Tensor InverseRms(torch.Tensor hidden, torch.Tensor epsilon)
    {
        using torch.Tensor squares = hidden * hidden;
        return squares.mean([-1], keepdim: true).PlusInPlace(epsilon).rsqrt_();
    }

    /// <summary>A norm on the same memory.</summary>
    public NormWeights Share() => new(Weight.alias(), Bias?.alias());

    /// <summary>A copy on another device.</summary>
    public NormWeights To(torch.Device device) => new(Weight.to(device, copy: true), Bias?.to(device, copy: true));

    /// <summary>The norm whose outputs are divided by scales, [width].</summary>
    public NormWeights Divided(torch.Tensor scales) => new(Weight / scales, Bias is null ? null : Bias / scales);

    /// <inheritdoc/>
    public void Dispose()
    {
        Weight.Dispose();
        Bias?.Dispose();
    }
}
