using System.CommandLine;

namespace QuantBuild.Worker;

/// <summary>The verb <c>download</c>: a model of the hub comes into the cache. A build calls it, first for what describes the model, and for the weights only where something is quantized.</summary>
internal static class DownloadCommand
{
    /// <summary>The command with its options.</summary>
    public static Command Create()
    {
        Argument<string> id = new("id") { Description = "The model's id, such as org/name, or a GGUF file of one, such as org/name/file.gguf." };
        Option<string> revision = new("--revision") { Description = "A branch, a tag or a commit.", DefaultValueFactory = _ => HubModel.DefaultRevision };
        Option<bool> weights = new("--weights") { Description = "The weights too." };
        Command command = new("download", "Downloads a model of the hub.") { id, revision, weights };
        command.Hidden = true;
        command.SetAction(result =>
        {
            using LineReport lines = new();
            return Verb.Run(lines, cancelAtEndOfInput: true, cancellation =>
                Download(Named(result.GetValue(id)!, result.GetValue(revision)!), result.GetValue(weights), lines, cancellation.Token));
        });
        return command;
    }

    /// <summary>The option of verbs that take a model of the hub.</summary>
    public static Option<string?> RevisionOption() =>
        new("--revision") { Description = $"Of a model of the hub: a branch, a tag or a commit. Left out, it is {HubModel.DefaultRevision}." };

    /// <summary>The folder, or the GGUF file, of a model that a person names: it itself, or where it was downloaded to.</summary>
    /// <exception cref="QuantBuildException">It cannot be had.</exception>
    public static string FolderOf(string model, string? revision, IReport report, CancellationToken cancellationToken, bool withWeights = true) =>
        HubModel.Of(model, revision, Environment.CurrentDirectory) is { } hub ? Download(hub, withWeights, report, cancellationToken) : model;

    private static HubModel Named(string name, string revision) => HubModel.Named(name, revision) ?? throw new QuantBuildException(
        DiagnosticIds.HubModelMissing, $"{name} is not the name of a model of the hub. It is an id such as org/name, or a GGUF file of one, such as org/name/file.gguf.");

    private static string Download(HubModel model, bool withWeights, IReport report, CancellationToken cancellationToken) =>
        new Hub(HubCache.Default(), ModelCache.Default(), report.Send).DownloadAsync(model, withWeights, cancellationToken).GetAwaiter().GetResult();
}
