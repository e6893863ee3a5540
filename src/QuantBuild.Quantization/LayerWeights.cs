using TorchSharp;
using static TorchSharp.torch.nn.functional;

namespace QuantBuild.Quantization;

/// <summary>The linears of a decoder layer, numbered as <see cref="DecoderConfig.Linears"/> orders them.</summary>
internal enum LinearRole
{
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

/// <summary>The weights of one decoder layer on the device, float32. A linear's weight can be replaced by a quantized one.</summary>
internal sealed class LayerWeights : IDisposable
{
    private readonly torch.Tensor[] linears;
    private readonly Func<torch.Tensor, torch.Tensor>?[] roundings = new Func<torch.Tensor, torch.Tensor>?[Enum.GetValues<LinearRole>().Length];

    /// <summary>Takes over the tensors.</summary>
    /// <param name="attentionNorm">[hidden].</param>
    /// <param name="mlpNorm">[hidden].</param>
    /// <param name="linears">[outputs, inputs] each, in the order of <see cref="LinearRole"/>.</param>
    public LayerWeights(torch.Tensor attentionNorm, torch.Tensor mlpNorm, IEnumerable<torch.Tensor> linears)
    {
        AttentionNorm = attentionNorm.DetachFromDisposeScope();
        MlpNorm = mlpNorm.DetachFromDisposeScope();
        this.linears = [.. linears.Select(linear => linear.DetachFromDisposeScope())];
    }

    /// <summary>The weight of the norm before attention.</summary>
    public torch.Tensor AttentionNorm { get; private set; }

    /// <summary>The weight of the norm before the MLP.</summary>
    public torch.Tensor MlpNorm { get; private set; }

    /// <summary>The weight of a linear, [outputs, inputs].</summary>
    public torch.Tensor this[LinearRole role] => linears[(int)role];

    /// <summary>Sees each linear's input and output, where it is set. A set that <see cref="Share"/> made has one of its own.</summary>
    public Action<LinearRole, torch.Tensor, torch.Tensor>? Observer { get; set; }

    /// <summary>The output of a linear, [..., outputs], for its input, [..., inputs].</summary>
    public torch.Tensor Apply(LinearRole role, torch.Tensor input)
    {
        torch.Tensor output = linear(roundings[(int)role] is { } round ? round(input) : input, linears[(int)role]);
        Observer?.Invoke(role, input, output);
        return output;
    }

    /// <summary>A second set that shares the tensors until one is replaced there.</summary>
    public LayerWeights Share()
    {
        LayerWeights shared = new(AttentionNorm.alias(), MlpNorm.alias(), linears.Select(linear => linear.alias()));
        roundings.CopyTo(shared.roundings, 0);
        return shared;
    }

    /// <summary>Replaces everything that was quantized, and the norms that a method changed.</summary>
    /// <param name="finished">What was made of the layer.</param>
    /// <param name="layer">Its number, from 0.</param>
    /// <param name="device">Where the weights go.</param>
    public void Replace(FinishedLayer finished, int layer, torch.Device device)
    {
        foreach (LinearRole role in Enum.GetValues<LinearRole>())
        {
            if (finished.Linears[(int)role] is { } linear) Replace(role, linear, device);
        }

        if (finished.Norms.TryGetValue(DecoderConfig.AttentionNormName(layer), out float[]? attention)) ReplaceAttentionNorm(torch.tensor(attention, device: device));
        if (finished.Norms.TryGetValue(DecoderConfig.MlpNormName(layer), out float[]? mlp)) ReplaceMlpNorm(torch.tensor(mlp, device: device));
    }

    /// <summary>Replaces a linear by a quantized one, and frees the old weight.</summary>
    public void Replace(LinearRole role, QuantizedLinear quantized, torch.Device device) =>
        Replace(role, quantized.Dequantize(device), quantized.ActivationRounding);

    /// <summary>Replaces the weight of a linear, and frees the old one.</summary>
    /// <param name="role">Which linear.</param>
    /// <param name="weight">[outputs, inputs].</param>
    /// <param name="rounding">What its activations go through, if anything.</param>
    public void Replace(LinearRole role, torch.Tensor weight, Func<torch.Tensor, torch.Tensor>? rounding = null)
    {
        linears[(int)role].Dispose();
        linears[(int)role] = weight.DetachFromDisposeScope();
        roundings[(int)role] = rounding;
    }

    /// <summary>Frees weights that are not read again, or not before they are replaced.</summary>
    public void Release(params IEnumerable<LinearRole> roles)
    {
        foreach (LinearRole role in roles) linears[(int)role].Dispose();
    }

    /// <summary>Replaces the weight of the norm before attention, and frees the old one.</summary>
    /// <param name="weight">[hidden].</param>
    public void ReplaceAttentionNorm(torch.Tensor weight)
    {
        AttentionNorm.Dispose();
        AttentionNorm = weight.DetachFromDisposeScope();
    }

    /// <summary>Replaces the weight of the norm before the MLP, and frees the old one.</summary>
    /// <param name="weight">[hidden].</param>
    public void ReplaceMlpNorm(torch.Tensor weight)
    {
        MlpNorm.Dispose();
        MlpNorm = weight.DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        AttentionNorm.Dispose();
        MlpNorm.Dispose();
        foreach (torch.Tensor linear in linears) linear.Dispose();
    }
}
