using Microsoft.Build.Framework;

namespace QuantBuild.Tasks;

/// <summary>What one <c>&lt;QuantizedModel&gt;</c> item declares, checked as far as it can be without reading weights.</summary>
internal sealed record ModelDeclaration
{
    /// <summary>Name of the class to generate.</summary>
    public required string ClassName { get; init; }

    /// <summary>Namespace of the class to generate.</summary>
    public required string Namespace { get; init; }

    /// <summary>Name of the model: the last segment of its path or of its id on the hub.</summary>
    public required string ModelName { get; init; }

    /// <summary>The model on the hub, where it comes from there.</summary>
    public HubModel? Source { get; init; }

    /// <summary>The model's files; <see langword="null"/> where an IDE asks for a model of the hub that was not downloaded yet.</summary>
    public required ModelFolder? Folder { get; init; }

    /// <summary>How to quantize it.</summary>
    public required QuantizationSpec Spec { get; init; }

    /// <summary>What it is for, where the item says so.</summary>
    public ModelUse? Use { get; init; }

    /// <summary>What <c>Method="Auto"</c> chose, and why.</summary>
    public string? AutoReason { get; init; }

    /// <summary>How much quality may be lost.</summary>
    public required QualityGates Gates { get; init; }

    /// <summary>Bytes of memory that the worker may use, where a limit is declared.</summary>
    public long? MaxMemory { get; init; }

    /// <summary>Full path of the calibration text, where one is declared.</summary>
    public string? CalibrationFile { get; init; }

    /// <summary>Full path of the evaluation text, where one is declared.</summary>
    public string? EvaluationFile { get; init; }

    /// <summary>Whether the artifact goes into the project's NuGet package.</summary>
    public bool IsPacked { get; init; }

    /// <summary>The chat template that the item asks for: a file, or the name of one of the model's.</summary>
    public string? ChatTemplate { get; init; }

    /// <summary>Name of the artifact beside the program. A program may use packages of strangers to each other: what comes in one has the namespace in its name.</summary>
    public string ArtifactFileName => (IsPacked ? $"{Namespace}.{ClassName}" : ClassName) + ".safetensors";

    /// <summary>Bits per weight: of a size, the width next to what it leaves for each weight.</summary>
    public int NominalBits => Spec.TargetSize is null || Folder is null ? Spec.Bits : WidthBudget.NominalBits(
        new QuantizationPlan(Folder.Config, Spec), Folder.WeightFiles.Sum(Folder.BytesOf), Folder.TokenizerBytes);

