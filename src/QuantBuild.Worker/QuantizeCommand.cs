using System.CommandLine;
using QuantBuild.Quantization;

namespace QuantBuild.Worker;

/// <summary>
/// The verb <c>quantize</c>: with <c>--request</c> for a build, which is spoken to in lines of JSON; with a model folder and options for people.
/// </summary>
internal static class QuantizeCommand
{
    /// <summary>An option for each piece of metadata that decides what is made, by the metadata's name.</summary>
    public static Dictionary<string, Option<string?>> SpecificationOptions()
    {
        return new()
        {
            ["Method"] = new("--method") { Description = $"How the values are chosen: {string.Join(", ", Enum.GetNames<QuantizationMethod>())}, or {AutoMethod.Name}." },
            [ModelUses.Name] = new("--use") { Description = $"What Auto chooses for: {string.Join(", ", Enum.GetNames<ModelUse>())}." },
            ["Bits"] = new("--bits") { Description = $"Bits per weight: {string.Join(", ", QuantizationSpec.SupportedBits)}." },
            ["TargetBitsPerWeight"] = new("--target-bits-per-weight") { Description = "In place of --bits: a budget, scales and all, such as 3.5; each layer gets a width of its own." },
            ["TargetSize"] = new("--target-size") { Description = "In place of --bits: the largest size of the artifact, such as 4GB." },
            ["GroupSize"] = new("--group-size") { Description = "Inputs that share a scale: a multiple of 16, or PerChannel." },
            ["Symmetric"] = new("--symmetric") { Description = "No zero points: true or false." },
            ["BlockSize"] = new("--block-size") { Description = "Nf4, Fp4: weights that share a scale: a power of two from 32 to 4096." },
            ["DoubleQuantization"] = new("--double-quantization") { Description = "Nf4, Fp4: quantize the scales too: true or false." },
            ["OutlierThreshold"] = new("--outlier-threshold") { Description = "Int8: activations of this magnitude and more stay in floating point; 0 keeps all." },
            ["ActOrder"] = new("--act-order") { Description = "Columns with the largest activations first: true or false." },
            ["TrueSequential"] = new("--true-sequential") { Description = "Gptq, Awq: calibrate within a layer on what is quantized already: true or false." },
            ["ErrorCorrection"] = new("--error-correction") { Description = "Let each linear make good what was lost before it: true or false." },
            ["StaticGroups"] = new("--static-groups") { Description = "Choose all groups before the first column: true or false." },
            ["Iterations"] = new("--iterations") { Description = "AutoRound: steps of gradient descent for each layer." },
            ["Override"] = new("--override") { Description = "What is quantized otherwise: pattern: settings; several with a semicolon, such as \"down_proj: Bits=8; lm_head: Method=Rtn\"." },
            ["Damping"] = new("--damping") { Description = "Added to the Hessian's diagonal, as a fraction of its mean." },
            ["CalibrationSamples"] = new("--calibration-samples") { Description = "The largest number of calibration windows." },
            ["CalibrationContext"] = new("--calibration-context") { Description = "Tokens of a calibration window; 0 is the model's context, at most 2048." },
            ["EvaluationContext"] = new("--evaluation-context") { Description = "Tokens of an evaluation window; 0 is the model's context, at most 2048." },
            [nameof(QualityGates.MaxPerplexityIncrease)] = new("--max-perplexity-increase") { Description = "Fail where perplexity rises more: 2% or 0.02." },
            [nameof(QualityGates.MaxKlDivergence)] = new("--max-kl-divergence") { Description = "Fail where the mean KL divergence is larger, in nats." },
            [MemoryLimit.Name] = new("--max-memory") { Description = "How much memory to use: 8GB, 700MB. Activations beyond it go to disk; without it, what the machine has free." },
        };
    }

