using System.CommandLine;

namespace QuantBuild.Worker;

/// <summary>The verb <c>compare</c>: with <c>--request</c> for a build, with a model folder and options for people.</summary>
internal static class CompareCommand
{
    /// <summary>The command with its options.</summary>
    public static Command Create()
    {
        Argument<string?> model = new("model")
        {
            Description = "The model's folder in the Hugging Face layout, or its id on the hub, such as org/name.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        Option<string?> request = new("--request") { Description = "A build's request file; messages go to standard output, and the end of standard input cancels.", Hidden = true };
        Dictionary<string, Option<string?>> metadata = QuantizeCommand.SpecificationOptions();
        // A comparison shows figures, and refuses none.
        foreach (string gate in QualityGates.Names) metadata.Remove(gate);
        Option<string?> revision = DownloadCommand.RevisionOption();
        Option<string?> calibration = new("--calibration-data") { Description = "A text file to calibrate on; the methods that need one fail without." };
        Option<string?> evaluation = new("--evaluation-data") { Description = "A text file to measure quality on; without it, a tenth of the calibration text is held out." };
        Option<string> device = new("--device") { Description = "auto, cpu, cuda, cuda:N, cuda:N+M or cuda:all.", DefaultValueFactory = _ => "auto" };
        Option<string?> output = new("--output", "-o") { Description = "The folder for the comparison." };
        Option<bool> json = CommandLine.JsonOption();

        Command command = new("compare", "Quantizes a model by every method and compares them.") { model, request, revision, calibration, evaluation, device, output, json };
        foreach (Option<string?> option in metadata.Values) command.Options.Add(option);
        command.Validators.Add(result =>
        {
            bool build = result.GetValue(request) is not null;
            if (build == (result.GetValue(model) is not null)) result.AddError("Name a model: a folder, or an id on the hub.");
            else if (!build && result.GetValue(output) is null) result.AddError("Say with -o in which folder the comparison goes.");
        });
        command.SetAction(result =>
        {
            if (result.GetValue(request) is { } file)
            {
                using LineReport lines = new();
                return CompareRun.Execute(_ => CompareRequest.Load(file), lines, isBuild: true);
            }

            bool isJson = result.GetValue(json);
            using IReport report = JsonReport.OrPerson(isJson);
            string? FullPath(Option<string?> option) => result.GetValue(option) is { } path ? Path.GetFullPath(path) : null;
            return CompareRun.Execute(
                token =>
                {
                    string folder = Path.GetFullPath(DownloadCommand.FolderOf(result.GetValue(model)!, result.GetValue(revision), report, token));
                    return new CompareRequest
                    {
                        ModelPath = folder,
                        Spec = QuantizationSpec.FromMetadata(name => metadata.TryGetValue(name, out Option<string?>? option) ? result.GetValue(option) : null),
                        CalibrationFile = FullPath(calibration),
                        EvaluationFile = FullPath(evaluation),
                        Device = result.GetValue(device)!,
                        OutputPath = Path.Combine(FullPath(output)!, ClassNames.ModelName(folder) + ".compare"),
                    };
                },
                report,
                isBuild: false,
                isJson);
        });
        return command;
    }
}
