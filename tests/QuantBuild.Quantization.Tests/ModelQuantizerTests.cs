using System.Text;

namespace QuantBuild.Quantization.Tests;

public sealed class ModelQuantizerTests(QuantizedSample sample) : IClassFixture<QuantizedSample>
{
    private static readonly QuantizationSpec Quick = new() { CalibrationSamples = 2 };

    [Fact]
    public void The_artifact_is_whole_and_says_what_it_is()
    {
        using Artifact artifact = Artifact.Open(sample.Request.ArtifactPath);
        artifact.VerifyChecksums();
        Assert.Equal(QuantizedSample.Fingerprint, artifact.Manifest.Fingerprint);
        Assert.Equal("gutenberg-7m", artifact.Manifest.ModelName);
        Assert.Equal(42, artifact.Manifest.Layers.Count);
        Assert.Equal(13_638_144, artifact.Manifest.OriginalBytes);
        Assert.All(artifact.Manifest.Layers.Values, format => Assert.Equal(new IntAffineFormat(4, 128, false, true), format));
        string json = Encoding.UTF8.GetString(File.ReadAllBytes(sample.Request.ArtifactPath).AsSpan(0, 40_000));
        Assert.DoesNotContain(SampleFiles.Root, json, StringComparison.Ordinal);
    }

    [Fact]
    public void Perplexity_is_that_of_the_logits_over_the_same_windows()
    {
        ModelFolder model = ModelFolder.Open(SampleFiles.Model);
        TextTokenizer tokenizer = TextTokenizer.Load(File.ReadAllBytes(model.TokenizerFile), "tokenizer.json");
        int[] tokens = [.. tokenizer.Encode(File.ReadAllText(sample.EvaluationFile))];
        using Artifact artifact = Artifact.Open(sample.Request.ArtifactPath);
        foreach ((double actual, Artifact? weights) in new[] { (sample.Manifest.Quality!.FloatPerplexity, null), (sample.Manifest.Quality.Perplexity, artifact) })
        {
            double sum = 0;
            int count = 0;
            foreach (int[] window in tokens.Chunk(512).Where(window => window.Length == 512))
            {
                float[] logits = QuantizedSample.TorchLogits(window, weights);
                for (int t = 0; t < 511; t++, count++)
                {
                    double[] row = [.. logits.AsSpan(t * 4096, 4096).ToArray().Select(l => (double)l)];
                    double largest = row.Max();
                    sum += largest + Math.Log(row.Sum(l => Math.Exp(l - largest))) - row[window[t + 1]];
                }
            }

            Assert.Equal(count, sample.Manifest.Quality.EvaluationTokens);
            Assert.Equal(Math.Exp(sum / count), actual, 1e-3);
        }
    }

    [Fact]
    public void Progress_grows_to_one_and_the_record_lies_beside_the_artifact()
    {
        double[] fractions = [.. sample.Messages.Where(m => m.Kind == WorkerMessageKind.Progress).Select(m => m.Fraction!.Value)];
        Assert.Equal(7, fractions.Length);
        Assert.Equal(fractions.Order(), fractions);
        Assert.Equal(1, fractions[^1]);
        BuildRecord record = BuildRecord.TryRead(sample.Request.BuildRecordPath)!;
        Assert.Equal(new FileInfo(sample.Request.ArtifactPath).Length, record.ArtifactBytes);
        Assert.InRange(record.PeakMemoryBytes, 100 << 20, 2L << 30);
        Assert.False(Directory.Exists(new ModelCache(Path.GetFullPath(Path.Combine(Path.GetDirectoryName(sample.Request.ArtifactPath)!, "..", ".."))).WorkFolder(QuantizedSample.Fingerprint)));
    }

    [Fact]
    public void A_run_that_was_cancelled_goes_on_and_gives_the_same_bytes_also_where_its_journal_was_damaged()
    {
        using TemporaryFolder whole = new(), interrupted = new();
        WorkerRequest expected = QuantizedSample.RequestIn(whole.Path, Quick), resumed = QuantizedSample.RequestIn(interrupted.Path, Quick);
        ModelQuantizer.Run(expected, _ => { }, CancellationToken.None);

        using CancellationTokenSource cancellation = new();
        Assert.ThrowsAny<OperationCanceledException>(() => ModelQuantizer.Run(
            resumed, message => { if (message.Text.StartsWith("layer 3", StringComparison.Ordinal)) cancellation.Cancel(); }, cancellation.Token));
        string journal = new ModelCache(interrupted.Path).WorkFolder(QuantizedSample.Fingerprint);
        Assert.Equal(["layer-000.safetensors", "layer-001.safetensors", "layer-002.safetensors"], Directory.GetFiles(journal).Select(Path.GetFileName).Order());
        Assert.False(File.Exists(resumed.ArtifactPath));

        byte[] damaged = File.ReadAllBytes(Path.Combine(journal, "layer-001.safetensors"));
        damaged[^1000] ^= 1;
        File.WriteAllBytes(Path.Combine(journal, "layer-001.safetensors"), damaged);
        File.WriteAllText(Path.Combine(journal, "layer-003.safetensors.0.tmp"), "left by a killed process");
        List<string> texts = [];
        ModelQuantizer.Run(resumed, message => texts.Add(message.Text), CancellationToken.None);

        Assert.Equal(["layer 1 of 6 (made before)", "layer 3 of 6 (made before)"], texts.Where(text => text.EndsWith("(made before)", StringComparison.Ordinal)));
        Assert.Equal(File.ReadAllBytes(expected.ArtifactPath), File.ReadAllBytes(resumed.ArtifactPath));
        Assert.False(Directory.Exists(journal));
    }

