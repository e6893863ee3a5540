using System.Globalization;
using System.Text;
using System.Xml.Linq;

namespace QuantBuild;

/// <summary>
/// The files of a commit on the hub, in the form in which it lists them. Kept in the user's cache: with it a build knows a model's fingerprint before it has the weights, and asks
/// the hub nothing twice.
/// </summary>
/// <param name="Commit">The commit.</param>
/// <param name="Files">The files at the top of the repository.</param>
public sealed record HubListing(string Commit, IReadOnlyList<HubFile> Files)
{
    /// <summary>The file that lists the weight files of a model that has several.</summary>
    internal const string SafetensorsIndex = "model.safetensors.index.json";
    internal const string PickleIndex = "pytorch_model.bin.index.json";

    // As much of an index as is read of a folder's.
    private const long LongestIndex = 64 << 20;

    private static readonly string[] Described =
    [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    ];

    // What stands in for a part of a GGUF file where it lies beside it.
    private static readonly string[] BesideGguf = ["generation_config.json", "tokenizer.json", "tokenizer_config.json"];

    // What other tokenizers are made of, where there is no tokenizer.json.
    private static readonly string[] OtherTokenizers = ["tokenizer.model", "spiece.model", "tekken.json", "vocab.json", "merges.txt"];

    /// <summary>The GGUF file that is meant, where the model is one.</summary>
    public string? Gguf { get; init; }

    /// <summary>
    /// What describes the model: the configuration, the tokenizer, and the list of its weight files; never code. A GGUF file is description and weights in one.
    /// </summary>
    public IReadOnlyList<HubFile> Description => Gguf is not null ? [.. Files.Where(file => BesideGguf.Contains(file.Name)), .. GgufParts] :
    [
        .. Files.Where(file => Described.Contains(file.Name) || file.Name == IndexName
            || (Find("tokenizer.json") is null && (OtherTokenizers.Contains(file.Name) || file.Name.EndsWith(".tiktoken", StringComparison.Ordinal)))),
    ];

    private bool HasSafetensors => Files.Any(file => IsSafetensors(file.Name));

    private string? IndexName => Find(HasSafetensors ? SafetensorsIndex : PickleIndex)?.Name;

    private IEnumerable<HubFile> GgufParts => GgufFile.PartsOf(Gguf!).Select(Find).OfType<HubFile>();

    /// <summary>Where the listing of a commit is kept.</summary>
    public static string PathOf(ModelCache cache, HubModel model, string commit) => Path.Combine(cache.Root, "hub", "models--" + model.Id.Replace("/", "--"), commit + ".json");

    /// <summary>The listing that is kept of a commit; <see langword="null"/> where none is.</summary>
    public static HubListing? Recall(ModelCache cache, HubModel model, string commit)
    {
        try
        {
            string path = PathOf(cache, model, commit);
            return File.Exists(path) && Parse(File.ReadAllText(path)) is var listing && listing.Commit == commit ? listing with { Gguf = model.File } : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            // It is asked for again.
            return null;
        }
    }

    /// <summary>Reads what the hub says of a revision.</summary>
    /// <exception cref="FormatException">It is not that.</exception>
    public static HubListing Parse(string json)
    {
        XElement root = Json.Parse(json);
        string commit = root.Member("sha")?.Value ?? throw new FormatException("it names no commit");
        if (!HubModel.IsCommit(commit)) throw new FormatException($"its commit is \"{commit}\"");
        XElement siblings = root.Member("siblings") ?? throw new FormatException("it lists no files");
        return new HubListing(commit, [.. siblings.Elements().Select(HubFile.Read).OfType<HubFile>().OrderBy(file => file.Name, StringComparer.Ordinal)]);
    }

    /// <summary>The listing in the hub's form.</summary>
    public string ToJson()
    {
        StringBuilder text = new($"{{\n  \"sha\": {Json.Quote(Commit)},\n  \"siblings\": [");
        string separator = "\n";
        foreach (HubFile file in Files)
        {
            string lfs = file.Sha256 is null ? "" : $", \"lfs\": {{ \"sha256\": {Json.Quote(file.Sha256)} }}";
            text.Append(separator).Append(string.Format(
                CultureInfo.InvariantCulture, "    {{ \"rfilename\": {0}, \"size\": {1}, \"blobId\": {2}{3} }}", Json.Quote(file.Name), file.Bytes, Json.Quote(file.GitHash), lfs));
            separator = ",\n";
        }

        return text.Append("\n  ]\n}\n").ToString();
    }

