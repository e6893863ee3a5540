using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using QuantBuild.Quantization;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>The verb <c>inspect</c>: where an artifact comes from, and what its tensors are.</summary>
internal static class InspectCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string> artifact = CommandLine.ArtifactArgument();
        Option<bool> json = CommandLine.JsonOption();
        Command command = new("inspect", "Shows where an artifact comes from, and format, bits and size of each tensor.") { artifact, json };
        command.SetAction(result =>
        {
            bool isJson = result.GetValue(json);
            using IReport report = JsonReport.OrPerson(isJson);
            return Verb.Run(report, cancelAtEndOfInput: false, _ =>
            {
                using Artifact opened = Artifact.Open(result.GetValue(artifact)!);
                Inspection inspection = Inspection.Of(opened);
                return isJson
                    ? JsonSerializer.Serialize(inspection, CommandJson.Readable.Inspection)
                    : string.Join(Environment.NewLine + Environment.NewLine, Head(inspection), Tensors(inspection), Totals(inspection));
            });
        });
        return command;
    }

    private static string Head(Inspection of)
    {
        static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
        List<string[]> rows =
        [
            ["model", Text($"{of.ModelName}, {of.Architecture}, {of.Parameters:N0} weights, context {of.ContextLength:N0}")],
            ["quantized", SpecificationText.Of(of.Spec)],
            ["size", Text($"{Number.Bytes(of.OriginalBytes)} -> {Number.Bytes(of.FileBytes)}, {of.BitsPerWeight:F2} bits per weight, all tensors counted")],
            ["quality", of.Quality is { } quality ? QualityText.Of(quality) : "not measured"],
            ["specification", string.Join(' ', of.Spec.OrderBy(entry => entry.Key, StringComparer.Ordinal).Select(entry => $"{entry.Key}={entry.Value}"))],
            ["fingerprint", of.Fingerprint],
            ["quantizer", Text($"{of.QuantizerVersion}, artifact format {of.FormatVersion}")],
            .. of.ModelFiles.Select(file => new[] { file.Name, $"{Number.Bytes(file.Size)}, SHA-256 {file.Sha256}" }),
        ];
        if (of.CalibrationSha256 is { } calibration) rows.Add(["calibration", "SHA-256 " + calibration]);
        if (of.EvaluationSha256 is { } evaluation) rows.Add(["evaluation", "SHA-256 " + evaluation]);
        if (of.Build is { } build)
        {
            rows.Add(["made", Text($"{build.StartedAt:yyyy-MM-dd HH:mm:ss} UTC in {Number.Duration(build.Seconds)} on {build.Device}, {Number.Bytes(build.PeakMemoryBytes)} at the peak")]);
        }

        return TextTable.List(rows, Terminal.Width);
    }

    private static string Tensors(Inspection of) => TextTable.Of(
        ["tensor", "format", ">bits", ">group", ">shape", ">bytes", ">bits per weight"],
        of.Tensors.Select(tensor => new[]
        {
            tensor.Name,
            tensor.Format,
            Whole(tensor.Bits),
            Whole(tensor.Group),
            string.Join('×', tensor.Shape),
            Number.Count(tensor.Bytes),
            Number.Fixed(tensor.BitsPerWeight, 2),
        }));

    private static string Totals(Inspection of) => TextTable.Of(
        ["format", ">bits", ">tensors", ">weights", ">bytes", ">bits per weight"],
        of.Formats.Select(format => new[]
        {
            format.Format, Whole(format.Bits), Number.Count(format.Tensors), Number.Count(format.Weights), Number.Count(format.Bytes), Number.Fixed(format.BitsPerWeight, 2),
        }));

    private static string Whole(int? value) => value?.ToString(CultureInfo.InvariantCulture) ?? Number.None;
}
