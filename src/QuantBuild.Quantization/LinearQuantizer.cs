using System.Globalization;
using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Quantizes one linear at a time, for what lies outside of decoder layers or needs nothing but the weight.</summary>
internal static class LinearQuantizer
{
    /// <summary>Quantizes a weight by a method that looks at nothing else.</summary>
    /// <param name="weight">float32 [N, K].</param>
    /// <param name="shape">Which linear.</param>
    /// <param name="spec">How; a method that needs calibration data is round to nearest without it.</param>
    /// <exception cref="QuantBuildException">QB3006: a weight is out of the format's range.</exception>
    public static QuantizedLinear WithoutData(torch.Tensor weight, LinearShape shape, QuantizationSpec spec) => LinearFormats.Of(spec, shape) switch
    {
        Codebook4Format format => BlockCodebook.Quantize(weight, format),
        Int8RowOutlierFormat format => RowInt8.Quantize(weight, format, shape.WeightName),
        _ => RoundToNearest(weight, shape, spec),
    };

    /// <summary>Rounds to the nearest point of each group's grid.</summary>
    /// <param name="weight">float32 [N, K].</param>
    /// <param name="shape">Which linear.</param>
    /// <param name="spec">How.</param>
    /// <param name="hessian">As for <see cref="Rtn.Quantize(torch.Tensor, QuantizationSpec, torch.Tensor)"/>.</param>
    /// <exception cref="QuantBuildException">QB3006: a grid whose scale is a float16 does not reach a group's weights, and would clip them.</exception>
    public static AffineLinear RoundToNearest(torch.Tensor weight, LinearShape shape, QuantizationSpec spec, torch.Tensor? hessian = null)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor groups = weight.reshape(-1, spec.GroupSize == QuantizationSpec.PerChannel ? shape.Inputs : spec.GroupSize);
        float[] low = groups.amin([1]).cpu().data<float>().ToArray(), high = groups.amax([1]).cpu().data<float>().ToArray();
        double range = low.Zip(high).Max(ends => spec.Symmetric ? 2.0 * Math.Max(-ends.First, ends.Second) : Math.Max(0.0, ends.Second) - Math.Min(0.0, ends.First));
        int steps = (1 << spec.Bits) - 1;
        // What rounds to infinity in float16.
        if (Half.IsFinite((Half)(range / steps))) return Rtn.Quantize(weight, spec, hessian);
        throw new QuantBuildException(
            DiagnosticIds.NonFinite,
            $"{shape.WeightName}: the weights of a group span {Number(range)}, and {spec.Bits} bits reach {Number((double)Half.MaxValue * steps)}, " +
            $"as their scale is a float16 whose largest is 65504. Leave the layer in floating point with Override=\"{shape.Name}: Float\"; or, if the weights are damaged, copy the model again.");

        static string Number(double value) => value.ToString("G4", CultureInfo.InvariantCulture);
    }

    /// <summary>Quantizes a weight with GPTQ; or with AWQ, but for the scales of its inputs.</summary>
    /// <param name="weight">float32 [N, K].</param>
    /// <param name="shape">Which linear.</param>
    /// <param name="spec">How.</param>
    /// <param name="devices">Where to compute; the weight is on the first.</param>
    /// <param name="states">What the linear's input is computed of.</param>
    /// <param name="input">Computes it: [B, T, K].</param>
    /// <param name="cancellationToken">Looked at between batches and blocks.</param>
    /// <exception cref="QuantBuildException">QB3006, QB3007.</exception>
    public static QuantizedLinear Calibrated(
        torch.Tensor weight, LinearShape shape, QuantizationSpec spec, Devices devices, HiddenStates states, Func<Place, torch.Tensor, torch.Tensor> input, CancellationToken cancellationToken)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        using PerDevice<Hessian> sums = devices.Each(at => new Hessian(shape.Inputs, at.Device));
        states.VisitTokens(
            (at, _, hidden) => input(at, hidden).DetachFromDisposeScope(),
            (at, made) =>
            {
                sums[at].Add(made);
                made.Dispose();
            },
            cancellationToken);
        Hessian hessian = sums.Together((sum, other) => sum.Add(other));
        if (spec.Method == QuantizationMethod.Awq) return RoundToNearest(weight, shape, spec, hessian.Matrix);
        using PerDevice<InverseFactor> factors = devices.Copies(InverseFactor.InPlace(hessian.Matrix, spec, shape.Name), (factor, device) => factor.To(device));
        return WithFactor(shape.Outputs, spec, devices, factors, (at, rows) => weight.narrow(0, rows.First, rows.Count).to(at.Device), cancellationToken);
    }

    /// <summary>Quantizes a weight with GPTQ: each device some of its rows, which with one factor do not depend on each other.</summary>
    /// <param name="outputs">N, the rows of the weight.</param>
    /// <param name="spec">How.</param>
    /// <param name="devices">Where to compute.</param>
    /// <param name="factors">Of the Hessian of the linear's inputs, the same on each.</param>
    /// <param name="target">Gives rows of the weight on a device, float32 [count, K].</param>
    /// <param name="cancellationToken">Looked at between blocks.</param>
    /// <exception cref="QuantBuildException">QB3006.</exception>
    public static AffineLinear WithFactor(
        int outputs, QuantizationSpec spec, Devices devices, PerDevice<InverseFactor> factors, Func<Place, RowRange, torch.Tensor> target, CancellationToken cancellationToken)
    {
        RowRange[] ranges = devices.Rows(outputs);
        AffineLinear[] parts = new AffineLinear[ranges.Length];
        devices.Divide(
            [.. Enumerable.Range(0, ranges.Length)],
            (at, own, token) =>
            {
                foreach (int part in own)
                {
                    using DisposeScope scope = torch.NewDisposeScope();
                    parts[part] = Gptq.Quantize(target(at, ranges[part]), factors[at], spec, token);
                }
            },
            cancellationToken);
        return AffineLinear.Joined(parts);
    }
}