    /// <summary>Reads an item.</summary>
    /// <param name="item">The item.</param>
    /// <param name="overrides">The project's overrides.</param>
    /// <param name="projectFolder">What its paths are relative to.</param>
    /// <param name="rootNamespace">The project's root namespace.</param>
    /// <param name="commits">Finds models of the hub.</param>
    /// <param name="designTime">Whether an IDE asks.</param>
    /// <exception cref="QuantBuildException">What is wrong with it: QB0xxx, QB2xxx or QB3xxx.</exception>
    public static ModelDeclaration Read(ITaskItem item, OverrideItems overrides, string projectFolder, string rootNamespace, HubCommits commits, bool designTime)
    {
        string? Metadata(string name) => item.GetMetadata(name) is { Length: > 0 } value ? value : null;
        string FullPath(string path) => Path.GetFullPath(Path.Combine(projectFolder, path));

        HubModel? source = commits.ModelOf(item);
        string path = FullPath(item.ItemSpec);
        // Of weights that are quantized already, the checkpoint says how, and what the item says is only held against that.
        CheckpointQuantization? quantized = ModelFolder.QuantizationOf(source is null ? path : commits.PathOf(source, designTime) ?? path) is { Spec: not null } found ? found : null;
        AutoMethod? auto = quantized is null ? AutoMethod.Choose(Metadata, isCalibrated: Metadata(MetadataNames.CalibrationData) is not null) : null;
        QuantizationSpec spec = quantized?.Adopt(Metadata, item.ItemSpec) ?? QuantizationSpec.FromMetadata(auto is null ? Metadata : auto.Metadata);
        QualityGates gates = QualityGates.FromMetadata(Metadata);
        long? maxMemory = MemoryLimit.Read(Metadata(MemoryLimit.Name));
        string className = Metadata(MetadataNames.ClassName) ?? ClassNames.Create(
            ClassNames.ModelName(path), auto is null ? spec.Method.ToString() : AutoMethod.Name, auto is null || auto.IsWidthGiven ? spec.WidthName : "");
        spec = spec with { Override = QuantizationOverride.Canonical($"{spec.Override}; {overrides.For(item.ItemSpec, className)}") };
        if (!ClassNames.IsClassName(className))
        {
            string why = ClassNames.IsIdentifier(className) ? "is the name of one of the class's own members" : "is not a C# identifier";
            throw new QuantBuildException(
                DiagnosticIds.ClassNameInvalid, $"The class name \"{className}\" of {item.ItemSpec} {why}. Set ClassName to another, such as MyModel.");
        }

        string @namespace = Metadata(MetadataNames.Namespace) ?? ClassNames.DefaultNamespace(rootNamespace);
        if (!ClassNames.IsNamespace(@namespace))
        {
            throw new QuantBuildException(
                DiagnosticIds.ClassNameInvalid,
                $"The namespace \"{@namespace}\" of {item.ItemSpec} is not a C# namespace. Set Namespace to one, such as MyProgram.Models; " +
                "left out, it is made of the project's RootNamespace.");
        }

        ModelFolder? folder = source is null ? ModelFolder.Open(path) : commits.Open(source, designTime);
        if (folder is not null) new QuantizationPlan(folder.Config, spec).Check();
        string? calibration = Metadata(MetadataNames.CalibrationData) is { } c ? FullPath(c) : null;
        string? evaluation = Metadata(MetadataNames.EvaluationData) is { } e ? FullPath(e) : null;
        CheckCalibration(item.ItemSpec, spec, calibration, isEvaluated: evaluation is null);
        CheckEvaluation(evaluation);
        if (gates.AreDeclared && evaluation is null && calibration is null) throw gates.NothingMeasured();
        return new ModelDeclaration
        {
            ClassName = className,
            Namespace = @namespace,
            ModelName = ClassNames.ModelName(path),
            Source = source,
            Folder = folder,
            Spec = spec,
            Use = ModelUses.Read(Metadata(ModelUses.Name)),
            AutoReason = auto?.Reason(spec),
            Gates = gates,
            MaxMemory = maxMemory,
            CalibrationFile = calibration,
            EvaluationFile = evaluation,
            IsPacked = IsPackedBy(Metadata(MetadataNames.PackQuantizedModel)),
            ChatTemplate = Metadata(MetadataNames.ChatTemplate),
        };
    }

    private static bool IsPackedBy(string? text)
    {
        if (string.IsNullOrWhiteSpace(text)) return false;
        if (bool.TryParse(text!.Trim(), out bool value)) return value;
        throw new QuantBuildException(
            DiagnosticIds.MetadataInvalid, $"{MetadataNames.PackQuantizedModel}=\"{text}\" is neither true nor false. Set it to true where the project's NuGet package is to have the artifact.");
    }

    // How many tokens a text has, the worker finds out; that it is there and has anything in it costs nothing to see here.
    private static void CheckCalibration(string include, QuantizationSpec spec, string? calibration, bool isEvaluated)
    {
        // Without an evaluation text, a part of the calibration text is evaluated on, whatever the method reads.
        if (!spec.NeedsCalibration && (calibration is null || !isEvaluated)) return;
        if (calibration is null)
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationRequired,
                $"{spec.CalibratedBy} of {include} reads calibration text, and no CalibrationData is declared. Set CalibrationData to a " +
                $"text file with some pages of what the model will see, or {spec.WithoutCalibration}, which needs none.");
        }

        if (!File.Exists(calibration))
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationMissing,
                $"The calibration file {calibration} does not exist. CalibrationData names a text file relative to the project file: correct the path.");
        }

        if (IsEmpty(calibration))
        {
            throw new QuantBuildException(
                DiagnosticIds.CalibrationEmpty,
                $"The calibration file {calibration} is empty. Fill it with some pages of text of the kind that the model will see.");
        }
    }

    private static void CheckEvaluation(string? evaluation)
    {
        if (evaluation is null || (File.Exists(evaluation) && !IsEmpty(evaluation))) return;
        throw new QuantBuildException(
            DiagnosticIds.EvaluationUnusable,
            $"The evaluation file {evaluation} {(File.Exists(evaluation) ? "is empty" : "does not exist")}. EvaluationData names a text " +
            "file relative to the project file: correct it, or leave it out to build without measuring quality.");
    }

    // Asked of the open file: what Windows lists as the length of a symbolic link is 0.
    private static bool IsEmpty(string path)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        return stream.Length == 0;
    }
}
