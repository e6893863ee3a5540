using System.Globalization;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>What a build asks of the worker to compare the methods on one model. Travels as a small XML file.</summary>
public sealed record CompareRequest
{
    /// <summary>Full path of the model's folder.</summary>
    public required string ModelPath { get; init; }

    /// <summary>What is declared: a row of its own, and the settings of the others besides method and width.</summary>
    public required QuantizationSpec Spec { get; init; }

    /// <summary>Full path of the calibration text, where one is declared.</summary>
    public string? CalibrationFile { get; init; }

    /// <summary>Full path of the evaluation text, where one is declared.</summary>
    public string? EvaluationFile { get; init; }

    /// <summary>Where to quantize, as <see cref="DeviceName"/> has it.</summary>
    public string Device { get; init; } = "auto";

    /// <summary>Full path of the files to make, without <c>.html</c>, <c>.md</c> and <c>.json</c>.</summary>
    public required string OutputPath { get; init; }

    /// <summary>Writes the request file.</summary>
    public void Save(string path)
    {
        XElement root = new(
            nameof(CompareRequest),
            new XAttribute(nameof(ModelPath), ModelPath),
            new XAttribute(nameof(Device), Device),
            new XAttribute(nameof(OutputPath), OutputPath),
            CalibrationFile is null ? null : new XAttribute(nameof(CalibrationFile), CalibrationFile),
            EvaluationFile is null ? null : new XAttribute(nameof(EvaluationFile), EvaluationFile),
            new XElement(nameof(Spec), Spec.ToMetadata().Select(entry => new XAttribute(entry.Key, entry.Value))));
        File.WriteAllText(path, Xml.Write(root));
    }

    /// <summary>Reads a request file.</summary>
    /// <exception cref="FormatException">The file lacks a value.</exception>
    public static CompareRequest Load(string path)
    {
        XElement root = Xml.Parse(File.ReadAllText(path));
        string Text(string name) => (string?)root.Attribute(name)
            ?? throw new FormatException(string.Format(CultureInfo.InvariantCulture, "{0}: the attribute {1} is missing.", path, name));
        XElement spec = root.Element(nameof(Spec)) ?? throw new FormatException(path + ": the element Spec is missing.");
        return new CompareRequest
        {
            ModelPath = Text(nameof(ModelPath)),
            Spec = QuantizationSpec.FromMetadata(name => (string?)spec.Attribute(name)),
            CalibrationFile = (string?)root.Attribute(nameof(CalibrationFile)),
            EvaluationFile = (string?)root.Attribute(nameof(EvaluationFile)),
            Device = Text(nameof(Device)),
            OutputPath = Text(nameof(OutputPath)),
        };
    }
}
