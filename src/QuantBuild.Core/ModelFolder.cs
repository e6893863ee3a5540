using System.Globalization;

namespace QuantBuild;

/// <summary>
/// The files of a model, found and checked to be there: a folder in the Hugging Face layout, or one GGUF file. Only <c>config.json</c>, or the GGUF file's header, is read.
/// </summary>
public sealed class ModelFolder
{
    // The first kind that is there; where a model is published in several, they hold the same weights.
    private static readonly string[] WeightPatterns = ["*.safetensors", "pytorch_model*.bin"];

    private readonly GgufFile? gguf;
    private readonly HubListing? listing;

    private ModelFolder(
        string path, DecoderConfig config, string configJson, string tokenizerFile, IReadOnlyList<string> weightFiles, GgufFile? gguf = null, HubListing? listing = null)
    {
        (this.gguf, this.listing) = (gguf, listing);
        Path = path;
        Config = config;
        ConfigJson = configJson;
        TokenizerFile = tokenizerFile;
        WeightFiles = weightFiles;
    }

    /// <summary>Full path of the folder, or of the GGUF file.</summary>
    public string Path { get; }

    /// <summary>The model's name: the last segment of its path, without a <c>.gguf</c>.</summary>
    public string Name => ClassNames.ModelName(Path);

    /// <summary>What <c>config.json</c> says.</summary>
    public DecoderConfig Config { get; }

    /// <summary>The text of <c>config.json</c>; what a GGUF file says in its place.</summary>
    public string ConfigJson { get; }

    /// <summary>Full paths of the weight files, ordered by name: <c>*.safetensors</c>; where there are none, <c>pytorch_model*.bin</c>; or the GGUF file, all parts of it.</summary>
    public IReadOnlyList<string> WeightFiles { get; }

    /// <summary>
    /// Full path of <c>tokenizer.json</c>, or where there is none of <c>tokenizer.model</c> or the <c>*.tiktoken</c> file; of the GGUF file, where the tokenizer is taken from that.
    /// </summary>
    public string TokenizerFile { get; }

    /// <summary>Full path of <c>tokenizer_config.json</c>, or <see langword="null"/> where there is none.</summary>
    public string? TokenizerConfigFile => Optional("tokenizer_config.json");

    /// <summary>Full path of <c>generation_config.json</c>, or <see langword="null"/> where there is none.</summary>
    public string? GenerationConfigFile => Optional("generation_config.json");

    /// <summary>
    /// Full path of <c>model.safetensors.index.json</c>, or of <c>pytorch_model.bin.index.json</c> where those are the weights; <see langword="null"/> where there is none.
    /// </summary>
    public string? IndexFile => gguf is not null ? null : Optional(IsBin(WeightFiles[0]) ? "pytorch_model.bin.index.json" : "model.safetensors.index.json");

    /// <summary>The text of <c>tokenizer_config.json</c>, or what a GGUF file says in its place; <see langword="null"/> where there is none.</summary>
    public string? TokenizerConfigJson => TokenizerConfigFile is { } file ? File.ReadAllText(file) : gguf is null ? null : GgufModel.TokenizerConfigJson(gguf);

    /// <summary>How many bytes <see cref="ReadTokenizer"/> gives.</summary>
    public long TokenizerBytes => TokenizerFile == Path ? ReadTokenizer().Length : BytesOf(TokenizerFile);

    /// <summary>Reads the tokenizer's file, or makes it of what the GGUF file says.</summary>
    /// <exception cref="QuantBuildException">QB2008, QB2009: the GGUF file has no tokenizer, or one that cannot be converted.</exception>
    public byte[] ReadTokenizer() =>
        gguf is not null && TokenizerFile == Path ? GgufTokenizer.ToFile(gguf) : File.ReadAllBytes(TokenizerFile);

    /// <summary>
    /// The commit of the model's repository that the files are of, where the folder tells: one of huggingface_hub's cache has it in its name, and one that it downloaded to in a file.
    /// </summary>
    public string? Revision
    {
        get
        {
            string folder = gguf is null ? Path : System.IO.Path.GetDirectoryName(Path)!, name = System.IO.Path.GetFileName(folder);
            if (System.IO.Path.GetFileName(System.IO.Path.GetDirectoryName(folder)) == "snapshots" && HubModel.IsCommit(name)) return name;
            string metadata = System.IO.Path.Combine(InFolder(".cache"), "huggingface", "download", "config.json.metadata");
            return File.Exists(metadata) && File.ReadLines(metadata).FirstOrDefault()?.Trim() is { } line && HubModel.IsCommit(line) ? line : null;
        }
    }

