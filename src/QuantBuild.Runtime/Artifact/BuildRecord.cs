using System.Text.Json;
using System.Text.Json.Serialization;

namespace QuantBuild;

/// <summary>
/// How an artifact was made. Lies beside the artifact rather than in it: time and memory differ from run to run, the artifact's bytes do not.
/// </summary>
public sealed record BuildRecord
{
    /// <summary>Seconds from start to end.</summary>
    public required double Seconds { get; init; }

    /// <summary>The largest amount of memory that the worker held, in bytes.</summary>
    public required long PeakMemoryBytes { get; init; }

    /// <summary>The most memory that the worker expected to need before it began, in bytes.</summary>
    public long? EstimatedMemoryBytes { get; init; }

    /// <summary>Where it was quantized, such as <c>cpu</c> or <c>cuda:0</c>.</summary>
    public required string Device { get; init; }

    /// <summary>Processor threads that were used.</summary>
    public required int Threads { get; init; }

    /// <summary>What the seconds were spent on, in the order of the work.</summary>
    public IReadOnlyList<BuildPhase> Phases { get; init; } = [];

    /// <summary>What was calibrated on, where anything was.</summary>
    public CalibrationStatistics? Calibration { get; init; }

    /// <summary>When the work began, in UTC.</summary>
    public required DateTime StartedAt { get; init; }

    /// <summary>Bytes of the artifact.</summary>
    public required long ArtifactBytes { get; init; }

    /// <summary>SHA-256 of the artifact, as 64 lowercase hexadecimal digits: what a cache knows a damaged one by.</summary>
    public required string ArtifactSha256 { get; init; }

    /// <summary>What quantization cost, where it was measured: what the artifact says, for builds that look at no artifact.</summary>
    public QualityFigures? Quality { get; init; }

    /// <summary>What the quantizer warned of.</summary>
    public IReadOnlyList<BuildWarning> Warnings { get; init; } = [];

    /// <summary>Where the record of an artifact lies: beside it, <c>{name}.build.json</c>.</summary>
    public static string PathOf(string artifactPath) => Path.ChangeExtension(artifactPath, ".build.json");

    /// <summary>Reads a record; <see langword="null"/> where there is none or it cannot be read.</summary>
    public static BuildRecord? TryRead(string path)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), BuildRecordJson.Default.BuildRecord);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    /// <summary>Writes the record; it appears whole or not at all.</summary>
    /// <exception cref="QuantBuildException">QB1003: the disk is full. QB1004: it cannot be written.</exception>
    public void Write(string path)
    {
        string target = Path.GetFullPath(path);
        string temporary = $"{target}.{Guid.NewGuid():N}.tmp";
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.WriteAllBytes(temporary, JsonSerializer.SerializeToUtf8Bytes(this, BuildRecordJson.Default.BuildRecord));
            File.Move(temporary, target, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            try
            {
                File.Delete(temporary);
            }
            catch (Exception again) when (again is IOException or UnauthorizedAccessException)
            {
                // The error that led here is the one to report.
            }

            throw WriteFailure.Of(target, e);
        }
    }
}

/// <summary>A part of a build.</summary>
/// <param name="Name">What was done, such as <c>evaluation</c>.</param>
/// <param name="Seconds">How long it took.</param>
public sealed record BuildPhase(string Name, double Seconds);

/// <summary>What a method calibrated on.</summary>
/// <param name="Tokens">Tokens of the whole calibration text.</param>
/// <param name="Windows">Windows of it that were used.</param>
/// <param name="WindowLength">Tokens of a window.</param>
/// <param name="RepeatedShare">Share of the runs of 8 tokens in these windows that came before in them, from 0 to 1.</param>
/// <param name="FloatPerplexity">Perplexity of the float model on a few of the windows; measured where there is an evaluation text to hold it against.</param>
public sealed record CalibrationStatistics(long Tokens, int Windows, int WindowLength, double RepeatedShare, double? FloatPerplexity);

/// <summary>JSON of the build record without reflection, so that it survives trimming.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, IgnoreReadOnlyProperties = true, RespectNullableAnnotations = true, UseStringEnumConverter = true)]
[JsonSerializable(typeof(BuildRecord))]
internal sealed partial class BuildRecordJson : JsonSerializerContext;
