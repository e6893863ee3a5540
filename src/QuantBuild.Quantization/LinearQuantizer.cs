using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Quantizes one linear at a time, for what lies outside of decoder layers or needs nothing but the weight.</summary>
internal static class LinearQuantizer
{
    /// <summary>Quantizes a weight by a method that looks at nothing else.</summary>
    /// <param name="weight">float32 [N, K].</param>
    /// <param name="shape">Which linear.</param>
    /// <param name="spec">How; a method that needs calibration data is round to nearest without it.</param>
    /// <exception cref="QuantBuildException">QB3006: a weight is out of the method's range.</exception>
    public static QuantizedLinear WithoutData(torch.Tensor weight, LinearShape shape, QuantizationSpec spec) => LinearFormats.Of(spec, shape) switch
    {
        Codebook4Format format => BlockCodebook.Quantize(weight, format),
        Int8RowOutlierFormat format => RowInt8.Quantize(weight, format, shape.WeightName),
        _ => Rtn.Quantize(weight, spec),
    };

    /// <summary>Quantizes a weight with GPTQ; or with AWQ, but for the scales of its inputs.</summary>
    /// <param name="weight">float32 [N, K].</param>
    /// <param name="shape">Which linear.</param>
    /// <param name="spec">How.</param>
    /// <param name="states">What the linear's input is computed of.</param>
    /// <param name="input">Computes it: [B, T, K].</param>
    /// <param name="cancellationToken">Looked at between batches and blocks.</param>
    /// <exception cref="QuantBuildException">QB3006, QB3007.</exception>
    public static QuantizedLinear Calibrated(
        torch.Tensor weight, LinearShape shape, QuantizationSpec spec, HiddenStates states, Func<torch.Tensor, torch.Tensor> input, CancellationToken cancellationToken)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using Hessian hessian = new(shape.Inputs, weight.device);
        states.VisitTokens(
            (_, hidden) => input(hidden).DetachFromDisposeScope(),
            made =>
            {
                hessian.Add(made);
                made.Dispose();
            },
            cancellationToken);
        if (spec.Method == QuantizationMethod.Awq) return Rtn.Quantize(weight, spec, hessian.Matrix);
        using InverseFactor factor = InverseFactor.InPlace(hessian.Matrix, spec, shape.Name);
        return Gptq.Quantize(weight, factor, spec, cancellationToken);
    }
}
