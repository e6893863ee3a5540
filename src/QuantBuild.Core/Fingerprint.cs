using System.Text;

namespace QuantBuild;

/// <summary>
/// The identity of an artifact: SHA-256 over the specification, the content of the model's files and of the texts, and the quantizer's
/// own identity. The same inputs give the same fingerprint on any machine; no path and no time enters it.
/// </summary>
public static class Fingerprint
{
    private static readonly string[] QuantizerAssemblies = ["QuantBuild.Core.dll", "QuantBuild.Runtime.dll", "QuantBuild.Quantization.dll", "QuantBuild.Worker.dll"];

    /// <summary>
    /// The code that decides an artifact's bytes: specification and configuration are read in Core, texts tokenized and weights packed in Runtime.
    /// </summary>
    /// <param name="workerFolder">The folder of the worker.</param>
    public static IReadOnlyList<string> QuantizerFiles(string workerFolder) => [.. QuantizerAssemblies.Select(name => Path.Combine(workerFolder, name))];

    /// <summary>Computes a fingerprint: 64 lowercase hexadecimal digits.</summary>
    /// <param name="spec">The specification.</param>
    /// <param name="model">The model's files.</param>
    /// <param name="calibrationFile">The calibration text, where one is declared.</param>
    /// <param name="evaluationFile">The evaluation text, where one is declared.</param>
    /// <param name="quantizerFiles">What <see cref="QuantizerFiles"/> gave.</param>
    /// <param name="hash">Gives a file's SHA-256.</param>
    public static string Compute(
        QuantizationSpec spec, ModelFolder model, string? calibrationFile, string? evaluationFile, IReadOnlyList<string> quantizerFiles, Func<string, string> hash)
    {
        StringBuilder text = new("quantbuild fingerprint 1\n");
        void Add(string key, string value) => text.Append(key).Append('=').Append(value).Append('\n');

        foreach (string file in quantizerFiles) Add("quantizer/" + Path.GetFileName(file), hash(file));
        foreach (KeyValuePair<string, string> entry in spec.ToMetadata()) Add(entry.Key, entry.Value);
        foreach (string file in model.Files) Add("model/" + Path.GetFileName(file), hash(file));
        // A text that is not read must not requantize. Without an evaluation text, a part of the calibration text is evaluated on.
        if (calibrationFile is not null && (spec.NeedsCalibration || evaluationFile is null)) Add("calibration", hash(calibrationFile));
        if (evaluationFile is not null) Add("evaluation", hash(evaluationFile));
        return FileHash.OfText(text.ToString());
    }
}
