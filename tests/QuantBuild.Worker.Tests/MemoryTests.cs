using QuantBuild.Worker.Synthesis;

namespace QuantBuild.Worker.Tests;

/// <summary>What a build takes from its machine: at most two layers in float32, the activations that are kept, and 500 MB.</summary>
public sealed class MemoryTests : IDisposable
{
    private const long FixedBytes = 500_000_000;

    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_matrices_of_a_wide_MLP_stay_within_the_bound(bool actOrder)
    {
        // The Hessian of what comes down is 151 MB, many times a layer; with its factor, a correction of that size and a copy to permute there would be four of them.
        const int hidden = 256, intermediate = 6144, tokens = 4 * 128;
        ModelShape shape = ModelShape.Find("tiny") with { Hidden = hidden, Intermediate = intermediate, Layers = 2 };
        string model = Path.Combine(folder, "model");
        new SynthesizedModel { Shape = shape }.Write(model, _ => { }, CancellationToken.None);
        QuantizationSpec spec = new() { CalibrationSamples = tokens / 128, CalibrationContext = 128, ActOrder = actOrder };
        using SampleBuild build = new(spec) { ModelPath = model };
        build.Run();

        BuildRecord record = BuildRecord.TryRead(build.Request.BuildRecordPath)!;
        long layer = sizeof(float) * ModelFolder.Open(model).Config.Linears(0).Sum(linear => (long)linear.Inputs * linear.Outputs);
        Assert.InRange(layer, 19_000_000, 21_000_000);
        // Residual streams of floating point and quantized layers, attention outputs; the evaluation text's are a few more, of which nothing is said here.
        const long activations = 3L * tokens * hidden * sizeof(float);
        Assert.InRange(record.PeakMemoryBytes, (long)intermediate * intermediate * sizeof(float), (2 * layer) + activations + FixedBytes);
        Assert.InRange(record.PeakMemoryBytes, 0, record.EstimatedMemoryBytes!.Value);
    }
}
