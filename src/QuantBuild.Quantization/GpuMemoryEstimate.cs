using TorchSharp;

namespace QuantBuild.Quantization;

/// <summary>How much memory of a GPU a run needs at its largest step, reckoned before it begins. One layer's float weights are there at a time; the activations are on the host.</summary>
/// <param name="Largest">The step that needs most with the batches that it begins with.</param>
/// <param name="Least">Bytes that it needs with the smallest batches.</param>
/// <param name="Gpus">The GPUs. Each needs as much: it has the whole layer, and matrices of its own.</param>
internal sealed record GpuMemoryEstimate(MemoryStep Largest, long Least, IReadOnlyList<Gpu> Gpus)
{
    /// <summary>Bytes for CUDA's context and the work space of its libraries.</summary>
    public const long Context = 1_000_000_000;

    /// <summary>Reckons.</summary>
    /// <param name="plan">How each linear is quantized.</param>
    /// <param name="texts">What goes through the layers.</param>
    /// <param name="device">The GPU.</param>
    /// <param name="use">How it is used.</param>
    /// <param name="gpus">What the driver says of it, and of those that share the work.</param>
    public static GpuMemoryEstimate Of(QuantizationPlan plan, Texts texts, torch.Device device, DeviceUse use, IReadOnlyList<Gpu> gpus)
    {
        MemoryStep largest = LargestStep(plan, Pace.On(device, texts), use), least = LargestStep(plan, Pace.Least(texts), use);
        return new GpuMemoryEstimate(largest, least.Weights + least.Work + Context, gpus);
    }

    // Of those that are equal, one is as good as another.
    private Gpu Smallest => Gpus.MinBy(gpu => gpu.Memory)!;

    /// <summary>Throws where a GPU has less memory than the smallest batches need.</summary>
    /// <exception cref="QuantBuildException">QB1055.</exception>
    public void Check()
    {
        Gpu gpu = Smallest;
        if (Least <= gpu.Memory) return;
        throw new QuantBuildException(
            DiagnosticIds.GpuMemoryTooLittle,
            $"Quantizing this model needs at least {MemoryLimit.Text(Least)} of memory on the GPU, and {gpu.Name} has {MemoryLimit.Text(gpu.Memory)}. {MemoryLimit.Text(Largest.Weights)} are for the weights of " +
            $"{Largest.Name}, the rest for matrices of the calibration and for CUDA. Take a GPU with more memory, or set QuantBuildDevice (or --device) to cpu.");
    }

    /// <summary>The estimate as a line.</summary>
    public override string ToString() =>
        $"memory of {(Gpus.Count == 1 ? "the" : "each")} GPU: about {MemoryLimit.Text(Largest.Weights + Largest.Work + Context)} of {MemoryLimit.Text(Smallest.Memory)} at most: {MemoryLimit.Text(Largest.Weights)} for the weights of {Largest.Name}, " +
        $"{MemoryLimit.Text(Largest.Work)} to work on them, {MemoryLimit.Text(Context)} for CUDA";

    private static MemoryStep LargestStep(QuantizationPlan plan, Pace pace, DeviceUse use)
    {
        DecoderConfig config = plan.Config;
        long layer = MemoryEstimate.LargestLayer(config);
        // Beside the float weights those that the linears multiply with.
        long copies = use.Products == torch.float32 ? 0 : layer / 2;
        MemoryStep head = new("the head", 2 * MemoryEstimate.Bytes(config.Head), MemoryEstimate.ToQuantizeHead(plan));
        List<MemoryStep> steps = [.. MemoryEstimate.Steps(plan, pace).Select(step => step with { Weights = step.Weights + copies }), head];
        if (MemoryEstimate.Learns(plan)) steps.Add(MemoryEstimate.LearnsOnGpu(plan, pace, layer));
        return steps.MaxBy(step => step.Weights + step.Work)!;
    }
}
