using QuantBuild.Quantization.Tests.Families;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>The sample model in the formats of other tools, from the checkpoint to a text.</summary>
public sealed class QuantizedModelTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public QuantizedModelTests() => NativeLibraries.Load();

    [Theory]
    [InlineData("gptq")]
    [InlineData("awq")]
    [InlineData("nf4")]
    [InlineData("int8")]
    public void An_artifact_holds_the_checkpoints_own_values_and_runs(string format)
    {
        ModelFolder model = Sample(format);
        QuantizationSpec spec = model.Config.Quantization!.Adopt(_ => null, "the sample");
        WorkerRequest request = QuantizedSample.RequestIn(folder.File("cache"), spec) with { ModelPath = model.Path, CalibrationFile = null };
        ArtifactManifest manifest = ModelQuantizer.Run(request, _ => { }, CancellationToken.None);

        Assert.Equal("true", manifest.Spec["FromCheckpoint"]);
        using Artifact artifact = Artifact.Open(request.ArtifactPath);
        using ModelWeights weights = ModelWeights.Open(model);
        foreach (LinearShape linear in model.Config.Linears(1))
        {
            LayerFormat format1 = manifest.Layers[linear.Name];
            using torch.Tensor kept = LinearFormats.Read(format1, linear, (suffix, _) => artifact.File.Bytes(artifact.File.Tensors[linear.Name + suffix])).Dequantize(torch.CPU);
            using torch.Tensor stored = weights.Load(linear.WeightName, torch.CPU);
            Assert.True(kept.eq(stored).all().item<bool>(), linear.Name);
        }

        using LanguageModel loaded = LanguageModel.Load(request.ArtifactPath);
        Assert.NotEmpty(loaded.Generate("It was a dark night", new GenerationOptions { MaxTokens = 8, Temperature = 0 }));
        float[] torchLogits = QuantizedSample.TorchLogits([4093, 100, 200, 300], null, model.Path);
        Assert.All(torchLogits, logit => Assert.True(float.IsFinite(logit)));
    }

    [Theory]
    [InlineData("Phi3", "gptq")]
    [InlineData("Falcon-40b", "gptq")]
    [InlineData("Pythia", "nf4")]
    [InlineData("GPT-2", "gptq")]
    [InlineData("GPT-2", "int8")]
    [InlineData("Phi3", "awq")]
    public void A_checkpoint_with_fused_tensors_runs_as_its_own_values_say(string family, string format)
    {
        using FamilyModel source = FamilyModel.Of(family);
        ModelFolder model = Quantized(source.Folder, format);
        WorkerRequest request = QuantizedSample.RequestIn(folder.File("cache"), model.Config.Quantization!.Adopt(_ => null, family)) with { ModelPath = model.Path, CalibrationFile = null };
        ArtifactManifest manifest = ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        Assert.Equal(model.Config.Layers * model.Config.Linears(0).Count, manifest.Layers.Count);
        using LanguageModel loaded = LanguageModel.Load(request.ArtifactPath, new LoadOptions { FloatActivations = true });
        // LLM.int8() rounds activations too, which weights alone do not say.
        using Artifact? rounded = format == "int8" ? Artifact.Open(request.ArtifactPath) : null;
        float[] expected = QuantizedSample.TorchLogits(source.Tokens, rounded, model.Path), actual = loaded.Logits(source.Tokens);
        // Keys in half precision; and an activation that lies between two integers may become the other one. Measured: 0.001, and 0.011.
        Assert.InRange(expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max() / expected.Max(Math.Abs), 0, rounded is null ? 4e-3 : 2e-2);
        // 4 bits in groups of 32, of a model of noise: rounding alone.
        double error = Math.Sqrt(source.Expected.Zip(actual, (e, a) => Math.Pow(e - a, 2)).Sum() / source.Expected.Sum(e => e * e));
        Assert.InRange(error, 0, 0.4);
    }

    [Fact]
    public void Activations_that_awq_divides_are_not_computed_and_so_an_error()
    {
        ModelFolder model = Sample("awq", [TensorSource.FromBytes("model.layers.0.mlp.act.scales", ElementType.F16, [4], new byte[8])]);
        Assert.Equal(DiagnosticIds.ConfigUnsupported, Assert.Throws<QuantBuildException>(() => ModelWeights.Open(model)).Id);
    }

    [Fact]
    public void What_the_checkpoint_costs_is_measured_and_nothing_on_top_of_it()
    {
        ModelFolder model = Sample("gptq");
        string evaluation = folder.File("evaluation.txt");
        File.WriteAllText(evaluation, File.ReadAllText(SampleFiles.Evaluation)[..8000]);
        QuantizationSpec spec = model.Config.Quantization!.Adopt(name => name == "Method" ? "gptq" : name == "Bits" ? "4" : null, "the sample");
        WorkerRequest request = QuantizedSample.RequestIn(folder.File("cache"), spec) with { ModelPath = model.Path, CalibrationFile = null, EvaluationFile = evaluation };
        QualityFigures quality = ModelQuantizer.Run(request, _ => { }, CancellationToken.None).Quality!;
        Assert.InRange(quality.Perplexity, 1, 1000);
        Assert.Equal(quality.FloatPerplexity, quality.Perplexity, 1e-6);
    }

    public void Dispose() => folder.Dispose();

    /// <summary>The sample model with its linears in a format, rounded to the nearest.</summary>
    private ModelFolder Sample(string format, params TensorSource[] more) => Quantized(ModelFolder.Open(SampleFiles.Model), format, more);

    /// <summary>A model with its linears in a format, each tensor of the checkpoint as a whole.</summary>
    private ModelFolder Quantized(ModelFolder sample, string format, params TensorSource[] more)
    {
        List<TensorSource> tensors = [.. more];
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(sample.Path, "model.safetensors"), "QB2005");
        using (ModelWeights weights = ModelWeights.Open(sample))
        {
            Dictionary<string, torch.Tensor> linears = new(StringComparer.Ordinal);
            foreach (LinearShape linear in Enumerable.Range(0, sample.Config.Layers).SelectMany(sample.Config.Linears))
            {
                TensorPlace place = sample.Config.Names.Of(linear.WeightName);
                torch.Tensor weight = weights.Load(linear.WeightName, torch.CPU);
                if (!linears.TryGetValue(place.Name, out torch.Tensor? whole)) linears.Add(place.Name, whole = torch.zeros(place.Rows?.Total ?? linear.Outputs, linear.Inputs));
                whole.index_copy_(0, torch.tensor([.. Enumerable.Range(0, linear.Outputs).Select(row => place.Rows?[row] ?? row)]), weight);
            }

            foreach ((string name, torch.Tensor weight) in linears)
            {
                LinearShape shape = new(name[..^".weight".Length], (int)weight.shape[1], (int)weight.shape[0]);
                tensors.AddRange(Quantize(format, shape, weight).Values.Select(tensor => tensor.ToSource(tensor.Name)));
            }

            foreach (TensorEntry entry in file.Tensors.Values)
            {
                // The hub's GPT-2 lacks the first part of the names, and what is quantized of it has it.
                string name = sample.Config.Architecture == "GPT2LMHeadModel" ? "transformer." + entry.Name : entry.Name;
                if (!linears.ContainsKey(name)) tensors.Add(TensorSource.FromBytes(name, entry.Type, [.. entry.Shape], file.Bytes(entry).ToArray()));
            }

            string config = format switch
            {
                "gptq" => QuantizedCheckpointTests.GptqJson(4, 32, symmetric: false, ordered: false, lessOne: true),
                "awq" => """{"quant_method":"awq","bits":4,"group_size":32,"zero_point":true,"version":"gemm","modules_to_not_convert":null}""",
                "nf4" => """{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4","bnb_4bit_use_double_quant":false}""",
                _ => """{"quant_method":"bitsandbytes","load_in_8bit":true,"llm_int8_threshold":6.0,"llm_int8_skip_modules":["lm_head"]}""",
            };
            Directory.CreateDirectory(folder.File("model"));
            File.WriteAllText(Path.Combine(folder.File("model"), "config.json"), sample.ConfigJson.TrimEnd().TrimEnd('}') + ",\"quantization_config\":" + config + "}");
            File.Copy(sample.TokenizerFile, Path.Combine(folder.File("model"), "tokenizer.json"));
            SafetensorsWriter.Write(Path.Combine(folder.File("model"), "model.safetensors"), new Dictionary<string, string>(), tensors);
        }

        return ModelFolder.Open(folder.File("model"));
    }

    private static Dictionary<string, CheckpointTensor> Quantize(string format, LinearShape shape, torch.Tensor weight)
    {
        QuantizationSpec spec = new()
        {
            Method = format switch { "nf4" => QuantizationMethod.Nf4, "int8" => QuantizationMethod.Int8, _ => QuantizationMethod.Rtn },
            GroupSize = 32,
            DoubleQuantization = false,
        };
        switch (LinearQuantizer.WithoutData(weight, shape, spec))
        {
            case CodebookLinear codebook:
                return QuantizedCheckpointTests.BitsAndBytesCheckpoint(shape.Name, shape, Codebook.Nf4, codebook.Values, codebook.Absmax.Values, [], 0, 0);
            case Int8Linear int8:
                return QuantizedCheckpointTests.Int8Checkpoint(shape.Name, shape, int8.Values, int8.Absmax);
            case AffineLinear affine:
                int groups = affine.Groups;
                byte[,] q = new byte[shape.Inputs, shape.Outputs], z = new byte[groups, shape.Outputs];
                Half[,] s = new Half[groups, shape.Outputs];
                for (int n = 0; n < shape.Outputs; n++)
                {
                    for (int k = 0; k < shape.Inputs; k++) q[k, n] = affine.Values[(n * shape.Inputs) + k];
                    for (int g = 0; g < groups; g++)
                    {
                        // A zero point of 0 has no place in GPTQ's first form: see GptqLinear.
                        z[g, n] = Math.Max(affine.Zeros[(n * groups) + g], (byte)1);
                        s[g, n] = affine.Scales[(n * groups) + g];
                    }
                }

                return format == "awq"
                    ? QuantizedCheckpointTests.AwqCheckpoint(shape.Name, q, z, s)
                    : QuantizedCheckpointTests.GptqCheckpoint(shape.Name, q, z, s, [.. Enumerable.Range(0, shape.Inputs).Select(k => k / 32)], 4, lessOne: true);
            default:
                throw new InvalidOperationException(format);
        }
    }
}
