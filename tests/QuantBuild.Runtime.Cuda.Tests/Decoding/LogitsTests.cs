using QuantBuild.Cuda.Emulator;
using QuantBuild.Decoding;
using QuantBuild.Quantization.Tests.Families;
using QuantBuild.Runtime.Tests;

namespace QuantBuild.Cuda.Tests.Decoding;

/// <summary>Logits of the emulated GPU beside those of the processor, which have references of their own.</summary>
public sealed class LogitsTests : IDisposable
{
    // Both round alike; but a number that lies between two steps of a byte, or of a half in a page, may be rounded up by one and down by the other, whose sums have another order. In models
    // as small as these one such number moves a logit by some thousandths of the largest.
    private const double Floats = 1e-3, Bytes = 5e-3, BytesInPages = 1e-2;

    // In prompts queries and weights of attention are halves: a score is right to a two-thousandth of itself. Activations in bytes, of which many would be rounded differently
    // then, and weights of few bits, with which random models have large scores, would hide more than they show.
    private const double Prompts = 1e-2, BytesInPagesOfPrompts = 4e-2;

    // A device that begins a kernel while the one before it runs.
    private const int Overlapping = 9;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>Formats, with a model whose widths are odd for them.</summary>
    public static TheoryData<string, int, int> Formats { get; } = new()
    {
        { "int2 g16", 48, 80 },
        { "int2 g32 zeros", 64, 96 },
        { "int3 g48 zeros ordered", 48, 96 },
        { "int3 g128", 128, 256 },
        { "int4 g96", 96, 192 },
        { "int4 g128 zeros ordered", 128, 256 },
        { "int4 row", 50, 70 },
        { "int4 row zeros", 160, 288 },
        { "int8 g64 zeros", 64, 128 },
        { "int8 row", 72, 100 },
        { "nf4 64", 64, 128 },
        { "nf4 64 nested", 96, 160 },
        { "fp4 32", 50, 70 },
        { "nf4 4096 nested", 160, 96 },
        { "mxfp4 32", 64, 128 },
        { "mxfp4 32", 50, 70 },
        { "int8row 0", 72, 100 },
        { "int8row 1.5", 160, 96 },
        { "f32", 50, 70 },
        { "f16", 72, 100 },
        { "bf16", 64, 96 },
    };

    [Theory]
    [MemberData(nameof(Formats))]
    public void Every_format_gives_the_logits_of_the_processor(string format, int hidden, int intermediate)
    {
        string config = TestArtifact.Config(hidden: hidden, intermediate: intermediate, headDim: 12, vocabulary: 4096);
        string path = TestModel.Write(folder.File("m"), config, linear => TestModel.Format(format, linear), floats: format switch { "f16" => ElementType.F16, "bf16" => ElementType.BF16, _ => ElementType.F32 });
        // One token, as many as the kernel for few takes, and more; a page and a bit.
        Compare(path, new LoadOptions(), [16, 1, 2, 8, 9], Bytes);
        CompareTogether(path, 70, 2 * Bytes);
        Compare(path, new LoadOptions { FloatActivations = true }, [11, 1, 5], Floats);
    }

    /// <summary>Formats, for rows of which each warp has more than it reads ahead.</summary>
    public static TheoryData<string, int> LongRows { get; } = new()
    {
        { "int2 g128", 7168 },
        { "int3 g128 zeros", 7168 },
        { "int4 g128 zeros", 7168 },
        { "int4 g64", 7232 },
        { "int4 g32 zeros", 7200 },
        { "int4 g16", 7184 },
        { "int4 g96 zeros", 7200 },
        { "int8 g128", 7168 },
        { "nf4 64 nested", 7232 },
        { "nf4 256", 7168 },
        { "mxfp4 32", 7200 },
        { "int8row 1.5", 7190 },
    };

