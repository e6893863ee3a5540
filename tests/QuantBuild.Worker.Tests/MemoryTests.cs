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
    public void A_layer_of_experts_stays_within_what_was_reckoned(bool trueSequential)
    {
        const int hidden = 256, intermediate = 1024, experts = 16, tokens = 8 * 128;
        ModelShape shape = ModelShape.Find("tiny") with { Hidden = hidden, Layers = 2 };
        string model = Path.Combine(folder, "model");
        new SynthesizedModel { Shape = shape }.Write(model, _ => { }, CancellationToken.None);
        string config = $$"""
            {"architectures": ["MixtralForCausalLM"], "hidden_size": {{hidden}}, "intermediate_size": {{intermediate}}, "num_hidden_layers": 2, "num_attention_heads": {{shape.Heads}},
             "num_key_value_heads": {{shape.KvHeads}}, "vocab_size": {{shape.Vocabulary}}, "max_position_embeddings": 128, "num_local_experts": {{experts}}, "num_experts_per_tok": 2}
            """;
        File.WriteAllText(Path.Combine(model, "config.json"), config);
        DecoderConfig decoder = DecoderConfig.Parse(config, "config.json");
        Random random = new(1);
        SafetensorsWriter.Write(Path.Combine(model, "model.safetensors"), new Dictionary<string, string>(), [.. decoder.Tensors().Select(tensor =>
        {
            bool isNorm = tensor.Value.Count == 1;
            Half[] values = [.. Enumerable.Range(0, tensor.Value.Aggregate((a, b) => a * b)).Select(_ => (Half)(isNorm ? 1 : (random.NextDouble() - 0.5) * 0.2))];
            return TensorSource.FromBytes(
                decoder.Names.Of(tensor.Key).Name, ElementType.F16, [.. tensor.Value.Select(size => (long)size)], System.Runtime.InteropServices.MemoryMarshal.AsBytes<Half>(values).ToArray());
        })]);
        QuantizationSpec spec = new() { CalibrationSamples = tokens / 128, CalibrationContext = 128, TrueSequential = trueSequential };
        using SampleBuild build = new(spec) { ModelPath = model };
        build.Run();

        BuildRecord record = BuildRecord.TryRead(build.Request.BuildRecordPath)!;
        long layer = sizeof(float) * decoder.Linears(0).Sum(linear => (long)linear.Inputs * linear.Outputs);
        Assert.InRange(layer, 50_000_000, 53_000_000);
        // At least the layer in float32, as it is and quantized, was in memory; two of them are what may be.
        Assert.InRange(record.PeakMemoryBytes, layer, record.EstimatedMemoryBytes!.Value);
        Assert.InRange(record.EstimatedMemoryBytes!.Value, 0, (2 * layer) + (6L * tokens * hidden * sizeof(float)) + FixedBytes);
    }

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
