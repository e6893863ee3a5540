using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>Reads the layers of a model one after the other; the next one, where that is asked for, on the host while the last one is worked on.</summary>
/// <param name="weights">The model's weights.</param>
/// <param name="devices">Where the layers go: whole to each.</param>
/// <param name="ahead">Whether to read ahead.</param>
/// <param name="inform">Hears where a GPU cannot fetch by itself.</param>
internal sealed class LayerReader(ModelWeights weights, Devices devices, bool ahead, Action<FormattableString> inform) : IDisposable
{
    private readonly PinnedMemory pinned = new(inform);
    private readonly DecoderConfig config = weights.Config;
    private readonly torch.Device device = devices.First.Device;
    private Task<LayerWeights>? next;
    private int nextLayer;

    /// <summary>A layer's weights on each device: the caller's to free. Layers are asked for in their order.</summary>
    /// <exception cref="QuantBuildException">QB3006: a weight is not finite.</exception>
    public PerDevice<LayerWeights> Read(int layer)
    {
        if (!ahead) return Copies(weights.LoadLayer(config, layer, device));
        LayerWeights host = Take(layer);
        // Before the copy to the device, which does not hold the host up.
        if (layer + 1 < config.Layers) (next, nextLayer) = (Task.Run(() => Load(layer + 1)), layer + 1);
        if (device.type == DeviceType.CPU) return Copies(host);
        using (host) return devices.Each(place => host.To(place.Device));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (next is null) return;
        // Nobody wants the layer any more, nor the error that it may have: whoever ends here has another.
        ((IAsyncResult)next).AsyncWaitHandle.WaitOne();
        if (next.IsCompletedSuccessfully) next.Result.Dispose();
    }

    private PerDevice<LayerWeights> Copies(LayerWeights first) => devices.Copies(first, (weights, device) => weights.To(device));

    private LayerWeights Take(int layer)
    {
        if (next is null || nextLayer != layer) return Load(layer);
        Task<LayerWeights> made = next;
        next = null;
        return made.GetAwaiter().GetResult();
    }

    private LayerWeights Load(int layer)
    {
        // Torch keeps this for each thread.
        using IDisposable noGradient = torch.no_grad();
        LayerWeights host = weights.LoadLayer(config, layer, torch.CPU);
        if (device.type == DeviceType.CPU) return host;
        return pinned.Take(host);
    }
}
