using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>How a run uses the device that it computes on.</summary>
/// <param name="Products">
/// In what the linears of a layer multiply while the calibration text goes through: bfloat16 is many times faster on a GPU, and what it leaves out is small beside what quantizing does. Hessians, factors, norms,
/// the residual streams and the evaluation are float32 everywhere.
/// </param>
/// <param name="WorksAhead">Whether the host reads the next layer and packs the last one while the device computes. A CPU has itself to do, and no memory for it.</param>
internal sealed record DeviceUse(torch.ScalarType Products, bool WorksAhead)
{
    // Older GPUs have no products in bfloat16.
    private static readonly Version FirstWithBFloat16 = new(8, 0);

    /// <summary>How a CPU is used.</summary>
    public static DeviceUse Cpu { get; } = new(torch.float32, WorksAhead: false);

    /// <summary>How a device is used.</summary>
    /// <param name="gpus">The GPUs, which all multiply in the same type; none is the CPU.</param>
    public static DeviceUse Of(IReadOnlyList<Gpu> gpus) => gpus.Count == 0 ? Cpu : new(gpus.All(gpu => gpu.ComputeCapability >= FirstWithBFloat16) ? torch.bfloat16 : torch.float32, WorksAhead: true);
}
