namespace QuantBuild.Worker;

/// <summary>Everything that an artifact says of itself, and what each of its tensors takes.</summary>
internal sealed record Inspection
{
    /// <summary>The file, as it was named.</summary>
    public required string Path { get; init; }

    /// <summary>Bytes of the whole file.</summary>
    public required long FileBytes { get; init; }

    /// <summary>The version of the artifact format.</summary>
    public required int FormatVersion { get; init; }

    /// <summary>The fingerprint of the declaration that it was built for.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>The model's own name.</summary>
    public required string ModelName { get; init; }

    /// <summary>The architecture, as <c>config.json</c> names it.</summary>
    public required string Architecture { get; init; }

    /// <summary>Number of weights.</summary>
    public required long Parameters { get; init; }

    /// <summary>The longest sequence, in tokens.</summary>
    public required int ContextLength { get; init; }

    /// <summary>The version of the quantizer.</summary>
    public required string QuantizerVersion { get; init; }

    /// <summary>The specification: the item's metadata with every default filled in.</summary>
    public required IReadOnlyDictionary<string, string> Spec { get; init; }

    /// <summary>The files of the model that was quantized.</summary>
    public required IReadOnlyList<SourceFile> ModelFiles { get; init; }

    /// <summary>SHA-256 of the calibration text, where one was read.</summary>
    public string? CalibrationSha256 { get; init; }

    /// <summary>SHA-256 of the evaluation text, where one was declared.</summary>
    public string? EvaluationSha256 { get; init; }

    /// <summary>What quantization cost, where it was measured.</summary>
    public QualityFigures? Quality { get; init; }

    /// <summary>Bytes of all tensors of the source model.</summary>
    public required long OriginalBytes { get; init; }

    /// <summary>How it was made, where the record of that lies beside the artifact.</summary>
    public BuildRecord? Build { get; init; }

    /// <summary>Bits per weight of all weights, scales and all.</summary>
    public required double BitsPerWeight { get; init; }

    /// <summary>What is stored in each format, the largest first.</summary>
    public required IReadOnlyList<StoredFormat> Formats { get; init; }

    /// <summary>Every tensor of the model, in the order of a forward pass, and the tokenizer; together all bytes that are not the header's.</summary>
    public required IReadOnlyList<StoredTensor> Tensors { get; init; }

    /// <summary>Inspects an artifact.</summary>
    public static Inspection Of(Artifact artifact)
    {
        ArtifactManifest manifest = artifact.Manifest;
        StoredTensor[] tensors = [.. StoredTensor.Of(artifact)];
        StoredTensor[] weights = [.. tensors.Where(tensor => tensor.Weights > 0)];
        return new Inspection
        {
            Path = artifact.File.Path,
            FileBytes = artifact.Length,
            FormatVersion = manifest.FormatVersion,
            Fingerprint = manifest.Fingerprint,
            ModelName = manifest.ModelName,
            Architecture = artifact.Config.Architecture,
            Parameters = artifact.Config.Parameters,
            ContextLength = artifact.Config.ContextLength,
            QuantizerVersion = manifest.QuantizerVersion,
            Spec = manifest.Spec,
            ModelFiles = manifest.ModelFiles,
            CalibrationSha256 = manifest.CalibrationSha256,
            EvaluationSha256 = manifest.EvaluationSha256,
            Quality = manifest.Quality,
            OriginalBytes = manifest.OriginalBytes,
            Build = BuildRecord.TryRead(BuildRecord.PathOf(artifact.File.Path)),
            BitsPerWeight = 8.0 * weights.Sum(tensor => tensor.Bytes) / weights.Sum(tensor => tensor.Weights),
            Formats =
            [
                .. tensors.GroupBy(tensor => (tensor.Format, tensor.Bits))
                    .Select(group => new StoredFormat(
                        group.Key.Format, group.Key.Bits, group.Count(), group.Sum(tensor => tensor.Weights), group.Sum(tensor => tensor.Bytes)))
                    .OrderByDescending(format => format.Bytes),
            ],
            Tensors = tensors,
        };
    }
}

/// <summary>What is stored in a format.</summary>
/// <param name="Format">A format of quantized linears, or the type of the elements.</param>
/// <param name="Bits">Bits of a weight, without its scales; none of what is no weight.</param>
/// <param name="Tensors">How many tensors.</param>
/// <param name="Weights">How many weights.</param>
/// <param name="Bytes">What they take, scales and all.</param>
internal sealed record StoredFormat(string Format, int? Bits, int Tensors, long Weights, long Bytes)
{
    /// <summary>8 times the bytes over the weights; none of what is no weight.</summary>
    public double? BitsPerWeight => Weights > 0 ? 8.0 * Bytes / Weights : null;
}
