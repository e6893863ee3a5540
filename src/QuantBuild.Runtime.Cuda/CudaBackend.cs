using QuantBuild.Cuda.Decoding;
using QuantBuild.Cuda.Driver;
using QuantBuild.Decoding;

namespace QuantBuild.Cuda;

/// <summary>
/// Computes models on NVIDIA GPUs of compute capability 7.5 and up, with the driver (CUDA 11.0 and up) and nothing else. A program that has this package need not name it:
/// <see cref="LoadOptions.Device"/> says where a model is computed.
/// </summary>
// QuantBuild.Runtime finds it by its name.
internal sealed class CudaBackend(Func<CudaDriver> driver) : IDeviceBackend
{
    public CudaBackend()
        : this(CudaDriver.Load)
    {
    }

    /// <inheritdoc/>
    public IDeviceLayers Open(int index, Artifact artifact, LoadOptions options, out ModelPlacement placement)
    {
        DecoderConfig config = artifact.Config;
        if (config.HeadDim > DeviceAttention.WidestHead || config.HeadDim % 2 != 0)
        {
            throw new QuantBuildException(
                DiagnosticIds.GpuUnavailable,
                $"The GPU cannot be used for this model: its heads have {config.HeadDim} dimensions, expected an even number of at most {DeviceAttention.WidestHead}. Set LoadOptions.Device to cpu.");
        }

        if (config.HiddenSize > CudaLayers.WidestHidden)
        {
            throw new QuantBuildException(
                DiagnosticIds.GpuUnavailable,
                $"The GPU cannot be used for this model: its residual stream is {config.HiddenSize} numbers wide, expected at most {CudaLayers.WidestHidden}. Set LoadOptions.Device to cpu.");
        }

        if (config.ExpertsPerToken > ExpertRouting.MostEach)
        {
            throw new QuantBuildException(
                DiagnosticIds.GpuUnavailable,
                $"The GPU cannot be used for this model: {config.ExpertsPerToken} experts see each token, expected at most {ExpertRouting.MostEach}. Set LoadOptions.Device to cpu.");
        }

        CudaDevice device = new(driver(), index);
        try
        {
            PlacementPlan plan = PlacementPlan.For(artifact, options, device.FreeMemory(), $"cuda:{index} ({device.Name})");
            CudaLayers layers = new(device, artifact, options, plan);
            string where = plan.HasHead
                ? $"All {config.Layers} layers are on cuda:{index} ({device.Name})"
                : $"{plan.Layers} of {config.Layers} layers are on cuda:{index} ({device.Name}), whose memory has no room for more: what follows is computed by the processor";
            placement = new ModelPlacement($"cuda:{index}", device.Name, plan.Layers, device.Allocated, where);
            return layers;
        }
        catch
        {
            device.Dispose();
            throw;
        }
    }
}
