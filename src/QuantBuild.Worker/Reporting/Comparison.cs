using System.Text.Json;
using System.Text.Json.Serialization;

namespace QuantBuild.Worker.Reporting;

/// <summary>All methods side by side, on one model and one machine.</summary>
internal sealed record Comparison
{
    /// <summary>The model's own name.</summary>
    public required string ModelName { get; init; }

    /// <summary>Number of weights.</summary>
    public required long Parameters { get; init; }

    /// <summary>The processor that ran the models.</summary>
    public required string Processor { get; init; }

    /// <summary>Threads that ran them.</summary>
    public required int Threads { get; init; }

    /// <summary>The version of the quantizer.</summary>
    public required string QuantizerVersion { get; init; }

    /// <summary>When the comparison was made, in UTC.</summary>
    public required DateTime ComparedAt { get; init; }

    /// <summary>Tokens that were predicted to measure quality, where it was measured.</summary>
    public long? EvaluationTokens { get; init; }

    /// <summary>The float model, then the quantized ones.</summary>
    public required IReadOnlyList<ComparedRow> Rows { get; init; }

    /// <summary>The comparison as JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, ComparisonJson.Default.Comparison) + "\n";
}

/// <summary>A model in a comparison; what is <see langword="null"/> was not measured, or does not exist.</summary>
internal sealed record ComparedRow
{
    /// <summary>The method; <c>float</c> is the model before quantization.</summary>
    public required string Method { get; init; }

    /// <summary>Bits that the method was asked for.</summary>
    public int? Bits { get; init; }

    /// <summary>Inputs that share a scale, or weights of a block; <c>row</c> is a whole row.</summary>
    public string? Group { get; init; }

    /// <summary>Whether it is what the project declares.</summary>
    public bool IsDeclared { get; init; }

    /// <summary>Bits per weight of the linears, everything counted.</summary>
    public double? BitsPerWeight { get; init; }

    /// <summary>Bytes of the artifact.</summary>
    public long? FileBytes { get; init; }

    /// <summary>Perplexity of the float model on the same text.</summary>
    public double? FloatPerplexity { get; init; }

    /// <summary>Perplexity.</summary>
    public double? Perplexity { get; init; }

    /// <summary>By how much the perplexity rose, as a ratio.</summary>
    public double? PerplexityIncrease { get; init; }

    /// <summary>Mean KL divergence from the float model, in nats.</summary>
    public double? KlDivergence { get; init; }

    /// <summary>Share of the tokens before which both think the same next token the likeliest.</summary>
    public double? Top1Agreement { get; init; }

    /// <summary>Tokens that were predicted.</summary>
    public long? EvaluationTokens { get; init; }

    /// <summary>Seconds of the worker that quantized it, its evaluation among them.</summary>
    public double? Seconds { get; init; }

    /// <summary>The largest amount of memory that this worker held.</summary>
    public long? PeakMemoryBytes { get; init; }

    /// <summary>Tokens a second that the runtime decodes on the CPU.</summary>
    public double? TokensPerSecond { get; init; }

    /// <summary>Resident memory of the process that decoded.</summary>
    public long? ResidentBytes { get; init; }

    /// <summary>The artifact's fingerprint.</summary>
    public string? Fingerprint { get; init; }

    /// <summary>What went wrong, where something did.</summary>
    public string? Failure { get; init; }
}

/// <summary>JSON of a comparison.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(Comparison))]
internal sealed partial class ComparisonJson : JsonSerializerContext;
