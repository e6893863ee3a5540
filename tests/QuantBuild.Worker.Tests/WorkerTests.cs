using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Xml.Linq;

namespace QuantBuild.Worker.Tests;

public sealed class WorkerTests : IDisposable
{
    private static readonly string Fingerprint = new('b', 64);
    private readonly string folder = Path.Combine(Path.GetTempPath(), "quantbuild-" + Guid.NewGuid().ToString("N"));
    private readonly ModelCache cache;

    public WorkerTests()
    {
        Directory.CreateDirectory(folder);
        cache = new ModelCache(Path.Combine(folder, "cache"));
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void A_request_gives_lines_of_messages_an_artifact_and_exit_code_0()
    {
        using WorkerProcess worker = Start(new QuantizationSpec { CalibrationSamples = 1 });
        IReadOnlyList<string> lines = worker.ReadToEnd();
        Assert.Equal(0, worker.Wait());

        WorkerMessage[] messages = [.. lines.Select(line => WorkerMessage.TryParse(line) ?? throw new InvalidDataException(line))];
        // Six layers, and the evaluation on what is held out.
        Assert.Equal(7, messages.Count(m => m.Kind == WorkerMessageKind.Progress));
        Assert.Matches(@"perplexity \d+\.\d\d -> \d+\.\d\d \(.*%\), KL divergence 0\.\d{4} nats, top-1 agreement \d+\.\d%$", messages[^1].Text);
        Assert.Equal(WorkerMessageKind.Done, messages[^1].Kind);
        Assert.Contains(messages, m => m.Kind == WorkerMessageKind.Information && m.Text.StartsWith("device: cpu", StringComparison.Ordinal));
        using Artifact artifact = Artifact.Open(cache.ArtifactPath(Fingerprint));
        artifact.VerifyChecksums();
        BuildRecord record = BuildRecord.TryRead(cache.BuildRecordPath(Fingerprint))!;
        Assert.Equal((1, 512), (record.Calibration!.Windows, record.Calibration.WindowLength));
        Assert.Equal(["reading the texts", "layers", "evaluation", "writing the artifact"], record.Phases.Select(phase => phase.Name));
        Assert.InRange(record.Phases.Sum(phase => phase.Seconds), 0, record.Seconds);
        XElement page = ModelReportTests.Parse(File.ReadAllText(cache.ReportPath(Fingerprint)));
        Assert.Matches(@"^[\d,.]+ tokens a second$", ModelReportTests.Row(page, "decoding, one text")[1]);
    }

    [Fact]
    public void The_end_of_standard_input_cancels_within_two_seconds_with_exit_code_130_and_a_second_run_goes_on()
    {
        using (WorkerProcess worker = Start(new QuantizationSpec { CalibrationSamples = 16 }))
        {
            while (WorkerMessage.TryParse(worker.ReadLine()!)?.Kind != WorkerMessageKind.Progress)
            {
            }

            Stopwatch clock = Stopwatch.StartNew();
            worker.CloseInput();
            Assert.Equal(130, worker.Wait());
            // Two seconds, and as much again for a machine that runs other tests meanwhile.
            Assert.InRange(clock.Elapsed.TotalSeconds, 0, 4);
            AssertNoHalfWrittenFile();
        }

        using WorkerProcess second = Start(new QuantizationSpec { CalibrationSamples = 16 });
        IReadOnlyList<string> lines = second.ReadToEnd();
        Assert.Equal(0, second.Wait());
        Assert.Contains(lines, line => line.Contains("layer 1 of 6 (made before)", StringComparison.Ordinal));
    }

    [Fact]
    public void The_end_of_standard_input_ends_a_comparison_and_the_process_that_it_started()
    {
        string request = Path.Combine(folder, "compare.xml");
        new CompareRequest
        {
            ModelPath = SampleFiles.Model,
            Spec = new QuantizationSpec(),
            CalibrationFile = SampleFiles.Calibration,
            Device = "cpu",
            OutputPath = Path.Combine(folder, "out"),
        }.Save(request);
        using WorkerProcess worker = new(cache.Root, "compare", "--request", request);
        while (WorkerMessage.TryParse(worker.ReadLine()!) is not { Kind: WorkerMessageKind.Progress, Text: var text } || !text.Contains("layer", StringComparison.Ordinal))
        {
        }

        worker.CloseInput();
        Assert.Equal(130, worker.Wait());
        Assert.False(File.Exists(Path.Combine(folder, "out.html")));
        // The lock of the row is free once the process that made it, and the one that held the lock for it, are gone; it may take its grace period.
        Assert.True(SpinWait.SpinUntil(() => Directory.GetFiles(folder, "*.tmp", SearchOption.AllDirectories).Length == 0, TimeSpan.FromSeconds(10)));
        if (Directory.Exists("/proc")) Assert.True(SpinWait.SpinUntil(() => !RunsFrom(cache.Root), TimeSpan.FromSeconds(10)));
    }

    [Fact]
    public void A_signal_cancels_with_exit_code_130()
    {
        if (OperatingSystem.IsWindows()) return;
        using WorkerProcess worker = Start(new QuantizationSpec { CalibrationSamples = 16 });
        while (WorkerMessage.TryParse(worker.ReadLine()!)?.Kind != WorkerMessageKind.Progress)
        {
        }

        const int terminate = 15;
        Assert.Equal(0, Kill(worker.Id, terminate));
        Assert.Equal(130, worker.Wait());
        AssertNoHalfWrittenFile();
    }

    [Fact]
    public void A_failure_is_one_error_message_and_exit_code_1()
    {
        using WorkerProcess worker = Start(new QuantizationSpec(), request => request with { ModelPath = Path.Combine(folder, "none") });
        WorkerMessage message = WorkerMessage.TryParse(Assert.Single(worker.ReadToEnd()))!;
        Assert.Equal(1, worker.Wait());
        Assert.Equal(WorkerMessageKind.Error, message.Kind);
        Assert.Equal(DiagnosticIds.ModelMissing, message.Code);
    }

    [Fact]
    public void A_gate_that_is_exceeded_is_an_error_and_publishes_nothing()
    {
        string text = Path.Combine(folder, "calibration.txt");
        File.WriteAllText(text, File.ReadAllText(SampleFiles.Calibration)[..30_000]);
        using WorkerProcess worker = Start(
            new QuantizationSpec { Method = QuantizationMethod.Rtn },
            request => request with { CalibrationFile = text, Gates = new QualityGates { MaxKlDivergence = 0.0001m } });
        WorkerMessage last = WorkerMessage.TryParse(worker.ReadToEnd()[^1])!;
        Assert.Equal(1, worker.Wait());
        Assert.Equal((WorkerMessageKind.Error, DiagnosticIds.QualityGateExceeded), (last.Kind, last.Code));
        Assert.Contains("MaxKlDivergence allows 0.0001", last.Text, StringComparison.Ordinal);
        AssertNoHalfWrittenFile();
    }

    [Fact]
    public void A_request_that_cannot_be_read_is_QB1005_and_exit_code_1()
    {
        string request = Path.Combine(folder, "request.xml");
        File.WriteAllText(request, "<QuantizeRequest />");
        using WorkerProcess worker = new(cache.Root, "quantize", "--request", request);
        WorkerMessage message = WorkerMessage.TryParse(Assert.Single(worker.ReadToEnd()))!;
        Assert.Equal(1, worker.Wait());
        Assert.Equal(DiagnosticIds.WorkerFailed, message.Code);
    }

    [Fact]
    public async Task A_person_gets_progress_on_standard_error_and_the_result_on_standard_output()
    {
        string output = Path.Combine(folder, "out.safetensors");
        using WorkerProcess worker = new(cache.Root, "quantize", SampleFiles.Model, "--method", "Rtn", "--bits", "8", "--device", "cpu", "-o", output);
        // People may run it with standard input closed.
        worker.CloseInput();
        string result = Assert.Single(worker.ReadToEnd());
        Assert.Equal(0, worker.Wait());
        Assert.StartsWith("gutenberg-7m: 13.6 MB -> ", result, StringComparison.Ordinal);
        Assert.Contains("[ 50%] layer 3 of 6", await worker.Error, StringComparison.Ordinal);
        Assert.Equal("gutenberg-7m", ModelReportTests.Parse(File.ReadAllText(Path.ChangeExtension(output, ".html"))).Descendants("{http://www.w3.org/1999/xhtml}h1").Single().Value);
        using Artifact artifact = Artifact.Open(output);
        Assert.Equal(8, Assert.IsType<IntAffineFormat>(artifact.Manifest.Layers.Values.First()).Bits);
    }

    [Theory]
    [InlineData("Nf4")]
    [InlineData("Fp4")]
    [InlineData("Int8")]
    public void The_methods_of_bitsandbytes_need_no_text(string method)
    {
        string output = Path.Combine(folder, "out.safetensors");
        using WorkerProcess worker = new(cache.Root, "quantize", SampleFiles.Model, "--method", method, "--device", "cpu", "-o", output);
        Assert.StartsWith("gutenberg-7m: 13.6 MB -> ", Assert.Single(worker.ReadToEnd()), StringComparison.Ordinal);
        Assert.Equal(0, worker.Wait());
        using LanguageModel model = LanguageModel.Load(output);
        Assert.NotEmpty(model.Generate("It was a dark night", new GenerationOptions { MaxTokens = 8 }));
    }

    [Fact]
    public async Task A_person_gets_errors_with_their_id()
    {
        using WorkerProcess worker = new(cache.Root, "quantize", SampleFiles.Model, "--bits", "5", "-o", Path.Combine(folder, "out.safetensors"));
        Assert.Empty(worker.ReadToEnd());
        Assert.Equal(1, worker.Wait());
        Assert.StartsWith("error QB0002: ", await worker.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void The_worker_knows_nothing_of_MSBuild() =>
        Assert.DoesNotContain(Directory.GetFiles(AppContext.BaseDirectory, "Microsoft.Build*.dll"), _ => true);

    private WorkerProcess Start(QuantizationSpec spec, Func<WorkerRequest, WorkerRequest>? change = null)
    {
        WorkerRequest request = new()
        {
            ModelPath = SampleFiles.Model,
            Spec = spec,
            CalibrationFile = SampleFiles.Calibration,
            Device = "cpu",
            Fingerprint = Fingerprint,
            ArtifactPath = cache.ArtifactPath(Fingerprint),
            BuildRecordPath = cache.BuildRecordPath(Fingerprint),
            ReportPath = cache.ReportPath(Fingerprint),
        };
        string file = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{Guid.NewGuid():N}.xml"));
        (change?.Invoke(request) ?? request).Save(file);
        return new WorkerProcess(cache.Root, "quantize", "--request", file);
    }

    /// <summary>Whether a process has a folder among its arguments.</summary>
    private static bool RunsFrom(string folder) => Directory.GetDirectories("/proc").Any(process =>
    {
        try
        {
            return File.ReadAllText(Path.Combine(process, "cmdline")).Contains(folder, StringComparison.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    });

    private void AssertNoHalfWrittenFile()
    {
        Assert.False(File.Exists(cache.ArtifactPath(Fingerprint)));
        Assert.Empty(Directory.GetFiles(folder, "*.tmp", SearchOption.AllDirectories));
    }

    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Kill(int process, int signal);
}
