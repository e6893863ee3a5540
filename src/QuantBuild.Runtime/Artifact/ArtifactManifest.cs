using System.Text.Json;
using System.Text.Json.Serialization;

namespace QuantBuild;

/// <summary>
/// Everything an artifact says of itself besides its tensors. Holds no time, no path and no machine's name: the same inputs give the same bytes.
/// </summary>
public sealed record ArtifactManifest
{
    /// <summary>The version of the artifact format that this code writes and reads.</summary>
    public const int CurrentFormatVersion = 2;

    /// <summary>The version of the artifact format.</summary>
    public int FormatVersion { get; init; } = CurrentFormatVersion;

    /// <summary>The fingerprint of the declaration that the artifact was built for.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>The model's own name, such as <c>gutenberg-7m</c>.</summary>
    public required string ModelName { get; init; }

    /// <summary>The version of the quantizer.</summary>
    public required string QuantizerVersion { get; init; }

    /// <summary>The specification: what <see cref="QuantizationSpec.ToMetadata"/> gives.</summary>
    public required IReadOnlyDictionary<string, string> Spec { get; init; }

    /// <summary>The text of the model's <c>config.json</c>.</summary>
    public required string ConfigJson { get; init; }

    /// <summary>The text of the model's <c>generation_config.json</c>, if it has one.</summary>
    public string? GenerationConfigJson { get; init; }

    /// <summary>The text of the model's <c>tokenizer_config.json</c>, if it has one.</summary>
    public string? TokenizerConfigJson { get; init; }

    /// <summary>The files of the model that was quantized.</summary>
    public required IReadOnlyList<SourceFile> ModelFiles { get; init; }

    /// <summary>The commit of the repository that they come from, where their folder told it.</summary>
    public string? ModelRevision { get; init; }

    /// <summary>SHA-256 of the calibration text, where one was read: to calibrate on, or to evaluate on its last tenth.</summary>
    public string? CalibrationSha256 { get; init; }

    /// <summary>SHA-256 of the evaluation text, where one was declared.</summary>
    public string? EvaluationSha256 { get; init; }

    /// <summary>What quantization cost, where it was measured.</summary>
    public QualityFigures? Quality { get; init; }

    /// <summary>Bytes of all tensors of the source model.</summary>
    public required long OriginalBytes { get; init; }

    /// <summary>The quantized linears by name, such as <c>model.layers.0.self_attn.q_proj</c>.</summary>
    public required IReadOnlyDictionary<string, LayerFormat> Layers { get; init; }

    /// <summary>SHA-256 of each tensor's bytes by name, as 64 lowercase hexadecimal digits. <see cref="ArtifactWriter"/> fills it in.</summary>
    public IReadOnlyDictionary<string, string> Checksums { get; init; } = new Dictionary<string, string>();

    /// <summary>The manifest as JSON, with dictionaries ordered by name.</summary>
    public string ToJson()
    {
        static SortedDictionary<string, T> Sorted<T>(IReadOnlyDictionary<string, T> values) => new(values.ToDictionary(), StringComparer.Ordinal);
        ArtifactManifest ordered = this with { Spec = Sorted(Spec), Layers = Sorted(Layers), Checksums = Sorted(Checksums) };
        return JsonSerializer.Serialize(ordered, ArtifactJson.Default.ArtifactManifest);
    }

    /// <summary>Reads a manifest.</summary>
    /// <exception cref="JsonException">The text is not a manifest.</exception>
    public static ArtifactManifest Parse(string json) =>
        JsonSerializer.Deserialize(json, ArtifactJson.Default.ArtifactManifest) ?? throw new JsonException("The manifest is null.");
}

/// <summary>A file of the model that was quantized.</summary>
/// <param name="Name">Its name, without a folder.</param>
/// <param name="Size">Its bytes.</param>
/// <param name="Sha256">Its SHA-256, as 64 lowercase hexadecimal digits.</param>
public sealed record SourceFile(string Name, long Size, string Sha256);


/// <summary>JSON of the artifact's records without reflection, so that it survives trimming.</summary>
[JsonSourceGenerationOptions(
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    IgnoreReadOnlyProperties = true,
    RespectNullableAnnotations = true,
    UseStringEnumConverter = true)]
[JsonSerializable(typeof(ArtifactManifest))]
[JsonSerializable(typeof(SortedDictionary<string, string>))]
[JsonSerializable(typeof(SortedDictionary<string, LayerFormat>))]
internal sealed partial class ArtifactJson : JsonSerializerContext;
