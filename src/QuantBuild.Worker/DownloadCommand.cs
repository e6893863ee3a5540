using System.CommandLine;

namespace QuantBuild.Worker;

/// <summary>The verb <c>download</c>: a model of the hub comes into the cache. A build calls it, first for what describes the model, and for the weights only where something is quantized.</summary>
internal static class DownloadCommand
{
    /// <summary>The command with its options.</summary>
    public static Command Create()
    {
        Argument<string> id = new("id") { Description = "The model's id, such as org/name." };
        Option<string> revision = new("--revision") { Description = "A branch, a tag or a commit.", DefaultValueFactory = _ => HubModel.DefaultRevision };
        Option<bool> weights = new("--weights") { Description = "The weights too." };
        Command command = new("download", "Downloads a model of the hub.") { id, revision, weights };
        command.Hidden = true;
        command.SetAction(result =>
        {
            using LineReport lines = new();
            return Verb.Run(lines, cancelAtEndOfInput: true, cancellation =>
                Download(new HubModel(result.GetValue(id)!, result.GetValue(revision)!), result.GetValue(weights), lines.Send, cancellation.Token));
        });
        return command;
    }

    /// <summary>Downloads a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="withWeights">Whether its weights are wanted too.</param>
    /// <param name="report">Receives progress.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>Full path of its folder.</returns>
    /// <exception cref="QuantBuildException">It cannot be had.</exception>
    public static string Download(HubModel model, bool withWeights, Action<WorkerMessage> report, CancellationToken cancellationToken) =>
        new Hub(HubCache.Default(), ModelCache.Default(), report).DownloadAsync(model, withWeights, cancellationToken).GetAwaiter().GetResult();
}
