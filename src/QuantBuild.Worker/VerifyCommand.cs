using System.CommandLine;
using System.Text.Json;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>The verb <c>verify</c>: whether artifacts are whole.</summary>
internal static class VerifyCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string[]> artifacts = new("artifact") { Description = "The artifacts: .safetensors files that QuantBuild made.", Arity = ArgumentArity.OneOrMore };
        Option<bool> json = CommandLine.JsonOption();
        Command command = new("verify", "Reads artifacts whole, and compares header and every tensor with what they should be.") { artifacts, json };
        command.SetAction(result =>
        {
            bool isJson = result.GetValue(json);
            Verification? verification = null;
            using IReport report = JsonReport.OrPerson(isJson);
            int exitCode = Verb.Run(report, cancelAtEndOfInput: false, cancellation =>
            {
                verification = Verification.Of(result.GetValue(artifacts)!, cancellation.Token);
                return isJson ? JsonSerializer.Serialize(verification, CommandJson.Readable.Verification) : Text(verification, report);
            });
            return verification is { IsWhole: false } ? Verb.Failed : exitCode;
        });
        return command;
    }

    /// <summary>A line for each artifact that is whole; the others are reported as errors.</summary>
    public static string Text(Verification verification, IReport report)
    {
        foreach (VerifiedArtifact damaged in verification.Artifacts.Where(artifact => artifact.Code is not null))
        {
            report.Send(new WorkerMessage { Kind = WorkerMessageKind.Error, Code = damaged.Code, Text = damaged.Message! });
        }

        return string.Join(Environment.NewLine, verification.Artifacts.Where(artifact => artifact.Code is null).Select(Line));
    }

    private static string Line(VerifiedArtifact whole) => $"whole: {whole.Path} ({Number.Count(whole.Tensors!.Value)} tensors, {Number.Bytes(whole.Bytes)})";
}
