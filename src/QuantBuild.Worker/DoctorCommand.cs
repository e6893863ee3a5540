using System.CommandLine;
using System.Text.Json;

namespace QuantBuild.Worker;

/// <summary>The verb <c>doctor</c>: whether this machine can build and run models, and what to do where it cannot.</summary>
internal static class DoctorCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Option<string> device = new("--device") { Description = "Where to quantize: auto, cpu, cuda, cuda:N, cuda:N+M or cuda:all.", DefaultValueFactory = _ => "auto" };
        Option<bool> restore = new("--restore") { Description = "Restore the libraries of torch where they are not there yet." };
        Option<bool> json = CommandLine.JsonOption();
        Command command = new("doctor", "Checks device, driver, native libraries, disk, memory and cache, and says what to do.") { device, restore, json };
        command.SetAction(result =>
        {
            bool isJson = result.GetValue(json);
            Diagnosis? diagnosis = null;
            using IReport report = JsonReport.OrPerson(isJson);
            int exitCode = Verb.Run(report, cancelAtEndOfInput: false, cancellation =>
            {
                diagnosis = new DoctorRun(result.GetValue(device)!, result.GetValue(restore), report, cancellation.Token).Diagnose();
                return isJson ? JsonSerializer.Serialize(diagnosis, CommandJson.Readable.Diagnosis) : Text(diagnosis);
            });
            return diagnosis is { IsHealthy: false } ? Verb.Failed : exitCode;
        });
        return command;
    }

    private static string Text(Diagnosis diagnosis) => TextTable.List(diagnosis.Checks.SelectMany(Lines), Terminal.Width);

    // One for what was found, and one for what to do.
    private static IEnumerable<string[]> Lines(Check check)
    {
        yield return [check.Status == CheckStatus.Ok ? "OK" : check.Status.ToString().ToLowerInvariant(), check.Name, check.Found];
        if (check.Advice is { } advice) yield return ["", "", "-> " + advice];
    }
}
