using System.CommandLine;

namespace QuantBuild.Worker;

/// <summary>The verb <c>measure</c>, which reports and comparisons start: the last message is a <see cref="RuntimeMeasurement"/>.</summary>
internal static class MeasureCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string> artifact = new("artifact") { Description = "The artifact to run." };
        Option<double> seconds = new("--seconds") { Description = "How long to decode.", DefaultValueFactory = _ => MeasureRun.ForReport };
        Command command = new("measure", "Measures what it takes to run an artifact.") { artifact, seconds };
        command.Hidden = true;
        command.SetAction(result =>
        {
            using LineReport lines = new();
            return Verb.Run(lines, cancelAtEndOfInput: true, cancellation =>
                MeasureRun.Measure(result.GetValue(artifact)!, result.GetValue(seconds), cancellation.Token).ToLine());
        });
        return command;
    }
}
