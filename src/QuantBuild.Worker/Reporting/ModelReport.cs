using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild.Worker.Reporting;

/// <summary>
/// The report on one artifact, a page for whoever built it: what quantization cost and brought, where the error arose, and how the artifact was made.
/// </summary>
internal sealed class ModelReport
{
    private readonly Artifact artifact;
    private readonly ArtifactManifest manifest;
    private readonly BuildRecord record;
    private readonly RuntimeMeasurement? measured;
    private readonly string? whyNotMeasured;

    private ModelReport(Artifact artifact, BuildRecord record, RuntimeMeasurement? measured, string? whyNotMeasured)
    {
        (this.artifact, manifest, this.record) = (artifact, artifact.Manifest, record);
        (this.measured, this.whyNotMeasured) = (measured, whyNotMeasured);
    }

    private QualityFigures? Quality => manifest.Quality;

    /// <summary>The text of the page.</summary>
    /// <param name="artifact">The artifact, finished.</param>
    /// <param name="record">How it was made.</param>
    /// <param name="measured">What it takes to run it, where that was measured.</param>
    /// <param name="whyNotMeasured">Why it was not.</param>
    public static string Create(Artifact artifact, BuildRecord record, RuntimeMeasurement? measured, string? whyNotMeasured)
    {
        ModelReport report = new(artifact, record, measured, whyNotMeasured);
        string title = $"{artifact.Manifest.ModelName}, {report.Method}";
        return Html.Document(
            title,
            isWide: false,
            report.Head(),
            Section("Quality", report.QualityTable()),
            Section("Size and memory", report.Sizes()),
            Section("Error and bits by layer", report.Layers()),
            Section("Calibration", report.Calibration()),
            Section("How it was built", report.Build()),
            Section("Specification", report.Specification()));
    }

    private string Method => SpecificationText.Of(manifest.Spec);

    private static XElement Section(string title, IEnumerable<object> content) => Html.Tag("section", Html.Tag("h2", title), content);

    private IEnumerable<object> Head()
    {
        yield return Html.Tag("h1", manifest.ModelName);
        yield return Html.Tag("p", Html.At("class", "sub"), Method, " · ", Html.Tag("code", manifest.Fingerprint));
        (string verdict, bool isBad) = Verdict.Of(Quality, artifact.Length, manifest.OriginalBytes);
        yield return Html.Tag("p", Html.At("class", isBad ? "verdict bad" : "verdict"), verdict);
        yield return Html.Tag(
            "dl",
            Html.At("class", "stats"),
            Stat("perplexity", Number.Fixed(Quality?.Perplexity, 2), Quality is { } q ? $"{Number.Change(q.PerplexityIncrease)} over float" : "not measured"),
            Stat("file", Number.Bytes(artifact.Length), $"{Number.Percent((double)artifact.Length / manifest.OriginalBytes, 1)} of the float weights"),
            Stat("bits per weight", Number.Fixed(LinearSizes.Bits(artifact), 2), "of the linears"),
            Stat("decoding", measured is { } m ? Number.Rate(m.TokensPerSecond) : Number.None, "tokens/s on the CPU"));
    }

    private static XElement Stat(string name, string value, string note) =>
        Html.Tag("div", Html.Tag("dt", name), Html.Tag("dd", value, Html.Tag("small", note)));

    private IEnumerable<object> QualityTable()
    {
        if (Quality is not { } quality)
        {
            yield return Html.Tag("p", "Nothing was measured: there was no text to measure on. Set EvaluationData, or CalibrationData long enough to hold a tenth of it out.");
            yield break;
        }

        string text = quality.EvaluatedOn == EvaluationText.HeldOut ? "the last windows of CalibrationData, held out of calibration" : "EvaluationData";
        yield return Html.Table(
            "The quantized model against the float one, on the same windows",
            ["", "float", "quantized", "change"],
            [
                new("perplexity", Number.Fixed(quality.FloatPerplexity, 3), Number.Fixed(quality.Perplexity, 3), Number.Change(quality.PerplexityIncrease)),
                new("KL divergence, mean, nats", "0", Number.Divergence(quality.KlDivergence), ""),
                new("top-1 agreement", "100%", Number.Percent(quality.Top1Agreement, 2), ""),
            ]);
        yield return Html.Tag(
            "p",
            Html.At("class", "note"),
            $"Measured on {Number.Count(quality.EvaluationTokens)} predicted tokens of {text}, in windows of {Number.Count(quality.EvaluationContext)} that do not overlap; " +
            "the first token of a window, which nothing predicts, is not counted. Perplexity is exp of the mean negative log-likelihood.");
    }

