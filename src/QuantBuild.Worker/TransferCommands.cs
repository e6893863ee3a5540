using System.CommandLine;

namespace QuantBuild.Worker;

/// <summary>The verbs <c>fetch</c> and <c>share</c>: an artifact comes from the team's cache, or goes there. A build calls them, holding the artifact's lock where it must.</summary>
internal static class TransferCommands
{
    /// <summary>The command that brings an artifact into the user's cache.</summary>
    public static Command CreateFetch() => Create(
        "fetch",
        "Fetches an artifact from a remote cache into the user's.",
        new Option<string>("--from") { Description = "A folder, an address, or azure://container.", Required = true },
        static (remote, fingerprint, token) => remote.FetchAsync(fingerprint, FingerprintOf, token).GetAwaiter().GetResult() ? "fetched" : "not fetched");

    /// <summary>The command that gives an artifact to the team.</summary>
    public static Command CreateShare() => Create(
        "share",
        "Writes an artifact of the user's cache to a remote cache.",
        new Option<string>("--to") { Description = "A folder, an address, or azure://container.", Required = true },
        static (remote, fingerprint, token) => remote.ShareAsync(fingerprint, token).GetAwaiter().GetResult() ? "shared" : "not shared");

    private static Command Create(string name, string description, Option<string> location, Func<RemoteCache, string, CancellationToken, string> transfer)
    {
        Argument<string> fingerprint = new("fingerprint") { Description = "The artifact's fingerprint." };
        Command command = new(name, description) { fingerprint, location };
        command.Hidden = true;
        command.SetAction(result =>
        {
            using LineReport lines = new();
            return Verb.Run(lines, cancelAtEndOfInput: true, cancellation =>
            {
                using RemoteCache remote = new(result.GetValue(location)!, ModelCache.Default(), lines.Send);
                return transfer(remote, result.GetValue(fingerprint)!, cancellation.Token);
            });
        });
        return command;
    }

    private static string? FingerprintOf(string path)
    {
        try
        {
            using Artifact artifact = Artifact.Open(path);
            return artifact.Manifest.Fingerprint;
        }
        catch (QuantBuildException)
        {
            return null;
        }
    }
}
