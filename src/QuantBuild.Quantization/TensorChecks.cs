using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Questions about a tensor, answered on the host.</summary>
internal static class TensorChecks
{
    // Torch compares a copy of magnitudes: of a part at a time.
    private const long ValuesAtOnce = 1 << 20;

    /// <summary>Whether every value is a finite number.</summary>
    public static bool AllFinite(this torch.Tensor tensor)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        torch.Tensor values = tensor.reshape(-1);
        for (long first = 0, count = values.shape[0]; first < count; first += ValuesAtOnce)
        {
            using DisposeScope part = torch.NewDisposeScope();
            if (!values.narrow(0, first, Math.Min(ValuesAtOnce, count - first)).isfinite().all().cpu().data<bool>()[0]) return false;
        }

        return true;
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