    private IEnumerable<object> Sizes()
    {
        int context = artifact.Config.UsualContext;
        PrecisionSize actual = PrecisionTable.OfArtifact(artifact);
        static TableRow Row(PrecisionSize size) => new(
            size.Name, Number.Fixed(size.BitsPerWeight, 2), Number.Bytes(size.FileBytes), Number.Bytes(size.WeightBytes), Number.Bytes(size.FullContextBytes));
        yield return Html.Table(
            "This model by precision",
            ["precision", "bits per weight", "file", "memory, empty context", $"memory, {Number.Count(context)} tokens"],
            [.. PrecisionTable.Of(artifact).Select(Row), Row(actual) with { IsMarked = true }]);
        yield return Html.Tag(
            "p",
            Html.At("class", "note"),
            $"By the arithmetic of the formats, except the last row, which is what the file has: its {Number.Count(artifact.Length)} bytes include a header of " +
            $"{Number.Bytes(artifact.Length - actual.WeightBytes - artifact.File.Tensors[Artifact.TokenizerName].ByteLength)}. Bits per weight are those of the linears; embedding, " +
            $"norms and head stay as they are. Memory is the weights and, for a full context, keys and values in half precision ({Number.Bytes(Decoding.KvPages.BytesPerToken(artifact.Config, KvPrecision.Float16))} a token).");
        if (measured is { } run)
        {
            yield return Html.Table(
                "Measured on this machine: the artifact loaded and run in a process of its own",
                [],
                [
                    new("decoding, one text", $"{Number.Rate(run.TokensPerSecond)} tokens a second"),
                    new("resident memory of the process", Number.Bytes(run.ResidentBytes)),
                    new("of it before the model was loaded", Number.Bytes(run.BaseBytes)),
                ]);
            yield return Html.Tag(
                "p",
                Html.At("class", "note"),
                $"On {Processor.Name}, {run.Threads} {(run.Threads == 1 ? "thread" : "threads")}. Greedy decoding, one token at a time: the median of {Number.Count(run.Steps)} steps after a warm-up. " +
                "Resident memory counts the pages of the mapped file that were touched, the runtime and the cache of a short text.");
        }
        else
        {
            yield return Html.Tag("p", Html.At("class", "note"), $"Running the artifact was not measured: {whyNotMeasured}");
        }
    }

    private IEnumerable<object> Layers()
    {
        IReadOnlyList<double> errors = Quality?.LayerErrors ?? [];
        yield return Html.Tag(
            "figure",
            Html.Scrolling("Plot", LayerPlot.Create(artifact, errors)),
            Html.Tag(
                "figcaption",
                (errors.Count > 0 ? "Above: the stream carries the errors of the layers before; where it rises most, most is lost. Below: " : "") +
                "8 times the bytes of a linear over its weights, scales and zero points among them; a dashed frame is a linear that was kept in floating point." +
                (artifact.Config.Experts > 0 ? " Experts share a cell: where they differ, the one of the fewest bits, the median and the one of the most are side by side." : "")));
        IReadOnlyList<string> roles = LinearSizes.Roles(artifact.Config);
        yield return Html.Tag(
            "details",
            Html.Tag("summary", "The same as a table"),
            Html.Table(
                "Error of the residual stream after the layer, and bits per weight of its linears",
                ["layer", "error", .. roles.Select(role => LayerPlot.RoleName(artifact.Config, role))],
                Enumerable.Range(0, artifact.Config.Layers).Select(layer =>
                {
                    IReadOnlyDictionary<string, LinearShape[]> linears = LinearSizes.ByRole(artifact.Config, layer);
                    return new TableRow(
                        (layer + 1).ToString(CultureInfo.InvariantCulture),
                        [
                            layer < errors.Count ? Number.Percent(errors[layer], 3) : Number.None,
                            .. roles.Select(role => !linears.TryGetValue(role, out LinearShape[]? alike)
                                ? Number.None
                                : LayerPlot.Bits(artifact, LinearSizes.Distinct(artifact, alike), 2) + (alike.Any(linear => manifest.Layers.ContainsKey(linear.Name)) ? "" : " float")),
                        ]);
                })));
    }