    /// <summary>The weight files that an index lists.</summary>
    /// <exception cref="FormatException">It is no index.</exception>
    internal static IEnumerable<string> ListedIn(string index)
    {
        using FileStream stream = new(index, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        if (stream.Length > LongestIndex) throw new FormatException($"{Path.GetFileName(index)} has {stream.Length} bytes, and at most {LongestIndex} are read");
        using StreamReader reader = new(stream);
        XElement map = Json.Parse(reader.ReadToEnd()).Member("weight_map") ?? throw new FormatException($"{Path.GetFileName(index)} has no weight_map");
        return map.Elements().Select(entry => entry.Value).Distinct().OrderBy(name => name, StringComparer.Ordinal);
    }

    /// <summary>A file by its name; <see langword="null"/> where the commit has none such.</summary>
    public HubFile? Find(string name) => Files.FirstOrDefault(file => file.Name == name);

    /// <summary>
    /// The weights, in the form that is read best: safetensors, else PyTorch's own. Of a repository that has them in several ways, those that its index lists. Where a GGUF file is meant, its parts.
    /// </summary>
    /// <param name="snapshot">The folder with what describes the model: the index is read there.</param>
    /// <exception cref="FormatException">The index cannot be read, or lists a file that is not there.</exception>
    public IReadOnlyList<HubFile> Weights(string snapshot)
    {
        if (Gguf is not null) return [.. GgufParts];
        if (IndexName is { } index)
        {
            return
            [
                .. ListedIn(Path.Combine(snapshot, index)).Select(name => Find(name) ?? throw new FormatException($"{index} lists {name}, and there is no such file")),
            ];
        }

        if (Find(HasSafetensors ? "model.safetensors" : "pytorch_model.bin") is { } whole) return [whole];
        return [.. Files.Where(file => HasSafetensors ? IsSafetensors(file.Name) : IsPickle(file.Name))];
    }

    private static bool IsSafetensors(string name) => name.EndsWith(".safetensors", StringComparison.Ordinal);

    private static bool IsPickle(string name) => name.StartsWith("pytorch_model", StringComparison.Ordinal) && name.EndsWith(".bin", StringComparison.Ordinal);
}

/// <summary>A file on the hub.</summary>
/// <param name="Name">Its name, at the top of the repository.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Sha256">SHA-256 of its content, where the hub says: of large files it does.</param>
/// <param name="GitHash">Git's hash of it: of a large file that of the pointer in its place.</param>
public sealed record HubFile(string Name, long Bytes, string? Sha256, string GitHash)
{
    private static readonly char[] NotInNames = ['/', '\\', ':', '*', '?', '"', '<', '>', '|'];

    /// <summary>What the cache names its content by.</summary>
    public string ETag => Sha256 ?? GitHash;

    /// <summary>Reads one file of a listing.</summary>
    /// <returns>The file; <see langword="null"/> where it is in a folder, or has a name that no file here should have.</returns>
    /// <exception cref="FormatException">It is not one.</exception>
    internal static HubFile? Read(XElement sibling)
    {
        string name = sibling.Member("rfilename")?.Value ?? throw new FormatException("a file has no name");
        if (name.Length is 0 or > 200 || name[0] == '.' || name.IndexOfAny(NotInNames) >= 0 || name.Any(char.IsControl)) return null;
        XElement? lfs = sibling.Member("lfs");
        string? sha256 = lfs?.Member("sha256")?.Value;
        if (lfs is not null && (sha256 is null || !HubModel.IsHash(sha256, 64))) throw new FormatException($"{name} has no SHA-256");
        string git = sibling.Member("blobId")?.Value ?? "";
        if (!HubModel.IsHash(git, 40)) throw new FormatException($"{name} has no git hash");
        return long.TryParse(sibling.Member("size")?.Value, NumberStyles.None, CultureInfo.InvariantCulture, out long bytes)
            ? new HubFile(name, bytes, sha256, git)
            : throw new FormatException($"{name} has no size");
    }
}
