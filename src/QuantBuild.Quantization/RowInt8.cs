using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>
/// LLM.int8() as bitsandbytes has it: the weights are rounded to float16, then each row to 8 bits by its absolute maximum:
/// <c>round(w * (127 / absmax))</c> in float32, ties to even.
/// </summary>
public static class RowInt8
{
    /// <summary>Quantizes a weight.</summary>
    /// <param name="weight">float32 [N, K] on any device; not changed.</param>
    /// <param name="format">The threshold of activations; the weights do not depend on it.</param>
    /// <param name="name">What to call the weight in an error.</param>
    /// <exception cref="QuantBuildException">QB3006: a weight is too large for float16.</exception>
    public static unsafe Int8Linear Quantize(torch.Tensor weight, Int8RowOutlierFormat format, string name)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        Int8Linear result = new((int)weight.shape[0], (int)weight.shape[1], format);
        torch.Tensor host = weight.cpu().contiguous();
        fixed (byte* bytes = host.bytes)
        {
            float* first = (float*)bytes;
            Parallel.For(0, result.Outputs, row => QuantizeRow(new ReadOnlySpan<float>(first + ((long)row * result.Inputs), result.Inputs), result, row));
        }

        if (result.Absmax.All(float.IsFinite)) return result;
        throw new QuantBuildException(
            DiagnosticIds.NonFinite,
            $"The weight {name} holds values that are not finite in float16, whose largest is 65504, and Method=\"Int8\" starts from that. " +
            "Set Method to Gptq or Rtn with Bits=\"8\".");
    }

    /// <summary>What the kernels make of activations: see <see cref="Int8RowOutlier.RoundActivations"/>.</summary>
    /// <param name="activations">[..., K].</param>
    /// <param name="threshold">Magnitudes from here on are not rounded. Above 0.</param>
    internal static torch.Tensor RoundActivations(torch.Tensor activations, float threshold)
    {
        // No operation gets a number: see DecoderForward.
        torch.Tensor Constant(float value) => torch.tensor(new[] { value }).to(activations.device);
        torch.Tensor largest = Constant(Int8RowOutlier.Largest);
        torch.Tensor magnitude = activations.abs();
        torch.Tensor ordinary = magnitude.lt(Constant(threshold));
        torch.Tensor absmax = torch.where(ordinary, magnitude, Constant(0)).amax([-1], keepdim: true).maximum(Constant(Int8RowOutlier.LeastAbsmax));
        return torch.where(ordinary, (activations * (largest / absmax)).round() * (absmax / largest), activations);
    }

    private static void QuantizeRow(ReadOnlySpan<float> weights, Int8Linear result, int row)
    {
        float absmax = 0;
        foreach (float weight in weights) absmax = MathF.Max(absmax, MathF.Abs((float)(Half)weight));
        result.Absmax[row] = absmax;
        if (absmax == 0 || !float.IsFinite(absmax)) return;
        float scale = Int8RowOutlier.Largest / absmax;
        Span<sbyte> values = result.Values.AsSpan(row * result.Inputs, result.Inputs);
        for (int k = 0; k < values.Length; k++) values[k] = (sbyte)MathF.Round((float)(Half)weights[k] * scale);
    }
}