    private IEnumerable<object> Calibration()
    {
        if (record.Calibration is not { } calibration)
        {
            yield return Html.Tag("p", "The method reads no calibration text.");
            yield break;
        }

        List<TableRow> rows =
        [
            new("tokens of the text", Number.Count(calibration.Tokens)),
            new("windows that were used", $"{Number.Count(calibration.Windows)} of {Number.Count(calibration.WindowLength)} tokens, {Number.Count((long)calibration.Windows * calibration.WindowLength)} in all"),
            new("runs of 8 tokens that came before", Number.Percent(calibration.RepeatedShare, 1)),
        ];
        if (calibration.FloatPerplexity is { } perplexity)
        {
            rows.Add(new("perplexity of the float model", $"{Number.Fixed(perplexity, 2)} on a few of the windows; on the evaluation text {Number.Fixed(Quality?.FloatPerplexity, 2)}"));
        }

        yield return Html.Table("What the method calibrated on", [], rows, ofTexts: true);
    }

    private IEnumerable<object> Build()
    {
        List<TableRow> rows =
        [
            new("time", Number.Duration(record.Seconds)),
            .. record.Phases.Select(phase => new TableRow(Html.Tag("span", Html.At("class", "small"), "of it " + phase.Name), Number.Duration(phase.Seconds))),
            new("peak memory of the process", Number.Bytes(record.PeakMemoryBytes)),
            new("device", record.Device),
            new("processor threads", Number.Count(record.Threads)),
            new("started", record.StartedAt.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture) + " UTC"),
        ];
        yield return Html.Table("Time and memory", [], rows, ofTexts: true);
        yield return record.Warnings.Count == 0
            ? Html.Tag("p", "There were no warnings.")
            : Html.Tag(
                "ul",
                Html.At("class", "warnings"),
                record.Warnings.Select(warning => Html.Tag("li", Html.Tag("a", Html.At("href", DiagnosticIds.HelpLink(warning.Id)), warning.Id), ": ", warning.Text)));
    }

    private IEnumerable<object> Specification()
    {
        List<TableRow> rows =
        [
            .. manifest.Spec.OrderBy(entry => entry.Key, StringComparer.Ordinal).Select(entry => new TableRow(entry.Key, entry.Value)),
            new("architecture", artifact.Config.Architecture),
            new("parameters", Number.Count(artifact.Config.Parameters)),
            new("quantizer", manifest.QuantizerVersion),
            new("fingerprint", Html.Tag("code", manifest.Fingerprint)),
        ];
        if (manifest.CalibrationSha256 is { } calibration) rows.Add(new("calibration text, SHA-256", Html.Tag("code", calibration)));
        if (manifest.EvaluationSha256 is { } evaluation) rows.Add(new("evaluation text, SHA-256", Html.Tag("code", evaluation)));
        yield return Html.Table("All that decides the artifact's bytes", [], rows, ofTexts: true);
        yield return Html.Table(
            "The files of the model",
            ["file", "size and SHA-256"],
            manifest.ModelFiles.Select(file => new TableRow(file.Name, Html.Tag("span", Number.Bytes(file.Size), " ", Html.Tag("code", file.Sha256)))),
            ofTexts: true);
    }
}
