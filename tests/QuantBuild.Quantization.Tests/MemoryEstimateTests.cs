using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>What a run says of its memory and disk before it begins, and that it keeps to it.</summary>
public sealed class MemoryEstimateTests
{
    private readonly QuantizedSample sample = QuantizedSample.Shared;

    private static readonly DecoderConfig Config = ModelFolder.Open(SampleFiles.Model).Config;

    private static readonly QuantizationSpec Quick = new() { Bits = 3, CalibrationSamples = 4, CalibrationContext = 128, EvaluationContext = 128 };

    [Fact]
    public void Weights_without_texts_take_two_layers_or_the_table_that_is_quantized()
    {
        Texts none = new(null, 0, null, EvaluationText.HeldOut);
        // q and o are 256 x 256, k and v 128 x 256, the MLP three times 768 x 256; two norms.
        const long layer = ((2 * 256 * 256) + (2 * 128 * 256) + (3 * 768 * 256) + (2 * 256)) * 4;
        MemoryEstimate rtn = Estimate(new QuantizationSpec { Method = QuantizationMethod.Rtn }, none);
        Assert.Equal(new MemoryStep("a decoder layer", 2 * layer, 0), rtn.Largest);
        Assert.Equal((500_000_000 + (2 * layer), 0, 500_000_000 + (2 * layer)), (rtn.Fixed, rtn.Activations, rtn.Total));

        MemoryEstimate tables = Estimate(new QuantizationSpec { Method = QuantizationMethod.Rtn, Override = "embed_tokens: Bits=8" }, none);
        Assert.Equal(new MemoryStep("the embedding", 2 * 4096 * 256 * 4, 0), tables.Largest);
    }

    [Fact]
    public void Activations_are_those_of_every_stream()
    {
        Texts texts = new(Windows(6 * 128, 128), 6 * 128, Windows(10 * 64, 64), EvaluationText.EvaluationData);
        Assert.Equal(6 * 128, texts.Sample!.Tokens.Length);
        const long calibration = 6 * 128, evaluation = 10 * 64;
        // Calibration twice, once with its attention outputs; evaluation twice; the sample.
        Assert.Equal(((calibration * ((2 * 256) + 256)) + (((2 * evaluation) + calibration) * 256)) * 4, Estimate(new QuantizationSpec(), texts).Activations);
        Assert.Equal(
            ((calibration * (256 + 256)) + (((2 * evaluation) + calibration) * 256)) * 4,
            Estimate(new QuantizationSpec { ErrorCorrection = false }, texts).Activations);
        Assert.Equal(
            ((calibration * 256) + (((2 * evaluation) + calibration) * 256)) * 4, Estimate(new QuantizationSpec { TrueSequential = false }, texts).Activations);
    }

    [Fact]
    public void What_memory_has_no_room_for_goes_to_disk()
    {
        MemoryEstimate estimate = new(new MemoryStep("a decoder layer", 30_000_000, 70_000_000), 400_000_000, 900_000_000);
        Assert.Equal((600_000_000, 300_000_000, 100_000_000, 900_000_000), (estimate.Fixed, estimate.ActivationBudget, estimate.OnDisk, estimate.Total));
        Assert.Equal(
            "memory: about 900 MB at most: 30 MB for the weights of a decoder layer, 70 MB to work on them, activations 400 MB (100 MB on disk), 500 MB for torch; MaxMemory 900 MB",
            estimate.ToString());
        estimate.Check(declared: true);
        MemoryEstimate roomy = estimate with { Limit = 1L << 40 };
        Assert.Equal((0, 1_000_000_000), (roomy.OnDisk, roomy.Total));
        MemoryEstimate tight = estimate with { Limit = 600_000_000 };
        Assert.Equal((400_000_000, 600_000_000), (tight.OnDisk, tight.Total));
        tight.Check(declared: true);
    }