    [Theory]
    [MemberData(nameof(LongRows))]
    public void Long_rows_give_the_logits_of_the_processor(string format, int intermediate)
    {
        string config = TestArtifact.Config(hidden: 50, intermediate: intermediate, layers: 1, headDim: 12, vocabulary: 4096);
        string path = TestModel.Write(folder.File("m"), config, linear => linear.Inputs == intermediate ? TestModel.Format(format, linear) : null);
        Compare(path, new LoadOptions(), [1, 3, 8, 17], Bytes, Overlapping);
    }

    [Theory]
    [InlineData(4150, "int4 row")]
    [InlineData(8320, "int4 g64")]
    [InlineData(12384, "int4 g96")]
    public void Wide_residual_streams_give_the_logits_of_the_processor(int hidden, string format)
    {
        string config = TestArtifact.Config(hidden: hidden, intermediate: 24, layers: 1, headDim: 12, vocabulary: 4096, tied: true);
        string path = TestModel.Write(folder.File("m"), config, linear => linear.Name.Contains("layers") ? TestModel.Format(format, linear) : null);
        Compare(path, new LoadOptions(), [1, 2], Bytes, Overlapping);
    }

    public static TheoryData<string> Families { get; } = [.. FamilyReference.All.Select(family => family.Name)];

    [Theory]
    [MemberData(nameof(Families))]
    public void Every_family_gives_the_logits_of_the_processor(string name)
    {
        FamilyReference family = FamilyReference.All.Single(family => family.Name == name);
        string config = family.Config;
        LoadOptions halves = new() { ContextLength = family.Context }, bytes = halves with { KvCache = KvPrecision.Int8 };
        string path = TestModel.Write(folder.File("m"), config, linear => linear.Name.Contains("layers") ? TestModel.Format(linear.Inputs % 32 == 0 ? "int4 g32 zeros" : "int4 row zeros", linear) : null);
        Compare(path, halves, [16, 1, 15, 1, 7], Bytes, Overlapping);
        Compare(path, bytes, [16, 14, 3, 2, 10], BytesInPages);
        // Where a router chooses between experts that are almost equal, it may choose the other.
        if (DecoderConfig.Parse(config, "config.json") is { Experts: > 0 } parsed && parsed.ExpertsPerToken < parsed.Experts) return;
        string floats = TestModel.Write(folder.File("floats"), config, _ => null);
        Compare(floats, halves, [70, 1, 20], Prompts);
        Compare(floats, bytes, [70, 1, 20], BytesInPagesOfPrompts);
    }

    /// <summary>Whole layers with experts, steps of each size once queued and then repeated as they were captured. All experts see each token: none is chosen in another's place.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Experts_of_any_packing_give_the_logits_of_the_processor(bool floatActivations)
    {
        const string config = """
            {"architectures": ["MixtralForCausalLM"], "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
             "vocab_size": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": null, "num_local_experts": 3, "num_experts_per_tok": 3}
            """;
        string[] unlike = ["int4 g32 zeros ordered", "nf4 64", "int8row 1.5"];
        // Of the first layer each has an order of its own, in the second they are packed unlike, in the third they have outliers, whose other inputs are bytes in any case.
        string path = TestModel.Write(folder.File("m"), config, linear => !linear.Name.Contains(".experts.") ? null : TestModel.Format(
            linear.Name.Split('.')[2] switch { "0" => unlike[0], "1" => unlike[int.Parse(linear.Name.Split('.')[^2])], _ => unlike[2] }, linear));
        Compare(path, new LoadOptions { FloatActivations = floatActivations }, [16, 1, 1, 1, 3, 3, 3, 8, 8, 12], Bytes, Overlapping);
    }

