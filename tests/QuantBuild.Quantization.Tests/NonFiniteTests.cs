using System.Text.Json;

namespace QuantBuild.Quantization.Tests;

/// <summary>A model that overflows float32 somewhere: the build says where, and makes nothing of it.</summary>
public sealed class NonFiniteTests
{
    private const float Huge = 1e38f;

    private static readonly QuantizationSpec Gptq = new() { GroupSize = 16, CalibrationSamples = 2 };

    private static readonly QuantizationSpec Rtn = new() { Method = QuantizationMethod.Rtn, GroupSize = 16 };

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_weight_that_is_not_finite_is_reported_by_its_name(bool calibrated) => AssertError(
        calibrated ? Gptq : Rtn, evaluated: false, "model.layers.1.self_attn.o_proj.weight", "model.layers.1.self_attn.o_proj.weight", _ => float.NaN);

    [Theory]
    [InlineData("post_attention_layernorm", "mlp.gate_proj", true, true)]
    [InlineData("post_attention_layernorm", "mlp.gate_proj", true, false)]
    [InlineData("post_attention_layernorm", "mlp.gate_proj", false, false)]
    [InlineData("input_layernorm", "self_attn.q_proj", true, true)]
    public void Inputs_that_are_too_large_to_square_are_reported_by_the_linear(string norm, string linear, bool sequential, bool corrected) => AssertError(
        Gptq with { TrueSequential = sequential, ErrorCorrection = corrected }, evaluated: false, $"model.layers.1.{norm}.weight", $"model.layers.1.{linear}", value => value * 1e30f);

    [Fact]
    public void A_float_layer_that_overflows_on_the_calibration_text_is_reported_though_the_quantized_one_does_not() =>
        // Scales of 16 bits cannot hold such weights: what is quantized is small enough.
        AssertError(Gptq, evaluated: false, "model.layers.1.mlp.down_proj.weight", "model.layers.1", value => value < 0 ? -Huge : Huge);

    [Fact]
    public void A_layer_that_overflows_on_the_evaluation_text_is_reported_by_its_name() =>
        AssertError(Rtn, evaluated: true, "model.layers.1.mlp.down_proj.weight", "model.layers.1:", value => value < 0 ? -Huge : Huge);

    [Fact]
    public void A_head_whose_logits_overflow_is_reported_by_its_name() => AssertError(Rtn, evaluated: true, "lm_head.weight", "lm_head.weight", value => value < 0 ? -Huge : Huge);

    [Fact]
    public void A_weight_that_no_scale_in_float16_reaches_is_reported_by_its_name() =>
        AssertError(Rtn, evaluated: false, "model.layers.1.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight", value => value * 3e6f);

    [Fact]
    public void A_head_that_is_quantized_and_is_not_finite_is_reported_by_its_name() =>
        AssertError(Rtn with { Override = "lm_head: Bits=8" }, evaluated: false, "lm_head.weight", "lm_head.weight", _ => float.PositiveInfinity);

    /// <summary>Quantizes a tiny model some of whose weights are changed, and looks at the error.</summary>
    private static void AssertError(QuantizationSpec spec, bool evaluated, string tensor, string names, Func<float, float> change)
    {
        using TemporaryFolder folder = new();
        string model = WriteModel(folder, (name, value) => name == tensor ? change(value) : value);
        WorkerRequest request = QuantizedSample.RequestIn(folder.File("cache"), spec) with
        {
            ModelPath = model,
            EvaluationFile = evaluated ? SampleFiles.ShortCalibration : null,
            CalibrationFile = spec.NeedsCalibration ? SampleFiles.ShortCalibration : null,
        };
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelQuantizer.Run(request, _ => { }, CancellationToken.None));
        Assert.Equal(DiagnosticIds.NonFinite, error.Id);
        Assert.Contains(names, error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(request.ArtifactPath));
    }

    /// <summary>Two layers of random weights, 32 wide, with the sample's tokenizer.</summary>
    private static string WriteModel(TemporaryFolder folder, Func<string, float, float> change)
    {
        string model = Directory.CreateDirectory(folder.File("model")).FullName;
        string config = JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["architectures"] = new[] { "LlamaForCausalLM" },
            ["hidden_size"] = 32,
            ["intermediate_size"] = 64,
            ["num_hidden_layers"] = 2,
            ["num_attention_heads"] = 2,
            ["num_key_value_heads"] = 1,
            ["vocab_size"] = 4096,
            ["max_position_embeddings"] = 64,
            ["hidden_act"] = "silu",
        });
        File.WriteAllText(Path.Combine(model, "config.json"), config);
        File.Copy(Path.Combine(SampleFiles.Model, "tokenizer.json"), Path.Combine(model, "tokenizer.json"));
        Random random = new(3);
        SafetensorsWriter.Write(Path.Combine(model, "model.safetensors"), new Dictionary<string, string>(),
        [
            .. DecoderConfig.Parse(config, "config.json").Tensors().Select(tensor => TensorSource.FromBytes(
                tensor.Key,
                ElementType.F32,
                [.. tensor.Value.Select(size => (long)size)],
                [
                    .. Enumerable.Range(0, tensor.Value.Aggregate(1, (a, b) => a * b))
                        .SelectMany(_ => BitConverter.GetBytes(change(tensor.Key, tensor.Value.Count == 1 ? 1 : random.NextSingle() - 0.5f))),
                ])),
        ]);
        return model;
    }
}
