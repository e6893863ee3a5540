using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Questions about a tensor, answered on the host.</summary>
internal static class TensorChecks
{
    /// <summary>Whether every value is a finite number.</summary>
    public static bool AllFinite(this torch.Tensor tensor)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        return tensor.isfinite().all().cpu().data<bool>()[0];
    }

    /// <summary>The sum of a float64 tensor, value after value on this thread: the same whatever the number of threads.</summary>
    public static double Total(this torch.Tensor tensor)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        double sum = 0;
        foreach (double value in tensor.cpu().contiguous().data<double>()) sum += value;
        return sum;
    }
}
