using System.Globalization;
using System.Text.Json;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>The ways in which a GPU is used, on a CPU: the same code.</summary>
public sealed class DeviceUseTests
{
    private readonly QuantizedSample sample = QuantizedSample.Shared;

    [Theory]
    [InlineData(QuantizationMethod.Gptq)]
    [InlineData(QuantizationMethod.Awq)]
    public void A_run_that_reads_and_packs_aside_makes_the_same_bytes(QuantizationMethod method)
    {
        QuantizationSpec spec = new() { Method = method, CalibrationSamples = 2, CalibrationContext = 64 };
        using TemporaryFolder one = new(), other = new();
        WorkerRequest inTurn = QuantizedSample.RequestIn(one.Path, spec) with { ModelPath = SampleFiles.TwoLayers }, aside = QuantizedSample.RequestIn(other.Path, spec) with { ModelPath = SampleFiles.TwoLayers };
        ModelQuantizer.Run(inTurn, _ => { }, CancellationToken.None);
        ModelQuantizer.Run(aside, null, DeviceUse.Cpu with { WorksAhead = true }, _ => { }, CancellationToken.None);
        Assert.Equal(File.ReadAllBytes(inTurn.ArtifactPath), File.ReadAllBytes(aside.ArtifactPath));
    }

    [Fact]
    public void A_run_that_works_aside_and_is_cancelled_goes_on_and_gives_the_same_bytes()
    {
        QuantizationSpec spec = new() { CalibrationSamples = 2, CalibrationContext = 64 };
        DeviceUse ahead = DeviceUse.Cpu with { WorksAhead = true };
        using TemporaryFolder whole = new(), interrupted = new();
        WorkerRequest expected = QuantizedSample.RequestIn(whole.Path, spec), resumed = QuantizedSample.RequestIn(interrupted.Path, spec);
        ModelQuantizer.Run(expected, _ => { }, CancellationToken.None);
        using CancellationTokenSource cancellation = new();
        Assert.ThrowsAny<OperationCanceledException>(() => ModelQuantizer.Run(
            resumed, null, ahead, message => { if (message.Text.StartsWith("layer 3", StringComparison.Ordinal)) cancellation.Cancel(); }, cancellation.Token));
        // The last layer was being written.
        Assert.Equal(3, Directory.GetFiles(new ModelCache(interrupted.Path).WorkFolder(QuantizedSample.Fingerprint), "layer-*.safetensors").Length);
        ModelQuantizer.Run(resumed, null, ahead, _ => { }, CancellationToken.None);
        Assert.Equal(File.ReadAllBytes(expected.ArtifactPath), File.ReadAllBytes(resumed.ArtifactPath));
    }

