using System.Globalization;

namespace QuantBuild;

/// <summary>The files of a model in the Hugging Face layout, found and checked to be there; only <c>config.json</c> is read.</summary>
public sealed class ModelFolder
{
    private readonly HubListing? listing;

    private ModelFolder(string path, DecoderConfig config, string configJson, IReadOnlyList<string> weightFiles, HubListing? listing)
    {
        this.listing = listing;
        Path = path;
        Config = config;
        ConfigJson = configJson;
        WeightFiles = weightFiles;
    }

    /// <summary>Full path of the folder.</summary>
    public string Path { get; }

    /// <summary>What <c>config.json</c> says.</summary>
    public DecoderConfig Config { get; }

    /// <summary>The text of <c>config.json</c>.</summary>
    public string ConfigJson { get; }

    /// <summary>Full paths of the <c>*.safetensors</c> files, ordered by name.</summary>
    public IReadOnlyList<string> WeightFiles { get; }

    /// <summary>Full path of <c>tokenizer.json</c>.</summary>
    public string TokenizerFile => System.IO.Path.Combine(Path, "tokenizer.json");

    /// <summary>Full path of <c>tokenizer_config.json</c>, or <see langword="null"/> where there is none.</summary>
    public string? TokenizerConfigFile => Optional("tokenizer_config.json");

    /// <summary>Full path of <c>generation_config.json</c>, or <see langword="null"/> where there is none.</summary>
    public string? GenerationConfigFile => Optional("generation_config.json");

    /// <summary>Full path of <c>model.safetensors.index.json</c>, or <see langword="null"/> where there is none.</summary>
    public string? IndexFile => Optional("model.safetensors.index.json");

    /// <summary>
    /// The commit of the model's repository that the files are of, where the folder tells: one of huggingface_hub's cache has it in its name, and one that it downloaded to in a file.
    /// </summary>
    public string? Revision
    {
        get
        {
            string? parent = System.IO.Path.GetFileName(System.IO.Path.GetDirectoryName(Path));
            if (parent == "snapshots" && HubModel.IsCommit(System.IO.Path.GetFileName(Path))) return System.IO.Path.GetFileName(Path);
            string metadata = System.IO.Path.Combine(Path, ".cache", "huggingface", "download", "config.json.metadata");
            return File.Exists(metadata) && File.ReadLines(metadata).FirstOrDefault()?.Trim() is { } line && HubModel.IsCommit(line) ? line : null;
        }
    }

    /// <summary>Every file that decides the artifact, ordered by name.</summary>
    public IReadOnlyList<string> Files =>
    [
        .. new[] { System.IO.Path.Combine(Path, "config.json"), TokenizerFile, TokenizerConfigFile, GenerationConfigFile, IndexFile }
            .Concat(WeightFiles).Where(file => file is not null).Select(file => file!).OrderBy(System.IO.Path.GetFileName, StringComparer.Ordinal),
    ];

    /// <summary>Finds the files of a model.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="listing">What the hub has of the model, where it comes from there: the weights need not be in the folder yet.</param>
    /// <exception cref="QuantBuildException">QB2001 to QB2004, QB2008, QB2010 or QB2011.</exception>
    public static ModelFolder Open(string path, HubListing? listing = null)
    {
        string folder = System.IO.Path.GetFullPath(path);
        if (!Directory.Exists(folder))
        {
            throw new QuantBuildException(
                DiagnosticIds.ModelMissing,
                $"The model folder {folder} does not exist. Include names a folder in the Hugging Face layout " +
                "(config.json, tokenizer.json, *.safetensors), relative to the project file. Download the model there, or correct the path.");
        }

        string configFile = System.IO.Path.Combine(folder, "config.json");
        if (!File.Exists(configFile))
        {
            throw new QuantBuildException(
                DiagnosticIds.ConfigMissing,
                $"The model folder {folder} has no config.json; it has {Listing(folder)}. Copy the whole model folder, or correct the path.");
        }

        string configJson = File.ReadAllText(configFile);
        DecoderConfig config = DecoderConfig.Parse(configJson, configFile);
        if (!File.Exists(System.IO.Path.Combine(folder, "tokenizer.json")))
        {
            throw new QuantBuildException(
                DiagnosticIds.TokenizerMissing,
                $"The model folder {folder} has no tokenizer.json; it has {Listing(folder)}. Copy it from where the model came from: " +
                "without it text cannot become tokens.");
        }

        string[] weights = listing is null
            ? [.. Directory.GetFiles(folder, "*.safetensors").OrderBy(System.IO.Path.GetFileName, StringComparer.Ordinal)]
            : [.. Listed(listing, folder).Select(file => System.IO.Path.Combine(folder, file.Name))];
        if (weights.Length == 0)
        {
            throw new QuantBuildException(
                DiagnosticIds.WeightsMissing,
                $"The model folder {folder} has no *.safetensors file; it has {Listing(folder)}. Copy the weights there in safetensors form.");
        }

        return new ModelFolder(folder, config, configJson, weights, listing);
    }

    /// <summary>The SHA-256 of a file where the hub said it, whether the file is here or not; else <see langword="null"/>.</summary>
    /// <param name="file">One of <see cref="Files"/>.</param>
    public string? KnownHash(string file) => listing?.Find(System.IO.Path.GetFileName(file))?.Sha256;

    /// <summary>The size of a file, whether it is here or only known from the hub.</summary>
    /// <param name="file">One of <see cref="Files"/>.</param>
    public long BytesOf(string file)
    {
        if (listing?.Find(System.IO.Path.GetFileName(file)) is { } listed) return listed.Bytes;
        // Asked of the open file: the length of a link is its own.
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        return stream.Length;
    }

    private static IReadOnlyList<HubFile> Listed(HubListing listing, string folder)
    {
        try
        {
            return listing.Weights(folder);
        }
        catch (FormatException e)
        {
            throw new QuantBuildException(DiagnosticIds.WeightsMissing, $"The weights of {folder} cannot be found: {e.Message}. Choose a Revision of the model that is whole.", e);
        }
    }

    private static string Listing(string folder)
    {
        const int shown = 8;
        string[] names = [.. Directory.GetFileSystemEntries(folder).Select(e => System.IO.Path.GetFileName(e)!).OrderBy(n => n, StringComparer.Ordinal)];
        if (names.Length == 0) return "no files";
        string more = names.Length > shown ? string.Format(CultureInfo.InvariantCulture, " and {0} more", names.Length - shown) : "";
        return string.Join(", ", names.Take(shown)) + more;
    }

    private string? Optional(string name)
    {
        string file = System.IO.Path.Combine(Path, name);
        return File.Exists(file) ? file : null;
    }
}
