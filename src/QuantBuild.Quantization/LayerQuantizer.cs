using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Quantizes the linears of one decoder layer, and leaves their dequantized weights in the layer's place.</summary>
internal sealed class LayerQuantizer(DecoderForward forward, DecoderConfig config, QuantizationSpec spec, torch.Device device)
{
    // The linears that read the same input, in the order of a forward pass.
    private static readonly LinearRole[] Attention = [LinearRole.Query, LinearRole.Key, LinearRole.Value];
    private static readonly LinearRole[] Output = [LinearRole.Output];
    private static readonly LinearRole[] Mlp = [LinearRole.Gate, LinearRole.Up];
    private static readonly LinearRole[] Down = [LinearRole.Down];

    private readonly int attentionWidth = config.Heads * config.HeadDim;

    /// <summary>Quantizes a layer by a method that looks at each weight alone.</summary>
    /// <param name="index">The layer, from 0.</param>
    /// <param name="layer">The float weights; becomes the dequantized ones.</param>
    /// <param name="cancellationToken">Looked at between linears.</param>
    /// <returns>The linears in the order of <see cref="LinearRole"/>.</returns>
    /// <exception cref="QuantBuildException">QB3006: a weight is out of the method's range.</exception>
    public QuantizedLinear[] WithoutCalibration(int index, LayerWeights layer, CancellationToken cancellationToken)
    {
        QuantizedLinear[] results = new QuantizedLinear[Enum.GetValues<LinearRole>().Length];
        foreach (LinearRole role in Enum.GetValues<LinearRole>())
        {
            cancellationToken.ThrowIfCancellationRequested();
            LinearShape shape = config.Linears(index)[(int)role];
            results[(int)role] = LinearFormats.Of(spec, shape) switch
            {
                Codebook4Format format => BlockCodebook.Quantize(layer[role], format),
                Int8RowOutlierFormat format => RowInt8.Quantize(layer[role], format, shape.WeightName),
                _ => Rtn.Quantize(layer[role], spec),
            };
            layer.Replace(role, results[(int)role], device);
        }

        return results;
    }

    /// <summary>
    /// Quantizes a layer with GPTQ in true-sequential order: each group of linears is calibrated on what the groups before it give once they
    /// are quantized.
    /// </summary>
    /// <param name="index">The layer, from 0.</param>
    /// <param name="layer">The float weights; becomes the dequantized ones.</param>
    /// <param name="states">The calibration text's residual stream before the layer; becomes that after the quantized layer.</param>
    /// <param name="cancellationToken">Looked at between batches and blocks.</param>
    /// <returns>The linears in the order of <see cref="LinearRole"/>.</returns>
    public QuantizedLinear[] Sequential(int index, LayerWeights layer, HiddenStates states, CancellationToken cancellationToken)
    {
        QuantizedLinear[] results = new QuantizedLinear[Enum.GetValues<LinearRole>().Length];
        using (Hessian hessian = new(config.HiddenSize, device))
        {
            states.ForEach(hidden => hessian.Add(forward.AttentionInput(hidden, layer)), cancellationToken);
            Quantize(index, layer, hessian, Attention, results, cancellationToken);
        }

        using (Hessian hessian = new(attentionWidth, device))
        {
            // The attention of each batch is kept from here to the residual stream: it is as large as that, and dear to compute twice.
            using HiddenStates contexts = states.Map(
                hidden =>
                {
                    torch.Tensor context = forward.Attend(forward.AttentionInput(hidden, layer), layer);
                    hessian.Add(context);
                    return context;
                },
                cancellationToken);
            Quantize(index, layer, hessian, Output, results, cancellationToken);
            states.Update(contexts, (hidden, context) => DecoderForward.AfterAttention(hidden, context, layer), cancellationToken);
        }

        using (Hessian hessian = new(config.HiddenSize, device))
        {
            states.ForEach(hidden => hessian.Add(forward.MlpInput(hidden, layer)), cancellationToken);
            Quantize(index, layer, hessian, Mlp, results, cancellationToken);
        }

        using (Hessian hessian = new(config.IntermediateSize, device))
        {
            states.ForEach(hidden => hessian.Add(DecoderForward.Gate(forward.MlpInput(hidden, layer), layer)), cancellationToken);
            Quantize(index, layer, hessian, Down, results, cancellationToken);
            states.Update(hidden => DecoderForward.AfterMlp(hidden, DecoderForward.Gate(forward.MlpInput(hidden, layer), layer), layer), cancellationToken);
        }

        return results;
    }

    /// <summary>Quantizes a layer with GPTQ, all its linears calibrated in one pass with its float weights.</summary>
    /// <inheritdoc cref="Sequential"/>
    public QuantizedLinear[] InOnePass(int index, LayerWeights layer, HiddenStates states, CancellationToken cancellationToken)
    {
        QuantizedLinear[] results = new QuantizedLinear[Enum.GetValues<LinearRole>().Length];
        using Hessian attention = new(config.HiddenSize, device);
        using Hessian output = new(attentionWidth, device);
        using Hessian mlp = new(config.HiddenSize, device);
        using Hessian down = new(config.IntermediateSize, device);
        states.ForEach(
            hidden =>
            {
                torch.Tensor input = forward.AttentionInput(hidden, layer);
                attention.Add(input);
                torch.Tensor context = forward.Attend(input, layer);
                output.Add(context);
                input = forward.MlpInput(DecoderForward.AfterAttention(hidden, context, layer), layer);
                mlp.Add(input);
                down.Add(DecoderForward.Gate(input, layer));
            },
            cancellationToken);
        Quantize(index, layer, attention, Attention, results, cancellationToken);
        Quantize(index, layer, output, Output, results, cancellationToken);
        Quantize(index, layer, mlp, Mlp, results, cancellationToken);
        Quantize(index, layer, down, Down, results, cancellationToken);
        states.Update(hidden => forward.Layer(hidden, layer), cancellationToken);
        return results;
    }

    private void Quantize(
        int index, LayerWeights layer, Hessian hessian, LinearRole[] roles, QuantizedLinear[] results, CancellationToken cancellationToken)
    {
        using InverseFactor factor = InverseFactor.Create(hessian.Matrix, spec, config.Linears(index)[(int)roles[0]].Name);
        foreach (LinearRole role in roles)
        {
            results[(int)role] = Gptq.Quantize(layer[role], factor, spec, cancellationToken);
            layer.Replace(role, results[(int)role], device);
        }
    }
}
