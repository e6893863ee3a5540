using System.Diagnostics;
using System.Globalization;
using QuantBuild.Quantization;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>
/// One run of <c>compare</c>: quantizes a model by every method, each in a worker process of its own and one after the other, so that seconds and memory are the
/// method's. Artifacts come from the cache and go to it as a build's do: what is there is not made again.
/// </summary>
internal sealed class CompareRun
{
    private readonly CompareRequest request;
    private readonly ModelFolder model;
    private readonly ModelCache cache = ModelCache.Default();
    private readonly IReport report;
    private readonly CancellationToken cancellationToken;
    private readonly Stopwatch clock = Stopwatch.StartNew();

    // What the time that is left is estimated from: to run a model takes a tenth, more or less, of what it takes to quantize it.
    private const double WorkOfRun = 0.1;
    private double work;
    private double done;

    private CompareRun(CompareRequest request, ModelFolder model, IReport report, CancellationToken cancellationToken) =>
        (this.request, this.model, this.report, this.cancellationToken) = (request, model, report, cancellationToken);

    /// <summary>Compares.</summary>
    /// <param name="read">Gives the request.</param>
    /// <param name="report">Where messages go.</param>
    /// <param name="isBuild">Whether a build asks: the end of standard input cancels, and the build shows the table itself.</param>
    /// <param name="isJson">Whether the last message is JSON.</param>
    /// <returns>The exit code.</returns>
    public static int Execute(Func<CancellationToken, CompareRequest> read, IReport report, bool isBuild, bool isJson = false) => Verb.Run(report, isBuild, cancellation =>
    {
        CompareRequest request = read(cancellation.Token);
        TorchLibraries.Use(request.Device, report, cancellation.Token);
        ModelFolder model = ModelFolder.Open(request.ModelPath);
        string workFolder = Path.Combine(ModelCache.Default().Root, "work"), floatName = $"{Guid.NewGuid():N}.float.tmp";
        string floatArtifact = Path.Combine(workFolder, floatName);
        cancellation.Leftovers = () => Directory.Exists(workFolder) ? Directory.GetFiles(workFolder, floatName + "*") : [];
        Comparison comparison = new CompareRun(request, model, report, cancellation.Token).Compare(floatArtifact);
        string markdown = ComparisonMarkdown.Create(comparison);
        WholeFile.Write(request.OutputPath + ".json", comparison.ToJson());
        WholeFile.Write(request.OutputPath + ".md", markdown);
        WholeFile.Write(request.OutputPath + ".html", ComparisonPage.Create(comparison));
        return isBuild ? $"comparison: {request.OutputPath}.html, .md, .json" : isJson ? comparison.ToJson().TrimEnd() : markdown;
    });

    private Comparison Compare(string floatArtifact)
    {
        // There is no float model to compare with, and nothing else that its weights could become.
        if (model.Config.Quantization is { Spec: { } own }) new QuantizationPlan(model.Config, own with { FromCheckpoint = false }).Check();
        IReadOnlyList<QuantizationSpec> specs = ComparedSpecs.Of(request.Spec, model.Config);
        FileHash hash = new(cache.HashFolder);
        IReadOnlyList<string> quantizerFiles = Fingerprint.QuantizerFiles(AppContext.BaseDirectory);
        string[] fingerprints =
        [
            .. specs.Select(spec => Fingerprint.Compute(
                spec, model, request.CalibrationFile, request.EvaluationFile, quantizerFiles, file => File.Exists(file) ? hash.Compute(file) : "")),
        ];
        work = fingerprints.Count(fingerprint => !IsCached(fingerprint)) + (WorkOfRun * (specs.Count + 1));
        ComparedRow[] rows = [.. specs.Select((spec, i) => Quantize(spec, fingerprints[i], $"{i + 1} of {specs.Count}"))];

        // All are run in one go, so that a busy minute of the machine is not one method's alone.
        ComparedRow unquantized = Float(rows, floatArtifact);
        for (int i = 0; i < rows.Length; i++)
        {
            done += WorkOfRun;
            Progress(0, string.Create(CultureInfo.InvariantCulture, $"running model {i + 2} of {rows.Length + 1}"));
            if (rows[i].Failure is null) rows[i] = Measure(rows[i], cache.ArtifactPath(fingerprints[i]));
        }

        return new Comparison
        {
            ModelName = ClassNames.ModelName(model.Path),
            Parameters = model.Config.Parameters,
            Processor = Processor.Name,
            Threads = Environment.ProcessorCount,
            QuantizerVersion = ModelQuantizer.Version,
            ComparedAt = DateTime.UtcNow,
            EvaluationTokens = rows.FirstOrDefault(row => row.EvaluationTokens is not null)?.EvaluationTokens,
            Rows = [unquantized, .. rows],
        };
    }