    [Fact]
    public void A_gpu_needs_a_layer_its_copy_and_the_matrices_and_is_refused_where_the_smallest_batches_do_not_fit()
    {
        Gpu gpu = new("NVIDIA GeForce GT 710", 2_000_000_000, new Version(8, 6));
        Texts texts = new(Windows(6 * 128, 128), 6 * 128, Windows(10 * 64, 64), EvaluationText.EvaluationData);
        GpuMemoryEstimate half = GpuMemoryEstimate.Of(new QuantizationPlan(Config, new QuantizationSpec()), texts, torch.CPU, DeviceUse.Cpu with { Products = torch.bfloat16 }, [gpu]);
        GpuMemoryEstimate full = GpuMemoryEstimate.Of(new QuantizationPlan(Config, new QuantizationSpec()), texts, torch.CPU, DeviceUse.Cpu, [gpu]);
        Assert.Equal(MemoryEstimate.LargestLayer(Config) / 2, half.Largest.Weights - full.Largest.Weights);
        Assert.InRange(full.Least, GpuMemoryEstimate.Context + MemoryEstimate.LargestLayer(Config), GpuMemoryEstimate.Context + full.Largest.Weights + full.Largest.Work);
        half.Check();
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => (half with { Largest = new("a decoder layer", 1_417_000_000, 0), Least = 3_128_000_000 }).Check());
        AssertShown("QB1055", error);
    }

    [Fact]
    public void Layers_with_experts_and_without_are_reckoned_each_by_what_it_has()
    {
        static DecoderConfig Of(string dense) => DecoderConfig.Parse(
            $$"""
            {"architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 64, "intermediate_size": 4096, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16, "vocab_size": 258,
             "num_experts": 128, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "mlp_only_layers": [{{dense}}]}
            """,
            "config.json");
        static MemoryStep[] Steps(string dense) => [.. MemoryEstimate.Steps(new QuantizationPlan(Of(dense), new QuantizationSpec { GroupSize = 16 }), new Pace(1, 16, 1, 16))];
        // The matrix of a dense MLP's last linear is larger than all of an expert's, and the experts' weights than the MLP's.
        MemoryStep[] mixed = Steps("0"), dense = Steps("0, 1"), experts = Steps("");
        Assert.Equal(dense.Max(step => step.Work), mixed.Max(step => step.Work));
        Assert.Equal(experts.Max(step => step.Weights), mixed.Max(step => step.Weights));
        Assert.True(dense.Max(step => step.Work) > experts.Max(step => step.Work) && dense.Max(step => step.Weights) < experts.Max(step => step.Weights));
    }

    [Fact]
    public void A_gpu_needs_more_where_rounding_is_learned_and_where_the_head_is_calibrated()
    {
        Gpu gpu = new("NVIDIA GeForce GT 710", 2_000_000_000, new Version(8, 6));
        Texts texts = new(Windows(6 * 128, 128), 6 * 128, Windows(10 * 64, 64), EvaluationText.EvaluationData);
        long layer = MemoryEstimate.LargestLayer(Config);
        GpuMemoryEstimate Of(QuantizationSpec spec) => GpuMemoryEstimate.Of(new QuantizationPlan(Config, spec), texts, torch.CPU, DeviceUse.Cpu, [gpu]);
        QuantizationSpec learned = new() { Method = QuantizationMethod.AutoRound };
        // The layer, its trained weights, their gradients, and those of a window.
        Assert.InRange(Of(learned).Least, GpuMemoryEstimate.Context + (4 * layer), long.MaxValue);
        // The head, the quantized one, and three of them and a matrix while it is quantized.
        Assert.InRange(Of(new QuantizationSpec { Override = "lm_head: Bits=4" }).Least, GpuMemoryEstimate.Context + (5 * MemoryEstimate.Bytes(Config.Head)), long.MaxValue);
    }

    [Fact]
    public void The_examples_of_the_pages_are_the_messages_that_the_code_gives()
    {
        AssertShown("QB1008", Assert.Throws<QuantBuildException>(() => new MemoryEstimate(
            new MemoryStep("a decoder layer", 1_619_066_880, 5_330_960_384), 21_474_836_480, 4_000_000_000).Check(declared: true)));
        AssertShown("QB1003", DiskEstimate.TooSmall("/home/ann/.local/share/QuantBuild", new DiskEstimate(3_600_000_000, 4_100_000_000, 0), 1_200_000_000));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_limit_below_what_is_needed_is_QB1008_before_any_work(bool declared)
    {
        MemoryEstimate estimate = new(new MemoryStep("the head", 300, 200), 0, 499_999_999);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => estimate.Check(declared));
        Assert.Equal(DiagnosticIds.MemoryTooLittle, error.Id);
        Assert.Contains(declared ? "needs at least 501 MB of memory, and MaxMemory allows 500 MB" : "and this machine has 500 MB free", error.Message, StringComparison.Ordinal);
        if (!declared) return;

        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, Quick) with { MaxMemory = 400_000_000 };
        Assert.Equal(
            DiagnosticIds.MemoryTooLittle,
            Assert.Throws<QuantBuildException>(() => ModelQuantizer.Run(request, _ => { }, CancellationToken.None)).Id);
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public void Activations_on_disk_give_the_same_bytes_as_in_memory()
    {
        using TemporaryFolder inMemory = new(), onDisk = new();
        WorkerRequest request = QuantizedSample.RequestIn(inMemory.Path, Quick) with { EvaluationFile = sample.EvaluationFile };
        ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        BuildRecord record = BuildRecord.TryRead(request.BuildRecordPath)!;

        Texts texts = Texts.Read(request, Config, TextTokenizer.Load(File.ReadAllBytes(Path.Combine(SampleFiles.Model, "tokenizer.json")), "tokenizer.json"));
        MemoryEstimate needed = MemoryEstimate.Of(new QuantizationPlan(Config, Quick), texts, torch.CPU, long.MaxValue);
        Assert.Equal(needed.Total, record.EstimatedMemoryBytes);

        // Not a byte for activations: each batch is a file.
        WorkerRequest limited = QuantizedSample.RequestIn(onDisk.Path, Quick) with { EvaluationFile = sample.EvaluationFile, MaxMemory = needed.Fixed };
        int most = 0;
        List<string> said = [];
        ModelQuantizer.Run(
            limited,
            message =>
            {
                said.Add(message.Text);
                most = Math.Max(most, Directory.GetFiles(onDisk.Path, "activations-*.tmp", SearchOption.AllDirectories).Length);
            },
            CancellationToken.None);
        Assert.True(most > 0);
        Assert.Contains(said, text => text.Contains($"({MemoryLimit.Text(needed.Activations)} on disk)", StringComparison.Ordinal));
        Assert.Equal(File.ReadAllBytes(request.ArtifactPath), File.ReadAllBytes(limited.ArtifactPath));
        Assert.Empty(Directory.GetFiles(onDisk.Path, "*.tmp", SearchOption.AllDirectories));
    }

    [Fact]
    public void A_store_keeps_what_fits_and_writes_the_rest_and_a_run_that_fails_leaves_no_file()
    {
        using TemporaryFolder folder = new();
        using DisposeScope scope = torch.NewDisposeScope();
        using (ActivationStore store = new(folder.Path, memoryBudget: 100))
        {
            float[] values = [.. Enumerable.Range(0, 20).Select(i => i / 3f)];
            using StoredActivation first = store.Keep(torch.tensor(values)), second = store.Keep(torch.tensor(values).view(4, 5));
            Assert.Null(first.Path);
            Assert.NotNull(second.Path);
            Assert.Equal(80, store.PeakFileBytes);
            Assert.Equal(values, second.Load().data<float>().ToArray());
            Assert.Equal([4L, 5L], second.Load().shape);

            first.Dispose();
            using StoredActivation third = store.Keep(torch.tensor(values));
            Assert.Null(third.Path);
            // Nobody disposes of this one.
            store.Keep(torch.tensor(values));
            Assert.Equal(2, Directory.GetFiles(folder.Path).Length);
        }

        Assert.Empty(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void The_disk_that_is_reckoned_with_is_what_the_tensors_take()
    {
        foreach (QuantizationSpec spec in new QuantizationSpec[]
        {
            sample.Request.Spec,
            new() { Method = QuantizationMethod.Rtn, Bits = 3, Symmetric = true, GroupSize = QuantizationSpec.PerChannel, Override = "lm_head: Bits=8" },
            new() { Method = QuantizationMethod.Nf4 },
            new() { Method = QuantizationMethod.Fp4, DoubleQuantization = false },
            new() { Method = QuantizationMethod.Int8 },
        })
        {
            using TemporaryFolder folder = new();
            WorkerRequest request = sample.Request;
            if (spec != request.Spec) ModelQuantizer.Run(request = QuantizedSample.RequestIn(folder.Path, spec), _ => { }, CancellationToken.None);
            using Artifact artifact = Artifact.Open(request.ArtifactPath);
            ModelFolder model = ModelFolder.Open(SampleFiles.Model);
            using ModelWeights weights = ModelWeights.Open(model);
            QuantizationPlan plan = new(model.Config, spec);
            DiskEstimate estimate = DiskEstimate.Of(plan, weights, new LayerJournal(folder.Path, plan), 7);
            Assert.Equal(artifact.File.Tensors.Values.Where(tensor => !tensor.Name.Contains("tokenizer", StringComparison.Ordinal)).Sum(tensor => tensor.ByteLength), estimate.Artifact);
            // The float tensors alone are not in the journal.
            HashSet<string> quantized = [.. plan.Quantized.Select(linear => linear.WeightName)];
            Assert.Equal(
                model.Config.Tensors().Where(tensor => !quantized.Contains(tensor.Key)).Sum(tensor => weights.Source(tensor.Key).ByteLength),
                estimate.Artifact - estimate.Journal);
            Assert.Equal(7, estimate.Activations);
        }
    }

    [Fact]
    public void A_disk_with_too_little_room_is_QB1003_with_expected_and_actual()
    {
        using TemporaryFolder folder = new();
        QuantBuildException error = Assert.Throws<QuantBuildException>(
            () => new DiskEstimate(1, 1L << 60, 2).Check(new ModelCache(folder.File("cache")), folder.File("elsewhere/artifacts")));
        Assert.Equal(DiagnosticIds.DiskFull, error.Id);
        Assert.Contains("1,152,921,504.6 GB for the artifact", error.Message, StringComparison.Ordinal);
        Assert.StartsWith($"The disk of {folder.File("cache")} has too little room", error.Message, StringComparison.Ordinal);
        Assert.Matches(@"and [0-9,.]+ [MG]B are free", error.Message);
        Assert.Contains("QUANTBUILD_CACHE", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Cache_and_artifact_folder_on_one_disk_need_their_room_together()
    {
        using TemporaryFolder folder = new();
        long most = FreeDisk.Bytes(folder.Path)!.Value / 10 * 6;
        ModelCache cache = new(folder.File("cache"));
        new DiskEstimate(most, 0, 0).Check(cache, folder.File("artifacts"));
        new DiskEstimate(0, most, 0).Check(cache, folder.File("artifacts"));
        Assert.Equal(DiagnosticIds.DiskFull, Assert.Throws<QuantBuildException>(() => new DiskEstimate(most, most, 0).Check(cache, folder.File("artifacts"))).Id);
    }

    [Fact]
    public void A_folder_is_of_the_disk_whose_root_has_its_first_names_and_not_its_first_letters()
    {
        string root = Path.GetPathRoot(Path.GetTempPath())!, data = Path.Combine(root, "data"), inside = Path.Combine(data, "inside");
        string[] roots = [data, root, inside];
        Assert.Equal(data, FreeDisk.RootOf(Path.Combine(data, "cache"), roots));
        Assert.Equal(data, FreeDisk.RootOf(data, roots));
        Assert.Equal(inside, FreeDisk.RootOf(Path.Combine(inside, "cache"), roots));
        Assert.Equal(root, FreeDisk.RootOf(Path.Combine(root, "database"), roots));
        Assert.Equal(root, FreeDisk.RootOf(Path.Combine(root, "..data"), roots));
        Assert.Null(FreeDisk.RootOf(root, [data]));
    }

    private static MemoryEstimate Estimate(QuantizationSpec spec, Texts texts) => MemoryEstimate.Of(new QuantizationPlan(Config, spec), texts, torch.CPU, long.MaxValue);

    private static TokenWindows Windows(int tokens, int length) => new([.. Enumerable.Range(0, tokens).Select(i => i % 4096)], length);

    private static void AssertShown(string id, QuantBuildException error)
    {
        Assert.Equal(id, error.Id);
        string page = File.ReadAllText(Path.Combine(SampleFiles.Root, "docs", "diagnostics", id + ".md"));
        Assert.Contains($"error {id}: {error.Message}\n", page, StringComparison.Ordinal);
    }
}