    /// <summary>A text that is long enough to be divided between blocks gives the logits of the processor, and the same to the bit whatever is computed beside it.</summary>
    [Theory]
    [InlineData(KvPrecision.Float16, 1e-3)]
    [InlineData(KvPrecision.Int8, 2e-3)]
    public void Long_texts_do_not_depend_on_what_is_computed_beside_them(KvPrecision precision, double tolerance)
    {
        string path = TestModel.Write(folder.File("m"), TestArtifact.Config(layers: 1, vocabulary: 600, context: 512), _ => null);
        LoadOptions options = new() { FloatActivations = true, KvCache = precision };
        using TestGpu gpu = new(new EmulatedGpuOptions { CheckRaces = true, CheckUninitialised = true });
        using LanguageModel expected = LanguageModel.Load(path, options with { Device = "cpu" });
        using LanguageModel actual = LanguageModel.Load(path, options with { Device = "cuda", Backend = gpu.Backend });
        int[] tokens = [.. Enumerable.Range(0, 300).Select(i => (i * 37) % 600)];
        // Sixteen at a time: none are a prompt, whose weights of attention are halves.
        int[] pieces = [.. Enumerable.Repeat(16, 18), 12];
        Compare(Sequence.Logits(expected, tokens, pieces), Sequence.Logits(actual, tokens, pieces), tolerance);
        float[] Next(LanguageModel model, int others)
        {
            using KvCache cache = model.CreateCache();
            model.Feed(cache, tokens, new float[tokens.Length * 600], CancellationToken.None);
            KvCache[] caches = [.. Enumerable.Range(0, others).Select(_ => model.CreateCache())];
            foreach (KvCache other in caches) model.Forward([new BatchPart(other, tokens.AsMemory(0, 40 * (Array.IndexOf(caches, other) + 1)))]);
            float[] logits = new float[600];
            model.Forward([.. caches.Select(other => new BatchPart(other, new[] { 5 })), new BatchPart(cache, new[] { 7 }) { Logits = logits }]);
            foreach (KvCache other in caches) other.Dispose();
            return logits;
        }

        Assert.Equal(Next(actual, 0), Next(actual, 7));
        Assert.Empty(gpu.Violations);
    }

    /// <summary>Feeds a text in pieces of some sizes, to both, and compares the logits of every token.</summary>
    private static void Compare(string path, LoadOptions options, int[] pieces, double tolerance, int capability = 8)
    {
        using TestGpu gpu = new(new EmulatedGpuOptions { CheckRaces = true, CheckUninitialised = true, Devices = [new EmulatedDeviceOptions { Major = capability }] });
        using LanguageModel expected = LanguageModel.Load(path, options with { Device = "cpu" });
        using LanguageModel actual = LanguageModel.Load(path, options with { Device = "cuda", Backend = gpu.Backend });
        Assert.Equal(expected.Config.Layers, actual.Placement.DeviceLayers);
        Random random = new(5);
        int[] tokens = [.. Enumerable.Range(0, pieces.Sum()).Select(_ => random.Next(expected.Config.VocabularySize))];
        Compare(Sequence.Logits(expected, tokens, pieces), Sequence.Logits(actual, tokens, pieces), tolerance);
        Assert.Empty(gpu.Violations);
    }

    /// <summary>Computes the second token of many texts in one pass.</summary>
    private static void CompareTogether(string path, int texts, double tolerance)
    {
        using TestGpu gpu = new(new EmulatedGpuOptions { CheckRaces = true, CheckUninitialised = true });
        using LanguageModel expected = LanguageModel.Load(path, new LoadOptions { Device = "cpu" });
        using LanguageModel actual = LanguageModel.Load(path, new LoadOptions { Device = "cuda", Backend = gpu.Backend });
        Compare(Sequence.Together(expected, texts), Sequence.Together(actual, texts), tolerance);
        Assert.Empty(gpu.Violations);
    }

    private static void Compare(float[] right, float[] found, double tolerance)
    {
        float largest = right.Max(Math.Abs);
        Assert.InRange(largest, 0.1f, 1e4f);
        int worst = Enumerable.Range(0, right.Length).MaxBy(i => Math.Abs(right[i] - found[i]));
        Assert.True(Math.Abs(right[worst] - found[worst]) <= tolerance * largest, $"logit {worst} is {found[worst]}, expected {right[worst]}; the largest is {largest}");
    }
}
