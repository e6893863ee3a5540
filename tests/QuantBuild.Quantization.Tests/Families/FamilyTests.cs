namespace QuantBuild.Quantization.Tests.Families;

/// <summary>Both forward passes against an independent one in float64, for a small model of each family.</summary>
public sealed class FamilyTests
{
    // Of the largest logit. Torch computes in float32; measured: up to 3e-6.
    private const double TorchTolerance = 2e-5;

    // The runtime keeps keys and values in half precision; measured: up to 2e-3.
    private const double RuntimeTolerance = 4e-3;

    // Scores of two experts that are nearer than this are as good as equal.
    private const float NearTie = 3e-3f;

    public FamilyTests() => NativeLibraries.Load();

    public static TheoryData<string> Names { get; } = [.. FamilyReference.All.Select(family => family.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void The_logits_of_torch_are_those_of_the_reference(string name)
    {
        using FamilyModel model = FamilyModel.Of(name);
        AssertNear(model.Expected, QuantizedSample.TorchLogits(model.Tokens, null, model.Folder.Path), TorchTolerance);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void The_logits_of_the_runtime_are_those_of_the_reference_and_do_not_depend_on_what_is_computed_at_once(string name)
    {
        using FamilyModel model = FamilyModel.Of(name);
        // Weights that are quantized already stay so.
        string path = model.Folder.Config.Quantization is { Spec: { } spec } ? model.Quantize(spec).Path : model.FloatArtifact();
        using LanguageModel runtime = LanguageModel.Load(path, model.Loading);
        float[] logits = runtime.Logits(model.Tokens);
        AssertNear(model.Expected, logits, RuntimeTolerance);
        int vocabulary = runtime.Config.VocabularySize;
        foreach (int length in new[] { 1, 6, 33 })
        {
            Assert.Equal(logits[..(length * vocabulary)], runtime.Logits(model.Tokens.AsSpan(0, length)));
        }
    }

    // Each odd shape once, and each method where it has a rule for one: fused and transposed tensors, biases, norms that are shared or behind, offsets of norms, no gate, experts.
    [Theory]
    [InlineData("Qwen2", "Gptq", true)]
    [InlineData("Phi3", "Gptq", false)]
    [InlineData("Phi3.5-longrope-long", "Gptq", false)]
    [InlineData("Gemma2", "Gptq", true)]
    [InlineData("Granite", "Gptq", true)]
    [InlineData("GPT-2", "Gptq", true)]
    [InlineData("Pythia", "Gptq", true)]
    [InlineData("Falcon-40b", "Gptq", false)]
    [InlineData("BLOOM", "Gptq", true)]
    [InlineData("Phi2", "Gptq", true)]
    [InlineData("StarCoder", "Awq", true)]
    [InlineData("MPT", "Awq", true)]
    [InlineData("Falcon-RW", "AutoRound", true)]
    [InlineData("Qwen3Moe", "Gptq", true)]
    [InlineData("Mixtral", "Gptq", false)]
    [InlineData("Mixtral-every-expert", "Gptq", true)]
    [InlineData("Llama-with-biases", "Awq", true)]
    [InlineData("Gemma3", "Awq", true)]
    [InlineData("Olmo2", "Awq", true)]
    [InlineData("StableLM", "Awq", false)]
    [InlineData("Cohere", "Awq", true)]
    [InlineData("Command-R-plus", "Awq", true)]
    [InlineData("StableLM-12b", "Gptq", true)]
    [InlineData("Starcoder2", "Awq", true)]
    [InlineData("Mixtral", "Awq", true)]
    [InlineData("Llama2", "AutoRound", true)]
    [InlineData("GPT-NeoX-sequential", "AutoRound", true)]
    [InlineData("Cohere", "AutoRound", true)]
    [InlineData("Mixtral", "AutoRound", true)]
    [InlineData("OPT", "Nf4", true)]
    [InlineData("OPT-350m", "Gptq", true)]
    [InlineData("OPT-350m", "AutoRound", false)]
    [InlineData("GLM-4-0414", "Gptq", true)]
    [InlineData("InternLM2", "Gptq", false)]
    [InlineData("Nemotron", "Awq", true)]
    [InlineData("Exaone4", "Awq", true)]
    [InlineData("Gemma3-with-vision", "AutoRound", true)]
    [InlineData("GPT-OSS", "Gptq", true)]
    [InlineData("Qwen2Moe", "Gptq", true)]
    [InlineData("Qwen2Moe-every-other-layer", "Gptq", false)]
    [InlineData("Qwen2Moe-every-other-layer", "Awq", true)]
    [InlineData("Qwen3Moe-dense-layers", "AutoRound", true)]
    [InlineData("OLMoE", "Awq", true)]
    [InlineData("GraniteMoe", "Gptq", true)]
    public void A_quantized_model_runs_as_torch_does_on_its_weights_and_is_near_the_float_one(string name, string method, bool trueSequential)
    {
        using FamilyModel model = FamilyModel.Of(name);
        QuantizationMethod how = Enum.Parse<QuantizationMethod>(method);
        (string path, List<WorkerMessage> messages) = model.Quantize(new QuantizationSpec
        {
            Method = how, Bits = how == QuantizationMethod.Nf4 ? 4 : 8, GroupSize = how == QuantizationMethod.Nf4 ? 64 : 16, TrueSequential = trueSequential, CalibrationContext = 32, Iterations = 4,
        });
        using Artifact artifact = Artifact.Open(path);
        artifact.VerifyChecksums();
        Assert.Equal(Enumerable.Range(0, model.Folder.Config.Layers).Sum(layer => model.Folder.Config.Linears(layer).Count), artifact.Manifest.Layers.Count);
        using LanguageModel runtime = LanguageModel.Load(path, model.Loading);
        float[] logits = runtime.Logits(model.Tokens);
        DecoderConfig config = model.Folder.Config;
        bool chooses = config.ExpertsPerToken < config.Experts;
        float[]? margins = chooses ? [.. Enumerable.Repeat(float.MaxValue, model.Tokens.Length)] : null;
        double[] expected = [.. QuantizedSample.TorchLogits(model.Tokens, artifact, model.Folder.Path, margins).Select(value => (double)value)];
        if (!chooses)
        {
            AssertNear(expected, logits, RuntimeTolerance);
        }
        else
        {
            // Keys in half precision can decide for the other of two experts that are as good as equal. Measured: one token of one model, 5e-4 apart, where the next is at 4e-2.
            int[] decided = [.. Enumerable.Range(0, margins!.Length).Where(token => margins[token] > NearTie)];
            Assert.InRange(decided.Length, model.Tokens.Length - 2, model.Tokens.Length);
            double largest = expected.Max(Math.Abs);
            Assert.All(decided, token => AssertNear(Row(expected, token), Row(logits, token), RuntimeTolerance, largest));
        }

        if (chooses) Assert.Equal(name is "Qwen3Moe" or "OLMoE", messages.Any(message => message.Code == DiagnosticIds.ExpertsStarved && message.Text.Contains("model.layers.0.mlp.experts.1", StringComparison.Ordinal)));
        // Measured with 8 bits: up to 0.03, but for the one or two tokens of a model for which the rounded one chooses other experts. A few steps of learned rounding are worse than none: Llama's own is at 0.41 here, and experts are chosen anew.
        IEnumerable<double> errors = Enumerable.Range(0, model.Tokens.Length).Select(token => Row(model.Expected, token).Zip(Row(logits, token), (e, a) => Math.Pow(e - a, 2)).Sum());
        double error = Math.Sqrt(errors.Order().SkipLast(chooses ? 2 : 0).Sum() / model.Expected.Sum(e => e * e));
        Assert.InRange(error, 0, how switch { QuantizationMethod.AutoRound => 0.7, QuantizationMethod.Nf4 => 0.3, _ => 0.06 });
        T[] Row<T>(T[] rows, int token) => rows[(token * config.VocabularySize)..((token + 1) * config.VocabularySize)];
    }

    [Theory]
    [InlineData("Mixtral")]
    [InlineData("Qwen3Moe")]
    [InlineData("Qwen2Moe-every-other-layer")]
    public void A_budget_gives_every_expert_a_width_and_the_disk_that_is_reckoned_with_is_what_they_take(string name)
    {
        using FamilyModel model = FamilyModel.Of(name);
        DecoderConfig config = model.Folder.Config;
        (string path, _) = model.Quantize(new QuantizationSpec { Method = QuantizationMethod.Rtn, TargetBitsPerWeight = 5, GroupSize = 16, CalibrationContext = 32 });
        using Artifact artifact = Artifact.Open(path);
        LinearShape[] linears = [.. Enumerable.Range(0, config.Layers).SelectMany(config.Linears)];
        Dictionary<string, int> widths = linears.ToDictionary(linear => linear.Name, linear => ((IntAffineFormat)artifact.Manifest.Layers[linear.Name]).Bits);
        // A bias is in the budget of no linear, nor in the journal.
        long bytes = linears.Sum(linear => artifact.File.Tensors.Values
            .Where(tensor => tensor.Name.StartsWith(linear.Name + ".", StringComparison.Ordinal) && tensor.Name != linear.BiasName).Sum(tensor => tensor.ByteLength));
        Assert.InRange(8.0 * bytes / linears.Sum(linear => (double)linear.Inputs * linear.Outputs), 4.9, 5);
        // What the router asks for often is worth more bits than what it asks for seldom.
        Assert.True(linears.Where(linear => linear.Name.Contains(".experts.", StringComparison.Ordinal)).Select(linear => widths[linear.Name]).Distinct().Count() > 1);
        using LanguageModel runtime = LanguageModel.Load(path);
        Assert.All(runtime.Logits(model.Tokens), logit => Assert.True(float.IsFinite(logit)));

        using ModelWeights weights = ModelWeights.Open(model.Folder);
        QuantizationPlan plan = new(config, new QuantizationSpec { Method = QuantizationMethod.Rtn, TargetBitsPerWeight = 5, GroupSize = 16 }, widths);
        using TemporaryFolder empty = new();
        DiskEstimate disk = DiskEstimate.Of(plan, weights, new LayerJournal(empty.Path, plan), 0);
        Assert.Equal(artifact.File.Tensors.Values.Where(tensor => !tensor.Name.Contains("tokenizer", StringComparison.Ordinal)).Sum(tensor => tensor.ByteLength), disk.Artifact);
        Assert.Equal(bytes, disk.Journal);
    }

    private static void AssertNear(double[] expected, float[] actual, double tolerance) => AssertNear(expected, actual, tolerance, expected.Max(Math.Abs));

    private static void AssertNear(double[] expected, float[] actual, double tolerance, double largest)
    {
        Assert.Equal(expected.Length, actual.Length);
        Assert.InRange(expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max() / largest, 0, tolerance);
    }
}
