namespace QuantBuild.Quantization.Tests;

/// <summary>Layers that are quantized otherwise than the rest, from the request to the runtime's logits.</summary>
public sealed class OverrideTests
{
    // Torch keeps keys and values in float32, the runtime in half precision.
    private const double Tolerance = 0.02;

    [Theory]
    [InlineData("Gptq", "down_proj: Bits=8; layers.0: Float; lm_head: Method=Rtn Bits=8; embed_tokens: Bits=8")]
    [InlineData("Gptq", "lm_head: Bits=4; o_proj: GroupSize=32 Bits=3; layers.1-4: Method=Nf4")]
    [InlineData("Nf4", "embed_tokens: Method=Nf4; lm_head: Method=Fp4; layers.2: Method=Int8; layers.3: Method=Rtn Bits=2")]
    public void Logits_agree_with_torch_whatever_each_layer_is(string method, string overrides)
    {
        using TemporaryFolder folder = new();
        QuantizationSpec spec = Read(("Method", method), ("Override", overrides), ("OutlierThreshold", "0"), ("CalibrationSamples", "1"));
        AssertLogitsAgree(QuantizedSample.RequestIn(folder.Path, spec));
    }

    [Theory]
    [InlineData("lm_head: Bits=8")]
    [InlineData("embed_tokens: Method=Nf4")]
    public void A_tied_embedding_stays_one_matrix(string overrides)
    {
        using TemporaryFolder folder = new(), model = new();
        CopyTied(model.Path);
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, Read(("Override", overrides), ("CalibrationSamples", "1"))) with { ModelPath = model.Path };
        AssertLogitsAgree(request);
        using Artifact artifact = Artifact.Open(request.ArtifactPath);
        Assert.True(artifact.Manifest.Layers.ContainsKey(DecoderConfig.EmbeddingLinearName));
        Assert.DoesNotContain(artifact.File.Tensors.Keys, name => name.StartsWith(DecoderConfig.HeadLinearName, StringComparison.Ordinal));
    }

    [Fact]
    public void A_head_that_is_calibrated_loses_less_than_one_that_is_rounded()
    {
        double KlDivergence(string overrides)
        {
            using TemporaryFolder folder = new();
            File.WriteAllText(folder.File("evaluation.txt"), File.ReadAllText(SampleFiles.Evaluation)[..6000]);
            // Nothing but the head loses anything.
            QuantizationSpec spec = Read(("Method", "Rtn"), ("Override", "layers: Float; " + overrides), ("CalibrationSamples", "8"));
            WorkerRequest request = QuantizedSample.RequestIn(folder.Path, spec) with { CalibrationFile = SampleFiles.Calibration, EvaluationFile = folder.File("evaluation.txt") };
            return ModelQuantizer.Run(request, _ => { }, CancellationToken.None).Quality!.KlDivergence;
        }

        Assert.InRange(KlDivergence("lm_head: Method=Gptq Bits=3"), 1e-6, 0.95 * KlDivergence("lm_head: Method=Rtn Bits=3"));
    }

    [Fact]
    public void The_size_of_a_linear_is_known_before_it_is_made()
    {
        using TemporaryFolder folder = new();
        QuantizationSpec spec = Read(
            ("Override", "q_proj: Method=Nf4; k_proj: Method=Fp4 BlockSize=4096; v_proj: Method=Int8; o_proj: Bits=2 GroupSize=16; up_proj: Bits=3 Method=Rtn; lm_head: GroupSize=PerChannel; embed_tokens: Bits=8"),
            ("CalibrationSamples", "1"));
        foreach (QuantizationSpec variant in new[] { spec, spec with { ActOrder = false }, spec with { StaticGroups = true }, spec with { Symmetric = true, DoubleQuantization = false } })
        {
            WorkerRequest request = QuantizedSample.RequestIn(folder.Path, variant) with { ModelPath = SampleFiles.TwoLayers };
            ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
            using Artifact artifact = Artifact.Open(request.ArtifactPath);
            QuantizationPlan plan = new(artifact.Config, variant);
            Assert.All(plan.Quantized, linear => Assert.Equal(
                artifact.File.Tensors.Values.Where(tensor => tensor.Name.StartsWith(linear.Name + ".", StringComparison.Ordinal)).Sum(tensor => tensor.ByteLength),
                PackedSize.Of(plan[linear]!, linear)));
        }
    }

    private static void AssertLogitsAgree(WorkerRequest request)
    {
        ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        using LanguageModel model = LanguageModel.Load(request.ArtifactPath, new LoadOptions { FloatActivations = true });
        using Artifact artifact = Artifact.Open(request.ArtifactPath);
        artifact.VerifyChecksums();
        QuantizationPlan plan = new(artifact.Config, request.Spec);
        Assert.Equal(plan.Quantized.Select(linear => linear.Name).Order(), artifact.Manifest.Layers.Keys.Order());
        int[] tokens = [.. model.Tokenizer.Encode(File.ReadAllText(SampleFiles.Evaluation)[..600])];
        float[] expected = QuantizedSample.TorchLogits(tokens, artifact, request.ModelPath);
        float[] actual = model.Logits(tokens);
        Assert.Equal(expected.Length, actual.Length);
        Assert.InRange(expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max(), 0, Tolerance);
    }

    /// <summary>The sample with its embedding for a head: nonsense for a text, as good as any for numbers.</summary>
    private static void CopyTied(string path)
    {
        foreach (string file in Directory.GetFiles(SampleFiles.Model)) File.Copy(file, Path.Combine(path, Path.GetFileName(file)));
        string config = Path.Combine(path, "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true", StringComparison.Ordinal));
    }

    private static QuantizationSpec Read(params (string Name, string Value)[] metadata) =>
        QuantizationSpec.FromMetadata(metadata.ToDictionary(m => m.Name, m => m.Value).GetValueOrDefault);
}