    /// <summary>The command with its options. Their values are read as item metadata is, so that both give the same errors.</summary>
    public static Command Create()
    {
        Argument<string?> model = new("model")
        {
            Description = "The model's folder in the Hugging Face layout, a GGUF file, or a name on the hub: org/name, or org/name/file.gguf.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        Option<string?> request = new("--request") { Description = "A build's request file; messages go to standard output, and the end of standard input cancels.", Hidden = true };
        Dictionary<string, Option<string?>> metadata = SpecificationOptions();
        Option<string?> revision = DownloadCommand.RevisionOption();
        Option<string?> calibration = new("--calibration-data") { Description = "A text file to calibrate on." };
        Option<string?> evaluation = new("--evaluation-data") { Description = "A text file to measure quality on; without it, a tenth of the calibration text is held out." };
        Option<string> device = new("--device") { Description = "auto, cpu, cuda, cuda:N, cuda:N+M or cuda:all.", DefaultValueFactory = _ => "auto" };
        Option<string?> output = new("--output", "-o") { Description = "The artifact to make." };
        Option<bool> json = CommandLine.JsonOption();

        Command command = new("quantize", "Quantizes a model.") { model, request, revision, calibration, evaluation, device, output, json };
        foreach (Option<string?> option in metadata.Values) command.Options.Add(option);
        command.Validators.Add(result =>
        {
            bool build = result.GetValue(request) is not null;
            if (build == (result.GetValue(model) is not null)) result.AddError("Name a model: a folder, or an id on the hub.");
            else if (!build && result.GetValue(output) is null) result.AddError("Say with -o where the artifact goes.");
        });
        command.SetAction(result =>
        {
            if (result.GetValue(request) is { } file)
            {
                using LineReport lines = new();
                return QuantizeRun.Execute(_ => WorkerRequest.Load(file), lines, isBuild: true);
            }

            bool isJson = result.GetValue(json);
            using IReport report = JsonReport.OrPerson(isJson);
            string? Metadata(string name) => metadata.TryGetValue(name, out Option<string?>? option) ? result.GetValue(option) : null;
            return QuantizeRun.Execute(
                token =>
                {
                    string name = result.GetValue(model)!;
                    string Folder(bool withWeights) => DownloadCommand.FolderOf(name, result.GetValue(revision), report, token, withWeights);
                    // A wrong option, or one that weights which are quantized already contradict, is found before the weights are downloaded.
                    QuantizationSpec spec = Spec(Folder(withWeights: false), name, Metadata, result.GetValue(calibration) is not null, report);
                    return Request(Folder(withWeights: true), spec, result.GetValue(calibration), result.GetValue(evaluation), result.GetValue(output)!) with
                    {
                        Gates = QualityGates.FromMetadata(Metadata),
                        MaxMemory = MemoryLimit.Read(Metadata(MemoryLimit.Name)),
                        Device = result.GetValue(device)!,
                    };
                },
                report,
                isBuild: false,
                isJson);
        });
        return command;
    }

    private static QuantizationSpec Spec(string folder, string model, Func<string, string?> metadata, bool isCalibrated, IReport report)
    {
        if (ModelFolder.QuantizationOf(folder) is { Spec: not null } quantized) return quantized.Adopt(metadata, model);
        AutoMethod? auto = AutoMethod.Choose(metadata, isCalibrated);
        QuantizationSpec spec = QuantizationSpec.FromMetadata(auto is null ? metadata : auto.Metadata);
        if (auto is not null) report.Send(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = auto.Reason(spec) });
        foreach (BuildWarning warning in UseChecks.Of(ModelUses.Read(metadata(ModelUses.Name)), spec))
        {
            report.Send(new WorkerMessage { Kind = WorkerMessageKind.Warning, Code = warning.Id, Text = warning.Text });
        }

        return spec;
    }

    private static WorkerRequest Request(string model, QuantizationSpec spec, string? calibration, string? evaluation, string output)
    {
        ModelFolder folder = ModelFolder.Open(model);
        FileHash hash = new(ModelCache.Default().HashFolder);
        IReadOnlyList<string> quantizerFiles = Fingerprint.QuantizerFiles(AppContext.BaseDirectory);
        string artifact = Path.GetFullPath(output);
        return new WorkerRequest
        {
            ModelPath = folder.Path,
            Spec = spec,
            CalibrationFile = calibration is null ? null : Path.GetFullPath(calibration),
            EvaluationFile = evaluation is null ? null : Path.GetFullPath(evaluation),
            // A text that is not there is an error of the run, which knows what to say.
            Fingerprint = Fingerprint.Compute(spec, folder, calibration, evaluation, quantizerFiles, file => File.Exists(file) ? hash.Compute(file) : ""),
            ArtifactPath = artifact,
            BuildRecordPath = BuildRecord.PathOf(artifact),
            ReportPath = Path.ChangeExtension(artifact, ".html"),
        };
    }
}