    [Fact]
    public void Calibrated_in_bfloat16_a_model_is_as_good_and_its_float_perplexity_is_the_same()
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, sample.Request.Spec) with { EvaluationFile = sample.EvaluationFile };
        QualityFigures half = ModelQuantizer.Run(request, null, DeviceUse.Cpu with { Products = torch.bfloat16 }, _ => { }, CancellationToken.None).Quality!, full = sample.Manifest.Quality!;
        Assert.Equal(full.FloatPerplexity, half.FloatPerplexity);
        Assert.NotEqual(full.Perplexity, half.Perplexity);
        Assert.InRange(half.Perplexity / full.Perplexity, 0.99, 1.01);
    }

    [Fact]
    public void A_linear_that_multiplies_in_bfloat16_follows_its_weight()
    {
        NativeLibraries.Load();
        ModelFolder model = ModelFolder.Open(SampleFiles.Model);
        using ModelWeights weights = ModelWeights.Open(model);
        using LayerWeights layer = weights.LoadLayer(model.Config, 0, torch.CPU);
        using torch.Tensor input = torch.tensor(RandomData.Normal(new Random(1), 4 * 256)).view(1, 4, 256);
        float[] Output() => layer.Apply(LinearRole.Query, input).data<float>().ToArray();
        float[] full = Output();
        layer.Products = torch.bfloat16;
        float[] half = Output();
        float largest = full.Max(Math.Abs);
        Assert.NotEqual(full, half);
        Assert.All(full.Zip(half), pair => Assert.InRange(pair.Second - pair.First, -0.02f * largest, 0.02f * largest));
        layer.Replace(LinearRole.Query, torch.zeros(256, 256));
        Assert.All(Output(), value => Assert.Equal(0, value));
    }

    [Fact]
    public void What_cannot_be_written_aside_is_the_error_of_the_next_write_or_of_the_wait()
    {
        ModelFolder model = ModelFolder.Open(SampleFiles.Model);
        using TemporaryFolder folder = new();
        // A file where a folder should be: nobody can write there.
        File.WriteAllText(folder.File("file"), "");
        LayerJournal journal = new(Path.Combine(folder.File("file"), "journal"), new QuantizationPlan(model.Config, new QuantizationSpec()));
        using JournalWriter writer = new(journal, aside: true);
        FinishedLayer nothing = new([.. model.Config.Linears(0).Select(_ => (QuantizedLinear?)null)], new Dictionary<string, float[]>());
        writer.Write(JournalPart.Layer(model.Config, 0), nothing);
        Assert.Equal(DiagnosticIds.NotWritable, Assert.Throws<QuantBuildException>(writer.Wait).Id);
        Assert.Equal(DiagnosticIds.NotWritable, Assert.Throws<QuantBuildException>(() => writer.Write(JournalPart.Layer(model.Config, 1), nothing)).Id);
    }

    [Fact]
    public void An_error_of_a_layer_that_is_read_ahead_and_not_asked_for_takes_the_place_of_no_other()
    {
        NativeLibraries.Load();
        using TemporaryFolder folder = new();
        foreach (string file in Directory.GetFiles(SampleFiles.Model)) File.Copy(file, folder.File(Path.GetFileName(file)));
        ModelFolder model = ModelFolder.Open(folder.Path);
        using ModelWeights weights = ModelWeights.Open(model);
        string path = folder.File("model.safetensors");
        using (FileStream file = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) file.SetLength(EndOfLayer(path, "model.layers.0."));
        using LayerReader reader = new(weights, OnCpu.One, ahead: true, _ => { });
        using (reader.Read(0))
        {
            reader.Dispose();
        }

        Assert.Equal(DiagnosticIds.WeightsMalformed, Assert.Throws<QuantBuildException>(() => weights.LoadLayer(model.Config, 1, torch.CPU)).Id);
    }

    [Fact]
    public void Where_the_host_has_no_pinned_memory_layers_stay_in_ordinary_memory_and_it_is_said_once()
    {
        NativeLibraries.Load();
        ModelFolder model = ModelFolder.Open(SampleFiles.Model);
        using ModelWeights weights = ModelWeights.Open(model);
        List<string> said = [];
        // Libtorch for the CPU has none.
        PinnedMemory pinned = new(text => said.Add(text.ToString(CultureInfo.InvariantCulture)));
        for (int index = 0; index < 2; index++)
        {
            using LayerWeights layer = weights.LoadLayer(model.Config, index, torch.CPU);
            Assert.Same(layer, pinned.Take(layer));
            Assert.NotEqual(0, layer[LinearRole.Query].abs().sum().item<float>());
        }

        Assert.StartsWith("the host has no pinned memory for the next layer, and weights are copied to the GPU from ordinary memory from here on. Torch says: ", Assert.Single(said), StringComparison.Ordinal);
    }

    /// <summary>Where in a file the last tensor ends whose name begins so; those of the layers after it come later.</summary>
    private static long EndOfLayer(string path, string prefix)
    {
        using FileStream file = File.OpenRead(path);
        using BinaryReader reader = new(file);
        long header = reader.ReadInt64();
        using JsonDocument json = JsonDocument.Parse(reader.ReadBytes((int)header));
        return 8 + header + json.RootElement.EnumerateObject().Where(tensor => tensor.Name.StartsWith(prefix, StringComparison.Ordinal)).Max(tensor => tensor.Value.GetProperty("data_offsets")[1].GetInt64());
    }

    [Theory]
    [InlineData(9, 0, true)]
    [InlineData(8, 0, true)]
    [InlineData(7, 5, false)]
    public void A_gpu_multiplies_in_bfloat16_where_it_can_and_a_cpu_does_not(int major, int minor, bool expected)
    {
        DeviceUse use = DeviceUse.Of([new Gpu("GPU", 1, new Version(9, 0)), new Gpu("GPU", 1, new Version(major, minor))]);
        Assert.Equal(new DeviceUse(expected ? torch.bfloat16 : torch.float32, WorksAhead: true), use);
        Assert.Equal(new DeviceUse(torch.float32, WorksAhead: false), DeviceUse.Of([]));
    }
}
