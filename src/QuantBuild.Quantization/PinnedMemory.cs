using System.Runtime.InteropServices;

namespace QuantBuild.Quantization;

/// <summary>Moves layers to memory of the host that stays where it is, from which a GPU fetches by itself. Where a system gives none, or no more, it only takes longer: they stay where they are.</summary>
/// <param name="inform">Hears of it, once.</param>
internal sealed class PinnedMemory(Action<FormattableString> inform)
{
    private bool isRefused;

    /// <summary>A layer in pinned memory where there is some; the layer itself where there is none.</summary>
    /// <param name="layer">On the host; freed where another is returned.</param>
    public LayerWeights Take(LayerWeights layer)
    {
        if (isRefused) return layer;
        LayerWeights pinned;
        try
        {
            pinned = layer.Pinned();
        }
        catch (ExternalException e)
        {
            isRefused = true;
            inform($"the host has no pinned memory for the next layer, and weights are copied to the GPU from ordinary memory from here on. Torch says: {e.Message.Split('\n')[0]}");
            return layer;
        }

        layer.Dispose();
        return pinned;
    }
}
