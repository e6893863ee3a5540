namespace QuantBuild;

/// <summary>
/// The cache of models of the hub, shared with Python's huggingface_hub and in its layout: <c>models--org--name/</c> with the files by content in <c>blobs/</c>, the commit of
/// each branch in <c>refs/</c>, and a folder of links for each commit in <c>snapshots/</c>.
/// </summary>
/// <param name="root">The cache's folder. It need not exist yet.</param>
public sealed class HubCache(string root)
{
    /// <summary>The environment variable that moves everything of the hub's tools, and with it the cache.</summary>
    public const string HomeVariable = "HF_HOME";

    /// <summary>The environment variable that forbids asking the hub.</summary>
    public const string OfflineVariable = "HF_HUB_OFFLINE";

    /// <summary>The cache's folder.</summary>
    public string Root { get; } = Path.GetFullPath(root);

    /// <summary>Whether asking the hub is forbidden.</summary>
    public static bool IsOffline => Environment.GetEnvironmentVariable(OfflineVariable)?.Trim().ToUpperInvariant() is "1" or "ON" or "YES" or "TRUE";

    /// <summary>The folder of the hub's tools: <c>HF_HOME</c>, else <c>huggingface</c> in the user's cache.</summary>
    public static string Home
    {
        get
        {
            if (Variable(HomeVariable) is { } home) return home;
            return Path.Combine(Variable("XDG_CACHE_HOME") ?? Path.Combine(UserFolder, ".cache"), "huggingface");
        }
    }

    private static string UserFolder
    {
        get
        {
            string folder = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify);
            // A service account may have no home.
            return folder.Length > 0 ? folder : Path.GetTempPath();
        }
    }

    /// <summary>The user's cache: <c>HF_HUB_CACHE</c>, else <c>hub</c> in <see cref="Home"/>.</summary>
    public static HubCache Default() => new(Variable("HF_HUB_CACHE") ?? Variable("HUGGINGFACE_HUB_CACHE") ?? Path.Combine(Home, "hub"));

    /// <summary>A path in an environment variable; <see langword="null"/> where there is none.</summary>
    public static string? Variable(string name)
    {
        if (Environment.GetEnvironmentVariable(name) is not { Length: > 0 } value) return null;
        return value == "~" || value.StartsWith("~/", StringComparison.Ordinal) ? Path.Combine(UserFolder, value.Substring(1).TrimStart('/')) : value;
    }

    /// <summary>The model at a commit, once it is there: the folder with its files, or its GGUF file in that.</summary>
    public string PathOf(HubModel model, string commit) => model.File is { } file ? Path.Combine(Snapshot(model, commit), file) : Snapshot(model, commit);

    /// <summary>The files of a commit, once they are there.</summary>
    public string Snapshot(HubModel model, string commit) => Path.Combine(Folder(model), "snapshots", commit);

    /// <summary>A file by its content.</summary>
    public string Blob(HubModel model, string etag) => Path.Combine(Folder(model), "blobs", etag);

    /// <summary>What is locked while a file by its content is written.</summary>
    public string BlobLock(HubModel model, string etag) => Path.Combine(Root, ".locks", FolderName(model), etag + ".lock");

    /// <summary>The commit that a revision was when the hub was asked last; <see langword="null"/> where it never was.</summary>
    public string? Resolve(HubModel model)
    {
        if (model.IsPinned) return model.Revision;
        try
        {
            string path = Ref(model);
            return File.Exists(path) && File.ReadAllText(path).Trim() is var commit && HubModel.IsCommit(commit) ? commit : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Remembers the commit of a revision.</summary>
    public void Remember(HubModel model, string commit)
    {
        if (model.IsPinned || Resolve(model) == commit) return;
        string path = Ref(model);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, commit);
    }

    /// <summary>
    /// Whether the files of a commit are there. Of one that another tool downloaded, nobody here knows what the hub has: it is as whole as it looks.
    /// </summary>
    /// <param name="own">Where it is kept what the hub has.</param>
    /// <param name="model">The model.</param>
    /// <param name="commit">The commit.</param>
    /// <param name="withWeights">Whether its weights are asked for too.</param>
    public bool Has(ModelCache own, HubModel model, string commit, bool withWeights)
    {
        string snapshot = Snapshot(model, commit);
        bool IsThere(string name) => BytesOf(Path.Combine(snapshot, name)) >= 0;
        bool IsWhole(HubFile file) => BytesOf(Path.Combine(snapshot, file.Name)) == file.Bytes;
        if (!IsThere(model.File ?? "config.json")) return false;
        try
        {
            if (HubListing.Recall(own, model, commit) is not { } listing)
            {
                if (model.File is { } gguf) return GgufFile.PartsOf(gguf).All(IsThere);
                string? index = new[] { HubListing.SafetensorsIndex, HubListing.PickleIndex }.FirstOrDefault(IsThere);
                return ModelFolder.FindTokenizer(snapshot) is not null
                    && (index is not null ? HubListing.ListedIn(Path.Combine(snapshot, index)).All(IsThere) : ModelFolder.FindWeights(snapshot).Length > 0);
            }

            return listing.Description.All(IsWhole) && (!withWeights || listing.Weights(snapshot).All(IsWhole));
        }
        catch (FormatException)
        {
            return false;
        }
    }

    // A link exists whatever became of the file that it leads to: only opening it tells.
    private static long BytesOf(string path)
    {
        try
        {
            if (!File.Exists(path)) return -1;
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            return stream.Length;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return -1;
        }
    }

    private static string FolderName(HubModel model) => "models--" + model.Id.Replace("/", "--");

    private string Folder(HubModel model) => Path.Combine(Root, FolderName(model));

    private string Ref(HubModel model) => Path.Combine([Folder(model), "refs", .. model.Revision.Split('/')]);
}
