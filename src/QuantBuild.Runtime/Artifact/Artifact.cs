using System.Security.Cryptography;
using System.Text.Json;

namespace QuantBuild;

/// <summary>
/// A quantized model in one file, mapped into memory. What opens has the right version, and every tensor that the model needs, with the right
/// type and shape; indices that the kernels follow are in range.
/// </summary>
public sealed class Artifact : IDisposable
{
    /// <summary>The key of the manifest in the file's metadata.</summary>
    public const string ManifestKey = "quantbuild";

    /// <summary>The name of the tensor that holds the tokenizer's file.</summary>
    public const string TokenizerName = "tokenizer";

    private Artifact(SafetensorsFile file, ArtifactManifest manifest, DecoderConfig config)
    {
        File = file;
        Manifest = manifest;
        Config = config;
    }

    /// <summary>The file.</summary>
    public SafetensorsFile File { get; }

    /// <summary>What the artifact says of itself.</summary>
    public ArtifactManifest Manifest { get; }

    /// <summary>What the model's <c>config.json</c> says.</summary>
    public DecoderConfig Config { get; }

    /// <summary>Bytes of the whole file.</summary>
    public long Length => File.Length;

    /// <summary>The bytes of <c>tokenizer.json</c>, padded with blanks, or of <c>tokenizer.model</c> or a file of tiktoken.</summary>
    public ReadOnlySpan<byte> Tokenizer => File.Bytes(File.Tensors[TokenizerName]);

    /// <summary>Maps and verifies an artifact.</summary>
    /// <exception cref="QuantBuildException">QB4001: there is no such file. QB4002: it is not a valid artifact of this version.</exception>
    public static Artifact Open(string path)
    {
        if (!System.IO.File.Exists(path))
        {
            throw new QuantBuildException(
                DiagnosticIds.ArtifactMissing,
                $"The artifact {path} does not exist. Build the project that declares the model, and copy the artifact along with the program.");
        }

        SafetensorsFile file = SafetensorsFile.Open(path, DiagnosticIds.ArtifactMalformed);
        try
        {
            ArtifactManifest manifest = ReadManifest(file);
            DecoderConfig config = ReadConfig(file, manifest);
            Verify(file, manifest, config);
            return new Artifact(file, manifest, config);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads every byte and compares it with its tensor's checksum.</summary>
    /// <exception cref="QuantBuildException">QB4004: a tensor differs, or has no checksum.</exception>
    public void VerifyChecksums()
    {
        foreach (TensorEntry entry in File.Tensors.Values.OrderBy(e => e.Offset))
        {
            string actual = Checksum(entry);
            string expected = Manifest.Checksums.GetValueOrDefault(entry.Name, "none");
            if (expected != actual)
            {
                throw new QuantBuildException(
                    DiagnosticIds.ChecksumMismatch,
                    $"{File.Path}: the bytes of {entry.Name} have the SHA-256 {actual}, expected {expected}. " +
                    "The file is damaged: build it again, or copy it again.");
            }
        }
    }

    /// <summary>Unmaps the file.</summary>
    public void Dispose() => File.Dispose();

    private unsafe string Checksum(TensorEntry entry)
    {
        const int piece = 1 << 24;
        using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte* bytes = File.Pointer(entry);
        for (long offset = 0; offset < entry.ByteLength; offset += piece)
        {
            sha.AppendData(new ReadOnlySpan<byte>(bytes + offset, (int)Math.Min(piece, entry.ByteLength - offset)));
        }

        return Convert.ToHexStringLower(sha.GetHashAndReset());
    }

    /// <summary>The error of a file that is not what it should be.</summary>
    internal static QuantBuildException Malformed(SafetensorsFile file, string what, Exception? cause = null) => new(
        DiagnosticIds.ArtifactMalformed, $"{file.Path} is not a valid artifact: {what}. Build the project that declares the model again.", cause);

    private static ArtifactManifest ReadManifest(SafetensorsFile file)
    {
        if (!file.Metadata.TryGetValue(ManifestKey, out string? json))
        {
            throw Malformed(file, $"its metadata lacks \"{ManifestKey}\"; it may be a model's checkpoint, which is an input of the build");
        }

        try
        {
            // The version comes first: another version's manifest need not have this one's members.
            using JsonDocument document = JsonDocument.Parse(json);
            if (!document.RootElement.TryGetProperty(nameof(ArtifactManifest.FormatVersion), out JsonElement version)
                || version.ValueKind != JsonValueKind.Number
                || !version.TryGetInt32(out int number)
                || number != ArtifactManifest.CurrentFormatVersion)
            {
                string actual = version.ValueKind == JsonValueKind.Undefined ? "missing" : version.GetRawText();
                throw Malformed(file, $"its format version is {actual}, expected {ArtifactManifest.CurrentFormatVersion}");
            }

            return ArtifactManifest.Parse(json);
        }
        // NotSupportedException is that of a layer without a format.
        catch (Exception e) when (e is JsonException or InvalidOperationException or NotSupportedException)
        {
            throw Malformed(file, $"its manifest cannot be read: {e.Message}", e);
        }
    }

    private static DecoderConfig ReadConfig(SafetensorsFile file, ArtifactManifest manifest)
    {
        try
        {
            return DecoderConfig.Parse(manifest.ConfigJson, file.Path);
        }
        catch (QuantBuildException e)
        {
            throw Malformed(file, $"its model configuration is not usable: {e.Message}", e);
        }
    }

    private static void Verify(SafetensorsFile file, ArtifactManifest manifest, DecoderConfig config)
    {
        Find(file, TokenizerName, [ElementType.U8], null);
        // Before anything is made for each layer: a damaged count must not ask for gigabytes.
        if (config.Layers > file.Tensors.Count)
        {
            throw Malformed(file, $"its configuration has {config.Layers} layers, but it holds only {file.Tensors.Count} tensors");
        }

        Dictionary<string, LinearShape> linears = config.QuantizableLinears().ToDictionary(l => l.WeightName);
        // Rows of the embedding are looked up, in the order of the model.
        if (manifest.Layers.GetValueOrDefault(DecoderConfig.EmbeddingLinearName) is IntAffineFormat { Ordered: true })
        {
            throw Malformed(file, $"the columns of {DecoderConfig.EmbeddingLinearName} are permuted, and an embedding's must not be");
        }

        foreach ((string name, IReadOnlyList<int> shape) in config.Tensors())
        {
            if (linears.TryGetValue(name, out LinearShape? linear) && manifest.Layers.GetValueOrDefault(linear.Name) is { } format)
            {
                format.Verify(file, linear);
            }
            else
            {
                Find(file, name, [ElementType.F32, ElementType.F16, ElementType.BF16], [.. shape]);
            }
        }
    }

    /// <summary>The tensor with a name, of one of the types and of the shape.</summary>
    /// <exception cref="QuantBuildException">QB4002: it is missing, or another.</exception>
    internal static TensorEntry Find(SafetensorsFile file, string name, ReadOnlySpan<ElementType> types, long[]? shape)
    {
        if (!file.Tensors.TryGetValue(name, out TensorEntry? entry)) throw Malformed(file, $"it lacks the tensor {name}");
        if (!types.Contains(entry.Type))
        {
            throw Malformed(
                file, $"{name} has the element type {entry.Type.HeaderName()}, expected {string.Join(" or ", types.ToArray().Select(t => t.HeaderName()))}");
        }

        if (shape is not null && !entry.Shape.SequenceEqual(shape))
        {
            throw Malformed(file, $"{name} has the shape [{string.Join(", ", entry.Shape)}], expected [{string.Join(", ", shape)}]");
        }

        return entry;
    }
}
