using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>What a build asks of the worker: one model to quantize. Travels as a small XML file.</summary>
public sealed record WorkerRequest
{
    /// <summary>Full path of the model's folder.</summary>
    public required string ModelPath { get; init; }

    /// <summary>How to quantize it.</summary>
    public required QuantizationSpec Spec { get; init; }

    /// <summary>Full path of the calibration text, where one is declared.</summary>
    public string? CalibrationFile { get; init; }

    /// <summary>Full path of the evaluation text, where one is declared.</summary>
    public string? EvaluationFile { get; init; }

    /// <summary>How much quality may be lost.</summary>
    public QualityGates Gates { get; init; } = new();

    /// <summary>Bytes of memory that the worker may use; <see langword="null"/> is what the machine has free.</summary>
    public long? MaxMemory { get; init; }

    /// <summary>Where to quantize, as <see cref="DeviceName"/> has it.</summary>
    public string Device { get; init; } = "auto";

    /// <summary>The artifact's fingerprint.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>Full path of the artifact to make; it appears whole or not at all.</summary>
    public required string ArtifactPath { get; init; }

    /// <summary>Full path of the build record to make.</summary>
    public required string BuildRecordPath { get; init; }

    /// <summary>Full path of the report to make; <see langword="null"/> makes none.</summary>
    public string? ReportPath { get; init; }

    /// <summary>Writes the request file.</summary>
    public void Save(string path)
    {
        XElement root = new(
            "QuantizeRequest",
            new XAttribute(nameof(ModelPath), ModelPath),
            new XAttribute(nameof(Device), Device),
            new XAttribute(nameof(Fingerprint), Fingerprint),
            new XAttribute(nameof(ArtifactPath), ArtifactPath),
            new XAttribute(nameof(BuildRecordPath), BuildRecordPath),
            ReportPath is null ? null : new XAttribute(nameof(ReportPath), ReportPath),
            CalibrationFile is null ? null : new XAttribute(nameof(CalibrationFile), CalibrationFile),
            EvaluationFile is null ? null : new XAttribute(nameof(EvaluationFile), EvaluationFile),
            MaxMemory is { } bytes ? new XAttribute(nameof(MaxMemory), bytes) : null,
            new XElement("Spec", Spec.ToMetadata().Select(entry => new XAttribute(entry.Key, entry.Value))),
            new XElement(nameof(Gates), Gates.ToMetadata().Select(entry => new XAttribute(entry.Key, entry.Value))));
        File.WriteAllText(path, Xml.Write(root));
    }

    /// <summary>Reads a request file.</summary>
    /// <exception cref="FormatException">The file lacks a value.</exception>
    public static WorkerRequest Load(string path)
    {
        XElement root = Xml.Parse(File.ReadAllText(path));
        string Text(string name) => (string?)root.Attribute(name)
            ?? throw new FormatException(string.Format(CultureInfo.InvariantCulture, "{0}: the attribute {1} is missing.", path, name));
        XElement spec = root.Element("Spec") ?? throw new FormatException(path + ": the element Spec is missing.");
        return new WorkerRequest
        {
            ModelPath = Text(nameof(ModelPath)),
            Spec = QuantizationSpec.FromMetadata(name => (string?)spec.Attribute(name)),
            Gates = QualityGates.FromMetadata(name => (string?)root.Element(nameof(Gates))?.Attribute(name)),
            CalibrationFile = (string?)root.Attribute(nameof(CalibrationFile)),
            EvaluationFile = (string?)root.Attribute(nameof(EvaluationFile)),
            MaxMemory = (long?)root.Attribute(nameof(MaxMemory)),
            Device = Text(nameof(Device)),
            Fingerprint = Text(nameof(Fingerprint)),
            ArtifactPath = Text(nameof(ArtifactPath)),
            BuildRecordPath = Text(nameof(BuildRecordPath)),
            ReportPath = (string?)root.Attribute(nameof(ReportPath)),
        };
    }
}
