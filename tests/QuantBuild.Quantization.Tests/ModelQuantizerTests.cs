using System.Text;

namespace QuantBuild.Quantization.Tests;

public sealed class ModelQuantizerTests
{
    private readonly QuantizedSample sample = QuantizedSample.Shared;

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

    public static TheoryData<QuantizationSpec> Resumable { get; } =
    [
        Quick,
        // Norms that changed, and linears beside them that are corrected against the float layer.
        Quick with { Method = QuantizationMethod.Awq, Override = "down_proj: Method=Gptq" },
    ];

    [Theory]
    [MemberData(nameof(Resumable))]
    public void A_run_that_was_cancelled_goes_on_and_gives_the_same_bytes_also_where_its_journal_was_damaged(QuantizationSpec spec)
    {
        using TemporaryFolder whole = new(), interrupted = new();
        WorkerRequest expected = QuantizedSample.RequestIn(whole.Path, spec) with { EvaluationFile = sample.EvaluationFile };
        WorkerRequest resumed = QuantizedSample.RequestIn(interrupted.Path, spec) with { EvaluationFile = sample.EvaluationFile };
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
    public void Learned_rounding_that_was_cancelled_goes_on_and_gives_the_same_bytes()
    {
        QuantizationSpec spec = new() { Method = QuantizationMethod.AutoRound, Bits = 2, Iterations = 4, CalibrationSamples = 8, CalibrationContext = 64 };
        using TemporaryFolder whole = new(), interrupted = new();
        WorkerRequest expected = QuantizedSample.RequestIn(whole.Path, spec), resumed = QuantizedSample.RequestIn(interrupted.Path, spec);
        ModelQuantizer.Run(expected, _ => { }, CancellationToken.None);
        using CancellationTokenSource cancellation = new();
        Assert.ThrowsAny<OperationCanceledException>(() => ModelQuantizer.Run(
            resumed, message => { if (message.Text.StartsWith("layer 2 of 6", StringComparison.Ordinal)) cancellation.Cancel(); }, cancellation.Token));
        List<string> texts = [];
        ModelQuantizer.Run(resumed, message => texts.Add(message.Text), CancellationToken.None);
        Assert.Contains("layer 1 of 6 (made before)", texts);
        Assert.Equal(File.ReadAllBytes(expected.ArtifactPath), File.ReadAllBytes(resumed.ArtifactPath));
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
    public void A_gate_that_is_exceeded_leaves_no_artifact_and_a_looser_one_quantizes_nothing_again()
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, new QuantizationSpec { Method = QuantizationMethod.Rtn, Bits = 3 }) with
        {
            EvaluationFile = sample.EvaluationFile,
            Gates = new QualityGates { MaxPerplexityIncrease = 0.001m },
        };
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelQuantizer.Run(request, _ => { }, CancellationToken.None));
        Assert.Equal(DiagnosticIds.QualityGateExceeded, error.Id);
        Assert.False(File.Exists(request.ArtifactPath));
        Assert.False(File.Exists(request.BuildRecordPath));

        List<string> texts = [];
        request = request with { Gates = new QualityGates { MaxPerplexityIncrease = 1, MaxKlDivergence = 1 } };
        ModelQuantizer.Run(request, message => texts.Add(message.Text), CancellationToken.None);
        Assert.Equal(6, texts.Count(text => text.EndsWith("(made before)", StringComparison.Ordinal)));
        Assert.True(File.Exists(request.ArtifactPath));
    }

    [Fact]
    public void A_gate_with_nothing_to_measure_on_is_QB3009_before_any_work() =>
        Assert.Equal(
            DiagnosticIds.QualityGateUnmeasured,
            ErrorOf(request => request with { Gates = new QualityGates { MaxKlDivergence = 1 } }).Id);

    [Fact]
    public void Without_evaluation_text_a_tenth_of_the_calibration_text_is_measured_on()
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, new QuantizationSpec { Method = QuantizationMethod.Rtn }) with
        {
            CalibrationFile = SampleFiles.Calibration,
        };
        List<WorkerMessage> messages = [];
        ArtifactManifest manifest = ModelQuantizer.Run(request, messages.Add, CancellationToken.None);
        Assert.Equal(EvaluationText.HeldOut, manifest.Quality!.EvaluatedOn);
        Assert.Equal(13 * 511, manifest.Quality.EvaluationTokens);
        Assert.NotNull(manifest.CalibrationSha256);
        Assert.Contains(messages, m => m.Kind == WorkerMessageKind.Information && m.Text.Contains("6,656 tokens", StringComparison.Ordinal));
        BuildFindings findings = BuildFindings.Read(request.BuildRecordPath);
        Assert.Equivalent(manifest.Quality, findings.Quality, strict: true);
        Assert.Empty(findings.Warnings);
    }

    [Fact]
    public void Warnings_are_sent_and_kept_in_the_record()
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, new QuantizationSpec { Method = QuantizationMethod.Rtn, Bits = 3 }) with { CalibrationFile = null };
        List<WorkerMessage> messages = [];
        Assert.Null(ModelQuantizer.Run(request, messages.Add, CancellationToken.None).Quality);
        WorkerMessage[] sent = [.. messages.Where(m => m.Kind == WorkerMessageKind.Warning)];
        Assert.Equal([DiagnosticIds.BitsLow, DiagnosticIds.EvaluationAbsent], sent.Select(m => m.Code));
        Assert.Equal(sent.Select(m => new BuildWarning(m.Code!, m.Text)), BuildFindings.Read(request.BuildRecordPath).Warnings);
        Assert.DoesNotContain(sample.Messages, m => m.Kind == WorkerMessageKind.Warning);
    }

    [Fact]
    public void A_calibration_text_of_another_kind_than_the_evaluation_text_is_warned_of()
    {
        using TemporaryFolder folder = new();
        // The same characters the other way round: the model has never seen the like.
        char[] backwards = [.. File.ReadAllText(SampleFiles.Calibration)[..6000].Reverse()];
        File.WriteAllText(folder.File("backwards.txt"), new string(backwards));
        WorkerRequest request = QuantizedSample.RequestIn(folder.Path, Quick) with { CalibrationFile = folder.File("backwards.txt"), EvaluationFile = sample.EvaluationFile };
        List<WorkerMessage> messages = [];
        ModelQuantizer.Run(request, messages.Add, CancellationToken.None);
        Assert.Equal(DiagnosticIds.CalibrationFarFromEvaluation, Assert.Single(messages, m => m.Kind == WorkerMessageKind.Warning).Code);
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

    [Fact]
    public void Generation_defaults_that_a_program_could_not_read_are_QB2003_before_any_work()
    {
        using TemporaryFolder folder = new();
        foreach (string file in Directory.GetFiles(SampleFiles.Model)) File.Copy(file, folder.File(Path.GetFileName(file)));
        File.WriteAllText(folder.File("generation_config.json"), """{ "do_sample": true, "temperature": "hot" }""");
        QuantBuildException error = ErrorOf(request => request with { ModelPath = folder.Path });
        Assert.Equal(DiagnosticIds.ConfigMalformed, error.Id);
        Assert.Contains("generation_config.json", error.Message, StringComparison.Ordinal);
    }

    private static QuantBuildException ErrorOf(Func<WorkerRequest, WorkerRequest> change)
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = change(QuantizedSample.RequestIn(folder.Path, Quick));
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelQuantizer.Run(request, _ => { }, CancellationToken.None));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
        return error;
    }
}
