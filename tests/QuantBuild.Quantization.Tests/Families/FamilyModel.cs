using System.Text.Json.Nodes;

namespace QuantBuild.Quantization.Tests.Families;

/// <summary>A family's small model in a folder, as the hub would have it, with the logits that its reference gives for a text.</summary>
internal sealed class FamilyModel : IDisposable
{
    // Longer than the sliding windows of the models, and than a page of the runtime's keys and values.
    private const int TextTokens = 45;

    private readonly TemporaryFolder folder = new();

    private FamilyModel(FamilyReference family)
    {
        Loading = new LoadOptions { FloatActivations = true, ContextLength = family.Context };
        Checkpoint weights = new();
        Random random = new(7);
        Tokens = [.. Enumerable.Range(0, TextTokens).Select(_ => random.Next(256))];
        Expected = [.. family.Logits(weights, Tokens).SelectMany(row => row)];
        weights.Write(folder.File("model.safetensors"));
        File.WriteAllText(folder.File("config.json"), family.Config);
        File.WriteAllText(folder.File("tokenizer.json"), ByteTokenizer());
        Folder = ModelFolder.Open(folder.Path);
    }

    /// <summary>The model.</summary>
    public ModelFolder Folder { get; }

    /// <summary>How it is loaded so that it is as near to the reference as it can be.</summary>
    public LoadOptions Loading { get; }

    /// <summary>A text.</summary>
    public int[] Tokens { get; }

    /// <summary>Its logits, [tokens, vocabulary].</summary>
    public double[] Expected { get; }

    public static FamilyModel Of(string name) => new(FamilyReference.All.Single(family => family.Name == name));

    /// <summary>An artifact in which nothing is quantized.</summary>
    public string FloatArtifact()
    {
        string path = folder.File("float.artifact");
        using ModelWeights weights = ModelWeights.Open(Folder);
        ArtifactManifest manifest = new()
        {
            Fingerprint = new string('0', 64),
            ModelName = "test",
            QuantizerVersion = "1",
            Spec = new QuantizationSpec().ToMetadata().ToDictionary(),
            ConfigJson = Folder.ConfigJson,
            ModelFiles = [],
            OriginalBytes = 1,
            Layers = new Dictionary<string, LayerFormat>(),
        };
        ArtifactWriter.Write(
            path, manifest, [ArtifactWriter.TokenizerTensor(File.ReadAllBytes(Folder.TokenizerFile)), .. Folder.Config.Tensors().Select(tensor => weights.Source(tensor.Key))]);
        return path;
    }

    /// <summary>Quantizes the model on a text of random bytes.</summary>
    public (string Path, List<WorkerMessage> Messages) Quantize(QuantizationSpec spec, TorchDevice? device = null)
    {
        string text = folder.File("text.txt");
        File.WriteAllText(text, File.ReadAllText(SampleFiles.Calibration)[..4000]);
        ModelCache cache = new(folder.File("cache"));
        string fingerprint = new('b', 64);
        WorkerRequest request = new()
        {
            ModelPath = Folder.Path,
            Spec = spec,
            CalibrationFile = text,
            EvaluationFile = text,
            Device = "cpu",
            Fingerprint = fingerprint,
            ArtifactPath = cache.ArtifactPath(fingerprint),
            BuildRecordPath = cache.BuildRecordPath(fingerprint),
        };
        List<WorkerMessage> messages = [];
        ModelQuantizer.Run(request, device, null, messages.Add, CancellationToken.None);
        return (request.ArtifactPath, messages);
    }

    public void Dispose() => folder.Dispose();

    /// <summary>A token for each byte, and no others.</summary>
    private static string ByteTokenizer()
    {
        // GPT-2's letters for bytes: those that can be seen stand for themselves, and the others follow from 256 on.
        JsonObject vocabulary = [];
        int others = 256;
        for (int value = 0; value < 256; value++)
        {
            bool seen = value is >= '!' and <= '~' or >= 0xA1 and <= 0xAC or >= 0xAE;
            vocabulary[((char)(seen ? value : others++)).ToString()] = value;
        }

        JsonObject ByteLevel() => new() { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = true };
        return new JsonObject
        {
            ["version"] = "1.0",
            ["added_tokens"] = new JsonArray(),
            ["normalizer"] = null,
            ["pre_tokenizer"] = ByteLevel(),
            ["post_processor"] = null,
            ["decoder"] = ByteLevel(),
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = new JsonArray() },
        }.ToJsonString();
    }
}
