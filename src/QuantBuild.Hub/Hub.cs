namespace QuantBuild;

/// <summary>The Hugging Face hub, by way of the cache: asked only for what is not there.</summary>
/// <param name="cache">The cache of the hub's models.</param>
/// <param name="own">The user's own cache, where it is kept what a commit has.</param>
/// <param name="report">Receives progress.</param>
public sealed class Hub(HubCache cache, ModelCache own, Action<WorkerMessage> report)
{
    /// <summary>Brings what describes a model, and its weights where they are wanted, into the cache.</summary>
    /// <param name="model">The model. A branch is the commit that it is now.</param>
    /// <param name="withWeights">Whether the weights are wanted too.</param>
    /// <param name="cancellationToken">Ends it; what has arrived is kept.</param>
    /// <returns>Full path of the folder with the files, or of the GGUF file in it.</returns>
    /// <exception cref="QuantBuildException">
    /// QB1003, QB1004: the cache cannot be written. QB1040 to QB1043: the hub cannot be asked. QB2030 to QB2033: it does not have the model, or not in a form that is of use.
    /// </exception>
    public async Task<string> DownloadAsync(HubModel model, bool withWeights, CancellationToken cancellationToken)
    {
        string? known = cache.Resolve(model);
        if (HubCache.IsOffline) return Offline(model, known, withWeights);
        using HubClient client = new(HubEndpoint.FromEnvironment());
        HubDownload download = new(client, cache, own, report);
        HubListing? listing = model.IsPinned ? HubListing.Recall(own, model, model.Revision) : null;
        if (listing is null)
        {
            // A build that can do without an answer does not insist on one.
            bool insists = known is null || !cache.Has(own, model, known, withWeights);
            Task<HubListing> Ask() => client.ListAsync(model, cancellationToken);
            try
            {
                listing = await (insists ? download.RepeatAsync(model, Ask, () => false, cancellationToken) : Ask()).ConfigureAwait(false);
            }
            catch (HubTransferException e) when (!insists)
            {
                report(new WorkerMessage { Kind = WorkerMessageKind.Information, Text = $"the hub could not be asked ({e.Message}); {model.Id} at {known} is taken, which the cache has" });
                return cache.PathOf(model, known!);
            }

            Keep(model, listing, download);
        }

        string snapshot = cache.Snapshot(model, listing.Commit);
        CheckForm(model, listing);

        await download.RunAsync(model, listing.Commit, listing.Description, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<HubFile> weights = Weights(model, listing, snapshot);
        if (withWeights) await download.RunAsync(model, listing.Commit, weights, cancellationToken).ConfigureAwait(false);
        return cache.PathOf(model, listing.Commit);
    }

    private static void CheckForm(HubModel model, HubListing listing)
    {
        string[] ggufs = [.. listing.Files.Select(file => file.Name).Where(GgufFile.IsGguf)];
        if (model.File is { } wanted)
        {
            if (GgufFile.PartsOf(wanted).FirstOrDefault(part => listing.Find(part) is null) is not { } missing) return;
            throw Unusable(model, listing, $"no {missing}", ggufs.Length > 0 ? $"Its GGUF files are {string.Join(", ", ggufs)}: name one of them." : "Take the repository as a whole, without the name of a file.");
        }

        if (listing.Find("config.json") is not null) return;
        throw Unusable(
            model,
            listing,
            "no config.json",
            ggufs.Length > 0 ? $"Name the GGUF file that is to be read, such as {model.Id}/{ggufs[0]}, or choose the repository that it was made from." : "Choose a repository in the form of the transformers library.");
    }

    private void Keep(HubModel model, HubListing listing, HubDownload download)
    {
        try
        {
            string path = HubListing.PathOf(own, model, listing.Commit), temporary = $"{path}.{Guid.NewGuid():N}.tmp";
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(temporary, listing.ToJson());
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw own.NotWritable(e);
        }

        try
        {
            cache.Remember(model, listing.Commit);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw download.NotWritable(e);
        }
    }

    private string Offline(HubModel model, string? known, bool withWeights)
    {
        if (known is not null && cache.Has(own, model, known, withWeights)) return cache.PathOf(model, known);
        string what = known is null ? $"nobody has asked yet which commit {model.Revision} is" : $"not all files of {known} are there";
        throw new QuantBuildException(
            DiagnosticIds.HubOffline,
            $"{model.Id} is not in the cache {cache.Root} ({what}), and {HubCache.OfflineVariable} forbids asking the hub. Build once without it, or copy the cache from a machine that has the model, " +
            $"and set {HubCache.HomeVariable} to it.");
    }

    private static IReadOnlyList<HubFile> Weights(HubModel model, HubListing listing, string snapshot)
    {
        try
        {
            IReadOnlyList<HubFile> weights = listing.Weights(snapshot);
            return weights.Count > 0 ? weights : throw Unusable(model, listing, "no weights in the form of safetensors or PyTorch's own (pytorch_model*.bin)", "Choose a repository that has them.");
        }
        catch (FormatException e)
        {
            throw Unusable(model, listing, $"a list of its weights that is of no use ({e.Message.TrimEnd('.')})", "Choose another revision.");
        }
    }

    private static QuantBuildException Unusable(HubModel model, HubListing listing, string what, string advice)
    {
        const int shown = 8;
        string files = string.Join(", ", listing.Files.Take(shown).Select(file => file.Name));
        string more = listing.Files.Count > shown ? $" and {listing.Files.Count - shown} more" : "";
        return new QuantBuildException(
            DiagnosticIds.HubModelUnusable, $"{model.Id} at {listing.Commit} has {what}; it has {(files.Length == 0 ? "no files" : files + more)}. {advice}");
    }
}