    /// <summary>Every file that decides the artifact, ordered by name.</summary>
    public IReadOnlyList<string> Files =>
    [
        .. new[] { gguf is null ? InFolder("config.json") : null, TokenizerFile, TokenizerConfigFile, GenerationConfigFile, IndexFile }
            .Concat(WeightFiles).Where(file => file is not null).Select(file => file!).Distinct().OrderBy(System.IO.Path.GetFileName, StringComparer.Ordinal),
    ];

    /// <summary>Finds the files of a model.</summary>
    /// <param name="path">The folder, or the GGUF file.</param>
    /// <param name="listing">What the hub has of the model, where it comes from there: the weights need not be in the folder yet.</param>
    /// <exception cref="QuantBuildException">QB2001 to QB2005, QB2008, QB2010, QB2011 or QB2042.</exception>
    public static ModelFolder Open(string path, HubListing? listing = null)
    {
        string folder = System.IO.Path.GetFullPath(path);
        if (GgufFile.IsGguf(folder) && File.Exists(folder)) return OpenGguf(folder, listing);
        if (!Directory.Exists(folder))
        {
            throw new QuantBuildException(
                DiagnosticIds.ModelMissing,
                $"The model folder {folder} does not exist. Include names a folder in the Hugging Face layout " +
                "(config.json, tokenizer.json, *.safetensors), or a .gguf file, relative to the project file. Download the model there, or correct the path.");
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
        string tokenizer = FindTokenizer(folder) ?? throw new QuantBuildException(
            DiagnosticIds.TokenizerMissing,
            $"The model folder {folder} has no tokenizer.json, nor tokenizer.model or *.tiktoken; it has {Listing(folder)}. Copy it from where the model came from: " +
            "without it text cannot become tokens.");
        string[] weights = listing is null
            ? FindWeights(folder)
            : [.. Listed(listing, folder).Select(file => System.IO.Path.Combine(folder, file.Name))];
        if (weights.Length == 0)
        {
            throw new QuantBuildException(
                DiagnosticIds.WeightsMissing,
                $"The model folder {folder} has no *.safetensors file and no pytorch_model*.bin; it has {Listing(folder)}. Copy the weights there in safetensors form" +
                $"{(Directory.GetFiles(folder, "*.gguf").FirstOrDefault() is { } gguf ? $", or set Include to {System.IO.Path.GetFileName(gguf)} in it" : "")}.");
        }

        return new ModelFolder(folder, config, configJson, tokenizer, [.. weights.OrderBy(System.IO.Path.GetFileName, StringComparer.Ordinal)], listing: listing);
    }

    /// <summary>The weight files in a folder, of the first kind that is there.</summary>
    internal static string[] FindWeights(string folder) => WeightPatterns.Select(pattern => Directory.GetFiles(folder, pattern)).FirstOrDefault(files => files.Length > 0) ?? [];

    /// <summary>The tokenizer's file: of several forms of one tokenizer, the newest.</summary>
    internal static string? FindTokenizer(string folder)
    {
        string newest = System.IO.Path.Combine(folder, "tokenizer.json");
        if (File.Exists(newest)) return newest;
        string sentencePiece = System.IO.Path.Combine(folder, "tokenizer.model");
        if (File.Exists(sentencePiece)) return sentencePiece;
        return Directory.GetFiles(folder, "*.tiktoken").OrderBy(System.IO.Path.GetFileName, StringComparer.Ordinal).FirstOrDefault();
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

    /// <summary>How a model's weights are quantized already; <see langword="null"/> where they are not, or its <c>config.json</c> cannot be read, which <see cref="Open"/> says.</summary>
    /// <param name="path">The folder.</param>
    public static CheckpointQuantization? QuantizationOf(string path)
    {
        string configFile = System.IO.Path.Combine(path, "config.json");
        try
        {
            return File.Exists(configFile) ? DecoderConfig.Parse(File.ReadAllText(configFile), configFile).Quantization : null;
        }
        catch (Exception e) when (e is QuantBuildException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static ModelFolder OpenGguf(string path, HubListing? listing)
    {
        GgufFile file = GgufFile.Open(path);
        string configJson = GgufModel.ConfigJson(file);
        string beside = System.IO.Path.Combine(System.IO.Path.GetDirectoryName(path)!, "tokenizer.json");
        ModelFolder model = new(path, DecoderConfig.Parse(configJson, path), configJson, File.Exists(beside) ? beside : path, file.Paths, file, listing);
        // What is wrong with the tokenizer is found here, where a folder's missing one is.
        if (model.TokenizerFile == path) GgufTokenizer.ToFile(file);
        return model;
    }

    private static bool IsBin(string file) => file.EndsWith(".bin", StringComparison.OrdinalIgnoreCase);

    private string InFolder(string name) => System.IO.Path.Combine(gguf is null ? Path : System.IO.Path.GetDirectoryName(Path)!, name);

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
        string file = InFolder(name);
        return File.Exists(file) ? file : null;
    }
}
