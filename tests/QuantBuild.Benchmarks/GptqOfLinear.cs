using System.Diagnostics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using QuantBuild.Quantization;
using TorchSharp;

namespace QuantBuild.Benchmarks;

/// <summary>GPTQ of one linear by ours: the only place of the benchmarks that calls it.</summary>
/// <param name="weight">float32 [N, K].</param>
/// <param name="hessian">float32 [K, K].</param>
/// <param name="spec">Bits, group size, activation order, damping.</param>
sealed class GptqOfLinear(torch.Tensor weight, torch.Tensor hessian, QuantizationSpec spec)
{
    private AffineLinear? result;

    public torch.Tensor Weight => weight;

    public torch.Tensor Hessian => hessian;

    public QuantizationSpec Spec => spec;

    /// <summary>Factors and quantizes; gives the seconds of both.</summary>
    public double Run()
    {
        long start = Stopwatch.GetTimestamp();
        using InverseFactor factor = Factor();
        Quantize(factor);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    public InverseFactor Factor() => InverseFactor.Create(hessian, spec, "linear");

    public void Quantize(InverseFactor factor) => result = Gptq.Quantize(weight, factor, spec);

    /// <summary>tr((W - Q) H (W - Q)^T) of the last run: the squared error of the outputs.</summary>
    public double Error()
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor difference = result!.Dequantize(torch.CPU);
        Span<float> values = MemoryMarshal.Cast<byte, float>(difference.bytes);
        TensorPrimitives.Subtract(MemoryMarshal.Cast<byte, float>(weight.bytes), values, values);
        return difference.mm(hessian).mul(difference).sum(torch.ScalarType.Float64).item<double>();
    }
}
