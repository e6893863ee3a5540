using System.Runtime.InteropServices;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>The CPU as the one device of a run, or as several.</summary>
internal static class OnCpu
{
    // As TorchSharp throws it, which has this type for every error.
#pragma warning disable CA2201
    /// <summary>The error of a device without memory for what it should do.</summary>
    public static readonly ExternalException OutOfMemory = new("CUDA out of memory. Tried to allocate 462.00 MiB. GPU 0 has a total capacity of 7.79 GiB of which 12.00 MiB is free.\nException raised from malloc");
#pragma warning restore CA2201

    public static Devices One => new(torch.CPU);

    /// <summary>So many devices, all of them the CPU: what is on one is a copy of what is on another.</summary>
    public static TorchDevice Times(int count) => new("cpu", "the CPU several times", [.. Enumerable.Repeat(torch.CPU, count)], []);

    public static PerDevice<T> Alone<T>(this T value) => new([value]);

    public static torch.Tensor Batch(this HiddenStates states, int index) => states.Batch(states.Devices.First, index);

    public static HiddenStates Map(this HiddenStates states, Func<torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) => states.Map((_, hidden) => step(hidden), cancellationToken);

    public static void Update(this HiddenStates states, Func<torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) => states.Update((_, hidden) => step(hidden), cancellationToken);

    public static void Update(this HiddenStates states, HiddenStates other, Func<torch.Tensor, torch.Tensor, torch.Tensor> step, CancellationToken cancellationToken) =>
        states.Update(other, (_, hidden, beside) => step(hidden, beside), cancellationToken);
}
