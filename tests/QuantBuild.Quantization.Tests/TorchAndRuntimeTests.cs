namespace QuantBuild.Quantization.Tests;

/// <summary>Two implementations of one forward pass, torch and the runtime's own kernels, say the same.</summary>
public sealed class TorchAndRuntimeTests
{
    private readonly QuantizedSample sample = QuantizedSample.Shared;

    private const string Prompt = "It was a dark and stormy night, and the old man sat by the fire";

    // Torch keeps keys and values in float32, the runtime in half precision. Measured: up to 0.007, of logits that spread over some 20.
    private const double Tolerance = 0.02;

    [Fact]
    public void Logits_of_the_float_model_agree()
    {
        using TemporaryFolder folder = new();
        using LanguageModel model = Load(FloatArtifact(folder));
        AssertLogitsAgree(model, null);
    }

    [Fact]
    public void Logits_of_the_artifact_agree_with_torch_on_its_dequantized_weights()
    {
        using LanguageModel model = Load(sample.Request.ArtifactPath);
        using Artifact artifact = Artifact.Open(sample.Request.ArtifactPath);
        AssertLogitsAgree(model, artifact);
    }

    [Theory]
    [InlineData(2, 32, true, true)]
    [InlineData(3, 128, false, true)]
    [InlineData(8, QuantizationSpec.PerChannel, true, false)]
    public void Logits_agree_in_every_format(int bits, int groupSize, bool symmetric, bool actOrder)
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(
            folder.Path, new QuantizationSpec { Bits = bits, GroupSize = groupSize, Symmetric = symmetric, ActOrder = actOrder, CalibrationSamples = 1 });
        ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        using LanguageModel model = Load(request.ArtifactPath);
        using Artifact artifact = Artifact.Open(request.ArtifactPath);
        AssertLogitsAgree(model, artifact);
    }

    [Fact]
    public void Logits_agree_where_rounding_was_learned_and_where_an_override_says_otherwise()
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, new QuantizationSpec
        {
            Method = QuantizationMethod.AutoRound, Bits = 3, Iterations = 8, CalibrationSamples = 8, CalibrationContext = 64, Override = "down_proj: Method=Gptq",
        });
        ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        using LanguageModel model = Load(request.ArtifactPath);
        using Artifact artifact = Artifact.Open(request.ArtifactPath);
        Assert.Equal(new IntAffineFormat(3, 128, false, false), artifact.Manifest.Layers["model.layers.5.mlp.up_proj"]);
        Assert.Equal(new IntAffineFormat(3, 128, false, true), artifact.Manifest.Layers["model.layers.5.mlp.down_proj"]);
        AssertLogitsAgree(model, artifact);
    }

    [Theory]
    [InlineData(4, 32, false)]
    [InlineData(2, QuantizationSpec.PerChannel, true)]
    public void Logits_and_greedy_text_agree_where_scales_were_folded_into_norms(int bits, int groupSize, bool symmetric)
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(
            folder.Path, new QuantizationSpec { Method = QuantizationMethod.Awq, Bits = bits, GroupSize = groupSize, Symmetric = symmetric, CalibrationSamples = 1, CalibrationContext = 64 });
        ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        using LanguageModel model = Load(request.ArtifactPath);
        using Artifact artifact = Artifact.Open(request.ArtifactPath);
        artifact.VerifyChecksums();
        Assert.Contains(Enumerable.Range(0, model.Config.Layers), layer => artifact.File.Tensors[DecoderConfig.AttentionNormName(layer)].Type == ElementType.F32);
        AssertLogitsAgree(model, artifact);
        AssertGreedyTextAgrees(model, artifact);
    }

    public static TheoryData<QuantizationSpec> WithoutCalibration { get; } =
    [
        new QuantizationSpec { Method = QuantizationMethod.Nf4 },
        new QuantizationSpec { Method = QuantizationMethod.Nf4, BlockSize = 4096, DoubleQuantization = false },
        new QuantizationSpec { Method = QuantizationMethod.Fp4, BlockSize = 32 },
        // With every activation in floating point, as torch has them here.
        new QuantizationSpec { Method = QuantizationMethod.Int8, OutlierThreshold = 0 },
    ];

    [Theory]
    [MemberData(nameof(WithoutCalibration))]
    public void Logits_and_greedy_text_agree_in_the_formats_of_bitsandbytes(QuantizationSpec spec)
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, spec) with { CalibrationFile = null };
        ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        using LanguageModel model = Load(request.ArtifactPath);
        using Artifact artifact = Artifact.Open(request.ArtifactPath);
        artifact.VerifyChecksums();
        AssertLogitsAgree(model, artifact);
        AssertGreedyTextAgrees(model, artifact);
    }

    [Fact]
    public void With_rounded_activations_logits_agree_as_far_as_one_step_of_rounding_lets_them()
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, new QuantizationSpec { Method = QuantizationMethod.Int8 }) with { CalibrationFile = null };
        ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        using LanguageModel model = Load(request.ArtifactPath);
        using Artifact artifact = Artifact.Open(request.ArtifactPath);
        int[] tokens = [.. model.Tokenizer.Encode(File.ReadAllText(SampleFiles.Evaluation)[..600])];
        float[] expected = QuantizedSample.TorchLogits(tokens, artifact), actual = model.Logits(tokens);
        // An activation that is a tie but for the last bit goes one way in torch and the other here, 1/127 of the largest apart. Measured: 0.007 on average, and
        // 0.11 at most, of logits that spread over some 20.
        double[] differences = [.. expected.Zip(actual, (e, a) => (double)Math.Abs(e - a))];
        Assert.InRange(differences.Average(), 0, 0.02);
        Assert.InRange(differences.Max(), 0, 0.3);
    }

    [Fact]
    public void Greedy_text_of_64_tokens_is_identical()
    {
        using TemporaryFolder folder = new();
        using LanguageModel floats = Load(FloatArtifact(folder));
        AssertGreedyTextAgrees(floats, null);
        using LanguageModel quantized = Load(sample.Request.ArtifactPath);
        using Artifact artifact = Artifact.Open(sample.Request.ArtifactPath);
        AssertGreedyTextAgrees(quantized, artifact);
    }

    // Torch multiplies floats: what rounding activations to bytes costs is measured apart.
    private static LanguageModel Load(string path) => LanguageModel.Load(path, new LoadOptions { FloatActivations = true });

    private static void AssertLogitsAgree(LanguageModel model, Artifact? artifact)
    {
        int[] tokens = [.. model.Tokenizer.Encode(File.ReadAllText(SampleFiles.Evaluation)[..600])];
        float[] expected = QuantizedSample.TorchLogits(tokens, artifact);
        float[] actual = model.Logits(tokens);
        Assert.Equal(expected.Length, actual.Length);
        Assert.InRange(expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max(), 0, Tolerance);
    }

    private static void AssertGreedyTextAgrees(LanguageModel model, Artifact? artifact)
    {
        const int most = 64;
        string actual = model.Generate(Prompt, new GenerationOptions { MaxTokens = most, Temperature = 0 });
        // Torch computes the logits behind every token of a text at once. So it is given what the runtime wrote for a guess, and each token it would choose itself counts; where the guess is wrong it goes
        // on from its own, and guesses no more.
        int[] guess = [.. model.Tokenizer.Encode(Prompt + actual)];
        List<int> tokens = [.. model.Tokenizer.Encode(Prompt)];
        int promptLength = tokens.Count, vocabulary = model.Config.VocabularySize;
        bool ended = false;
        while (!ended && tokens.Count < promptLength + most)
        {
            int[] text = guess.AsSpan().StartsWith(tokens.ToArray()) ? guess : [.. tokens];
            float[] logits = QuantizedSample.TorchLogits(text, artifact);
            do
            {
                int best = System.Numerics.Tensors.TensorPrimitives.IndexOfMax(logits.AsSpan((tokens.Count - 1) * vocabulary, vocabulary));
                ended = model.Config.EosTokenIds.Contains(best);
                if (!ended) tokens.Add(best);
            }
            while (!ended && tokens.Count < promptLength + most && tokens.Count <= text.Length && tokens[^1] == text[tokens.Count - 1]);
        }

        Assert.Equal(model.Tokenizer.Decode(tokens.Skip(promptLength)), actual);
    }

    /// <summary>An artifact in which nothing is quantized.</summary>
    private string FloatArtifact(TemporaryFolder folder)
    {
        string path = folder.File("float.safetensors");
        ModelFolder model = ModelFolder.Open(SampleFiles.Model);
        using ModelWeights weights = ModelWeights.Open(model);
        ArtifactWriter.Write(
            path,
            sample.Manifest with { Layers = new Dictionary<string, LayerFormat>() },
            [ArtifactWriter.TokenizerTensor(File.ReadAllBytes(model.TokenizerFile)), .. model.Config.Tensors().Select(tensor => weights.Source(tensor.Key))]);
        return path;
    }
}
