namespace QuantBuild;

/// <summary>Where a model is computed.</summary>
/// <param name="Device"><c>cpu</c>, or the device that has the model's first layers, such as <c>cuda:0</c>.</param>
/// <param name="DeviceName">What the device calls itself, such as <c>NVIDIA H100</c>; empty for the processor.</param>
/// <param name="DeviceLayers">Layers that are on the device; the others, and then the head, are computed by the processor.</param>
/// <param name="DeviceBytes">Memory of the device that weights and activations take; keys and values of texts come on top.</param>
/// <param name="Reason">Why it is so, in a sentence: what a log should say.</param>
public sealed record ModelPlacement(string Device, string DeviceName, int DeviceLayers, long DeviceBytes, string Reason)
{
    internal static ModelPlacement Processor(string reason) => new("cpu", "", 0, 0, reason);
}