    [Fact]
    public void One_pass_per_layer_gives_other_integers_than_true_sequential_order()
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, new QuantizationSpec { CalibrationSamples = 4, TrueSequential = false });
        ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        using Artifact one = Artifact.Open(request.ArtifactPath), sequential = Artifact.Open(sample.Request.ArtifactPath);
        // q, k and v of the first layer see the same either way; what comes after them does not.
        Assert.Equal(sequential.Manifest.Checksums["model.layers.0.self_attn.v_proj.weight"], one.Manifest.Checksums["model.layers.0.self_attn.v_proj.weight"]);
        Assert.NotEqual(sequential.Manifest.Checksums["model.layers.0.self_attn.o_proj.weight"], one.Manifest.Checksums["model.layers.0.self_attn.o_proj.weight"]);
    }

    [Fact]
    public void A_cache_that_cannot_be_written_is_QB1004_and_leaves_nothing()
    {
        using TemporaryFolder folder = new();
        // A file where a folder should be: nobody can write there, not even root.
        File.WriteAllText(folder.File("work"), "");
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelQuantizer.Run(
            QuantizedSample.RequestIn(folder.Path, Quick), _ => { }, CancellationToken.None));
        Assert.Equal(DiagnosticIds.NotWritable, error.Id);
        Assert.Equal([folder.File("work")], Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public void An_artifact_that_cannot_be_written_is_QB1004_and_keeps_the_journal()
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, new QuantizationSpec { Method = QuantizationMethod.Rtn });
        File.WriteAllText(folder.File("artifacts"), "");
        Assert.Equal(
            DiagnosticIds.NotWritable,
            Assert.Throws<QuantBuildException>(() => ModelQuantizer.Run(request, _ => { }, CancellationToken.None)).Id);
        Assert.Equal(6, Directory.GetFiles(new ModelCache(folder.Path).WorkFolder(QuantizedSample.Fingerprint)).Length);
        Assert.Empty(Directory.GetFiles(folder.Path, "*.tmp", SearchOption.AllDirectories));
    }

    [Fact]
    public void A_group_size_that_does_not_divide_is_QB0007_before_any_work() =>
        Assert.Equal(DiagnosticIds.GroupSizeDoesNotDivide, ErrorOf(request => request with { Spec = Quick with { GroupSize = 80 } }).Id);

    [Fact]
    public void Calibration_that_is_missing_empty_or_too_short_has_its_ids_and_says_how_many_tokens_are_needed()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder.File("empty.txt"), " \n");
        File.WriteAllText(folder.File("short.txt"), "It was a dark night.");
        Assert.Equal(DiagnosticIds.CalibrationRequired, ErrorOf(request => request with { CalibrationFile = null }).Id);
        Assert.Equal(DiagnosticIds.CalibrationMissing, ErrorOf(request => request with { CalibrationFile = folder.File("none.txt") }).Id);
        Assert.Equal(DiagnosticIds.CalibrationEmpty, ErrorOf(request => request with { CalibrationFile = folder.File("empty.txt") }).Id);
        QuantBuildException error = ErrorOf(request => request with { CalibrationFile = folder.File("short.txt") });
        Assert.Equal(DiagnosticIds.CalibrationTooShort, error.Id);
        Assert.Contains("512", error.Message, StringComparison.Ordinal);
        Assert.Matches(@"has \d+ tokens", error.Message);
    }

    [Fact]
    public void Evaluation_that_is_missing_empty_or_too_short_is_QB3005()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder.File("empty.txt"), "");
        File.WriteAllText(folder.File("short.txt"), "It was a dark night.");
        foreach (string name in new[] { "none.txt", "empty.txt", "short.txt" })
        {
            Assert.Equal(DiagnosticIds.EvaluationUnusable, ErrorOf(request => request with { EvaluationFile = folder.File(name) }).Id);
        }
    }

    [Fact]
    public void A_window_longer_than_the_models_context_is_QB0006() =>
        Assert.Equal(DiagnosticIds.MetadataInvalid, ErrorOf(request => request with { Spec = Quick with { CalibrationContext = 1024 } }).Id);

    private static QuantBuildException ErrorOf(Func<WorkerRequest, WorkerRequest> change)
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = change(QuantizedSample.RequestIn(folder.Path, Quick));
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelQuantizer.Run(request, _ => { }, CancellationToken.None));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
        return error;
    }
}
