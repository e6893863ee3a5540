using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Questions about a tensor.</summary>
internal static class TensorChecks
{
    /// <summary>Whether every value is a finite number.</summary>
    public static bool AllFinite(this torch.Tensor tensor)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        return tensor.isfinite().all().cpu().data<bool>()[0];
    }
}
