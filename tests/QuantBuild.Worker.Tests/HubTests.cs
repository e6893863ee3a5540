using System.Diagnostics;
using System.Text;
using QuantBuild.Tests;

namespace QuantBuild.Worker.Tests;

/// <summary>Models of the hub on the command line, from one on the loopback interface.</summary>
public sealed class HubTests : IDisposable
{
    private readonly LoopbackHub hub = new();
    private readonly string folder = Directory.CreateTempSubdirectory("quantbuild-worker-hub-").FullName;

    private (string Name, string Value)[] Environment =>
        [("HF_ENDPOINT", hub.Address), ("HF_HOME", Path.Combine(folder, "huggingface")), ("HF_HUB_OFFLINE", "0"), (ModelCache.RootVariable, Path.Combine(folder, "cache"))];

    public void Dispose()
    {
        hub.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void A_model_is_quantized_by_its_id_and_is_called_by_its_name()
    {
        string commit = Push();
        string output = Path.Combine(folder, "out.safetensors");
        CommandLineRun run = CommandLineRun.Of(Environment, "", "quantize", "org/gutenberg-7m", "--revision", "main", "--method", "Rtn", "--device", "cpu", "-o", output);
        Assert.True(run.ExitCode == 0, run.Error);
        using Artifact artifact = Artifact.Open(output);
        Assert.Equal(("gutenberg-7m", commit), (artifact.Manifest.ModelName, artifact.Manifest.ModelRevision));
        Assert.Contains("downloaded model.safetensors of org/gutenberg-7m", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_of_the_hub_that_is_quantized_already_is_taken_as_it_is_and_what_contradicts_it_is_found_before_its_weights_are_downloaded()
    {
        ModelFolder sample = ModelFolder.Open(SampleFiles.Model);
        string weights = Path.Combine(folder, "int8.safetensors");
        using (SafetensorsFile file = SafetensorsFile.Open(sample.WeightFiles[0], "QB2005"))
        {
            HashSet<string> linears = [.. Enumerable.Range(0, sample.Config.Layers).SelectMany(sample.Config.Linears).Select(linear => linear.WeightName)];
            SafetensorsWriter.Write(weights, new Dictionary<string, string>(), [.. file.Tensors.Values.SelectMany<TensorEntry, TensorSource>(entry => linears.Contains(entry.Name)
                ? [
                    TensorSource.FromBytes(entry.Name, ElementType.I8, [.. entry.Shape], [.. Enumerable.Range(0, (int)(entry.Shape[0] * entry.Shape[1])).Select(i => (byte)(i % 100))]),
                    TensorSource.FromBytes(entry.Name.Replace(".weight", ".SCB", StringComparison.Ordinal), ElementType.F32, [entry.Shape[0]], new byte[4 * entry.Shape[0]]),
                ]
                : [TensorSource.FromBytes(entry.Name, entry.Type, [.. entry.Shape], file.Bytes(entry).ToArray())])]);
        }

        string config = sample.ConfigJson.TrimEnd().TrimEnd('}') + """,  "quantization_config": {"quant_method":"bitsandbytes","load_in_8bit":true} }""";
        hub.Add("org/int8").Push("main", ("config.json", Encoding.UTF8.GetBytes(config)), ("model.safetensors", File.ReadAllBytes(weights)), ("tokenizer.json", File.ReadAllBytes(sample.TokenizerFile)));
        string output = Path.Combine(folder, "out.safetensors");
        CommandLineRun wrong = CommandLineRun.Of(Environment, "", "quantize", "org/int8", "--method", "Gptq", "--device", "cpu", "-o", output);
        Assert.NotEqual(0, wrong.ExitCode);
        Assert.Contains("QB2043", wrong.Error, StringComparison.Ordinal);
        Assert.Contains("The weights of org/int8 are quantized already", wrong.Error.ReplaceLineEndings(" "), StringComparison.Ordinal);
        Assert.DoesNotContain(hub.Requests, r => r.Contains("/delivery/", StringComparison.Ordinal));

        CommandLineRun run = CommandLineRun.Of(Environment, "", "quantize", "org/int8", "--device", "cpu", "-o", output);
        Assert.True(run.ExitCode == 0, run.Error);
        using Artifact artifact = Artifact.Open(output);
        Assert.Equal(("true", "Int8"), (artifact.Manifest.Spec["FromCheckpoint"], artifact.Manifest.Spec["Method"]));
        Assert.Equal(7 * sample.Config.Layers, artifact.Manifest.Layers.Count);
    }

    [Fact]
    public void An_interrupted_download_ends_at_once_and_keeps_what_has_arrived()
    {
        Push();
        hub.Stalls = true;
        using WorkerProcess worker = new(Path.Combine(folder, "cache"), Environment, "download", "org/gutenberg-7m", "--weights");
        // Its bytes are on the disk once a megabyte is full; the model has more than ten.
        Stopwatch clock = Stopwatch.StartNew();
        while (!Incomplete().Any(file => file.Length > 1_000_000) && clock.Elapsed < TimeSpan.FromSeconds(60)) Thread.Sleep(50);
        clock.Restart();
        worker.Interrupt();
        Assert.Equal(130, worker.Wait());
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(10));
        long arrived = Assert.Single(Incomplete()).Length;
        Assert.InRange(arrived, 1_000_001, long.MaxValue);

        hub.Stalls = false;
        using WorkerProcess next = new(Path.Combine(folder, "cache"), Environment, "download", "org/gutenberg-7m", "--weights");
        Assert.Equal(0, next.Wait());
        Assert.Contains(hub.Requests, r => r.StartsWith("GET /delivery/", StringComparison.Ordinal) && r.EndsWith($" {arrived}-", StringComparison.Ordinal));
    }

    private IEnumerable<FileInfo> Incomplete()
    {
        DirectoryInfo cache = new(Path.Combine(folder, "huggingface"));
        return cache.Exists ? cache.EnumerateFiles("*.incomplete", SearchOption.AllDirectories) : [];
    }

    private string Push() => hub.Add("org/gutenberg-7m").Push(
        "main", [.. Directory.GetFiles(SampleFiles.Model).Select(file => (Path.GetFileName(file), File.ReadAllBytes(file)))]);
}
