using System.Text;

namespace QuantBuild;

/// <summary>
/// The identity of an artifact: SHA-256 over the specification, the content of the model's files and of the texts, and the quantizer's
/// own identity. The same inputs give the same fingerprint on any machine; no path and no time enters it.
/// </summary>
public static class Fingerprint
{
    /// <summary>The input that names the commit of the model's repository.</summary>
    public const string ModelRevision = "model revision";

    private static readonly string[] QuantizerAssemblies = ["QuantBuild.Core.dll", "QuantBuild.Runtime.dll", "QuantBuild.Quantization.dll"];

    /// <summary>
    /// The code that decides an artifact's bytes: specification and configuration are read in Core, texts tokenized and weights packed in Runtime. The worker that calls it decides nothing: a new verb requantizes nothing.
    /// </summary>
    /// <param name="workerFolder">The folder of the worker.</param>
    public static IReadOnlyList<string> QuantizerFiles(string workerFolder) => [.. QuantizerAssemblies.Select(name => Path.Combine(workerFolder, name))];

    /// <summary>Everything that decides an artifact, by name: settings, and SHA-256 of files.</summary>
    /// <param name="spec">The specification.</param>
    /// <param name="model">The model's files.</param>
    /// <param name="calibrationFile">The calibration text, where one is declared.</param>
    /// <param name="evaluationFile">The evaluation text, where one is declared.</param>
    /// <param name="quantizerFiles">What <see cref="QuantizerFiles"/> gave.</param>
    /// <param name="hash">Gives a file's SHA-256.</param>
    public static IReadOnlyList<KeyValuePair<string, string>> Inputs(
        QuantizationSpec spec, ModelFolder model, string? calibrationFile, string? evaluationFile, IReadOnlyList<string> quantizerFiles, Func<string, string> hash)
    {
        List<KeyValuePair<string, string>> inputs = [];
        void Add(string key, string value) => inputs.Add(new(key, value));

        foreach (string file in quantizerFiles) Add("quantizer/" + Path.GetFileName(file), hash(file));
        foreach (KeyValuePair<string, string> entry in spec.ToMetadata()) Add(entry.Key, entry.Value);
        foreach (string file in model.Files) Add("model/" + Path.GetFileName(file), model.KnownHash(file) ?? hash(file));
        // The artifact names it.
        if (model.Revision is { } revision) Add(ModelRevision, revision);
        // A text that is not read must not requantize. Without an evaluation text, a part of the calibration text is evaluated on.
        if (calibrationFile is not null && (spec.NeedsCalibration || evaluationFile is null)) Add("calibration", hash(calibrationFile));
        if (evaluationFile is not null) Add("evaluation", hash(evaluationFile));
        return inputs;
    }

    /// <summary>The fingerprint of what <see cref="Inputs"/> gave: 64 lowercase hexadecimal digits.</summary>
    public static string Of(IReadOnlyList<KeyValuePair<string, string>> inputs)
    {
        StringBuilder text = new("quantbuild fingerprint 1\n");
        foreach (KeyValuePair<string, string> input in inputs) text.Append(input.Key).Append('=').Append(input.Value).Append('\n');
        return FileHash.OfText(text.ToString());
    }

    /// <summary>Computes a fingerprint: <see cref="Of"/> what <see cref="Inputs"/> gives.</summary>
    public static string Compute(
        QuantizationSpec spec, ModelFolder model, string? calibrationFile, string? evaluationFile, IReadOnlyList<string> quantizerFiles, Func<string, string> hash) =>
        Of(Inputs(spec, model, calibrationFile, evaluationFile, quantizerFiles, hash));
}
