using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using QuantBuild.Worker.Reporting;

namespace QuantBuild.Worker;

/// <summary>The verb <c>cache</c>: where the user's cache is, what is in it, whether that is whole, and how it is emptied.</summary>
internal static class CacheCommand
{
    /// <summary>The command with its own verbs.</summary>
    public static Command Create() => new("cache", "Shows, verifies and empties the user's cache.")
    {
        CreatePath(), CreateList(), CreateVerify(), CreateClean(),
    };

    private static Command CreatePath()
    {
        Command command = new("path", "Prints the cache's folder.");
        command.SetAction(_ =>
        {
            Console.Out.WriteLine(ModelCache.Default().Root);
            return Verb.Succeeded;
        });
        return command;
    }

    private static Command CreateList()
    {
        Option<bool> json = CommandLine.JsonOption();
        Command command = new("list", "Lists the artifacts with size and last use, the latest first.") { json };
        command.SetAction(result =>
        {
            bool isJson = result.GetValue(json);
            using IReport report = JsonReport.OrPerson(isJson);
            return Verb.Run(report, cancelAtEndOfInput: false, _ =>
            {
                CacheListing listing = CacheListing.Of(ModelCache.Default());
                return isJson ? JsonSerializer.Serialize(listing, CommandJson.Readable.CacheListing) : Text(listing);
            });
        });
        return command;
    }

    private static Command CreateVerify()
    {
        Option<bool> json = CommandLine.JsonOption();
        Command command = new("verify", "Reads every artifact, and compares it with what it was when it was made.") { json };
        command.SetAction(result =>
        {
            bool isJson = result.GetValue(json);
            Verification? verification = null;
            using IReport report = JsonReport.OrPerson(isJson);
            int exitCode = Verb.Run(report, cancelAtEndOfInput: false, cancellation =>
            {
                verification = Verification.Of(ModelCache.Default(), cancellation.Token);
                return isJson ? JsonSerializer.Serialize(verification, CommandJson.Readable.Verification) : VerifyCommand.Text(verification, report);
            });
            return verification is { IsWhole: false } ? Verb.Failed : exitCode;
        });
        return command;
    }

    private static Command CreateClean()
    {
        Option<string?> limit = new("--limit") { Description = "Remove only what was used longest ago, until the artifacts have no more than this, such as 20GB." };
        Option<bool> json = CommandLine.JsonOption();
        Command command = new("clean", "Removes all that no build is using.") { limit, json };
        command.SetAction(result =>
        {
            bool isJson = result.GetValue(json);
            using IReport report = JsonReport.OrPerson(isJson);
            return Verb.Run(report, cancelAtEndOfInput: false, _ =>
            {
                ModelCache cache = ModelCache.Default();
                CacheEviction eviction = new(cache);
                long freed = result.GetValue(limit) is { } text ? eviction.Trim(Limit(text)).Sum(removed => removed.Value) : eviction.Clean();
                Cleaning cleaning = new(cache.Root, freed, cache.Bytes());
                return isJson ? JsonSerializer.Serialize(cleaning, CommandJson.Readable.Cleaning) : $"{cache.Root}: {Number.Bytes(freed)} freed, {Number.Bytes(cleaning.Bytes)} left";
            });
        });
        return command;
    }

    private static long Limit(string text) => CacheEviction.TryReadLimit(text) ?? throw new QuantBuildException(
        DiagnosticIds.MetadataInvalid, $"--limit {text} is not a size. Write a number above 0 with its unit, such as 20GB, or leave the option out to remove everything.");

    private static string Text(CacheListing listing)
    {
        string artifacts = TextTable.Of(
            ["model", "specification", ">bytes", "last use, UTC", "fingerprint"],
            listing.Artifacts.Select(artifact => new[]
            {
                artifact.ModelName ?? Number.None,
                artifact.Spec is null ? Number.None : SpecificationText.Of(artifact.Spec),
                Number.Count(artifact.Bytes),
                artifact.LastUse.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture),
                artifact.Fingerprint,
            }));
        string sum = $"{listing.Path}: {Number.Count(listing.Artifacts.Count)} {(listing.Artifacts.Count == 1 ? "artifact" : "artifacts")}, {Number.Bytes(listing.Bytes)} in all; builds keep it within {Number.Bytes(listing.Limit)}";
        return listing.Artifacts.Count == 0 ? sum : artifacts + Environment.NewLine + Environment.NewLine + sum;
    }
}