    /// <summary>Makes an artifact that no cache has, and reads what it says.</summary>
    private ComparedRow Quantize(QuantizationSpec spec, string fingerprint, string row)
    {
        ComparedRow result = new()
        {
            Method = spec.Method.ToString(),
            Bits = spec.Bits,
            Group = SpecificationText.GroupOf(spec),
            IsDeclared = ComparedSpecs.Same(spec, request.Spec),
            Fingerprint = fingerprint,
        };
        string name = string.Create(CultureInfo.InvariantCulture, $"row {row}: {spec.Method}, {spec.Bits} bits");
        try
        {
            void Waiting() => report.Send(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = $"{name}: waiting for another run that makes it" });
            using (cache.Lock(fingerprint, Waiting, cancellationToken))
            {
                Progress(0, name);
                if (!IsCached(fingerprint) && Make(spec, fingerprint, name) is { } failure) return result with { Failure = failure };
            }

            return Read(result, fingerprint);
        }
        catch (QuantBuildException e)
        {
            return result with { Failure = e.Message };
        }
    }

    /// <returns>Why there is no artifact; <see langword="null"/> where there is one.</returns>
    private string? Make(QuantizationSpec spec, string fingerprint, string name)
    {
        string folder = Path.Combine(cache.Root, "work");
        string requestFile = Path.Combine(folder, $"{fingerprint}.{Guid.NewGuid():N}.tmp");
        try
        {
            Directory.CreateDirectory(folder);
            new WorkerRequest
            {
                ModelPath = model.Path,
                Spec = spec,
                CalibrationFile = request.CalibrationFile,
                EvaluationFile = request.EvaluationFile,
                Device = request.Device,
                Fingerprint = fingerprint,
                ArtifactPath = cache.ArtifactPath(fingerprint),
                BuildRecordPath = cache.BuildRecordPath(fingerprint),
                ReportPath = cache.ReportPath(fingerprint),
            }.Save(requestFile);
            string? error = null;
            (int exitCode, string said) = SelfProcess.Run(
                ["quantize", "--request", requestFile],
                line =>
                {
                    WorkerMessage? message = WorkerMessage.TryParse(line);
                    if (message is { Kind: WorkerMessageKind.Progress }) Progress(message.Fraction ?? 0, $"{name}, {message.Text}");
                    if (message is { Kind: WorkerMessageKind.Error }) error = $"{message.Code}: {message.Text}";
                },
                cancellationToken);
            return exitCode == 0 && IsCached(fingerprint) ? null : error ?? $"The worker ended with exit code {exitCode}. {said}".TrimEnd();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw cache.NotWritable(e);
        }
        finally
        {
            done++;
            WholeFile.Delete(requestFile);
        }
    }

    private ComparedRow Read(ComparedRow row, string fingerprint)
    {
        using Artifact artifact = Artifact.Open(cache.ArtifactPath(fingerprint));
        BuildRecord? record = BuildRecord.TryRead(cache.BuildRecordPath(fingerprint));
        QualityFigures? quality = artifact.Manifest.Quality;
        return row with
        {
            BitsPerWeight = LinearSizes.Bits(artifact),
            FileBytes = artifact.Length,
            FloatPerplexity = quality?.FloatPerplexity,
            Perplexity = quality?.Perplexity,
            PerplexityIncrease = quality?.PerplexityIncrease,
            KlDivergence = quality?.KlDivergence,
            Top1Agreement = quality?.Top1Agreement,
            EvaluationTokens = quality?.EvaluationTokens,
            Seconds = record?.Seconds,
            PeakMemoryBytes = record?.PeakMemoryBytes,
        };
    }

    private ComparedRow Float(IReadOnlyList<ComparedRow> rows, string path)
    {
        ComparedRow row = new() { Method = "float", Perplexity = rows.FirstOrDefault(r => r.FloatPerplexity is not null)?.FloatPerplexity };
        try
        {
            FloatArtifact.Write(path, model);
            using (Artifact artifact = Artifact.Open(path))
            {
                row = row with { BitsPerWeight = LinearSizes.Bits(artifact), FileBytes = artifact.Length };
            }

            return Measure(row, path);
        }
        catch (QuantBuildException e)
        {
            return row with { Failure = e.Message };
        }
        finally
        {
            WholeFile.Delete(path);
        }
    }

    private ComparedRow Measure(ComparedRow row, string artifactPath)
    {
        cancellationToken.ThrowIfCancellationRequested();
        (RuntimeMeasurement? measured, string? whyNot) = MeasureRun.InOwnProcess(artifactPath, MeasureRun.ForComparison, cancellationToken);
        return row with { TokensPerSecond = measured?.TokensPerSecond, ResidentBytes = measured?.ResidentBytes, Failure = whyNot is null ? null : "It could not be run: " + whyNot };
    }

    private bool IsCached(string fingerprint) => cache.Entry(fingerprint).Exists;

    private void Progress(double fractionOfOne, string text)
    {
        double fraction = Math.Min(1, (done + fractionOfOne) / work);
        report.Send(new WorkerMessage
        {
            Kind = WorkerMessageKind.Progress,
            Text = text,
            Fraction = fraction,
            SecondsLeft = fraction > 0 ? clock.Elapsed.TotalSeconds * (1 - fraction) / fraction : null,
        });
    }
}
