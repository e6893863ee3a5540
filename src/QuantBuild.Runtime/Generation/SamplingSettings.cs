namespace QuantBuild.Generation;

/// <summary>Generation options with nothing left open.</summary>
internal sealed record SamplingSettings
{
    public required int MaxTokens { get; init; }

    /// <summary>Whether a token is the likeliest as the model has it, and nothing else is to be known of the logits.</summary>
    public bool IsPlain => Temperature == 0 && RepetitionPenalty == 1 && FrequencyPenalty == 0 && PresencePenalty == 0 && LogitBias.Length == 0 && LogProbabilities is null;

    public required double Temperature { get; init; }

    public required int TopK { get; init; }

    public required double TypicalP { get; init; }

    public required double TopP { get; init; }

    public required double MinP { get; init; }

    public required double RepetitionPenalty { get; init; }

    /// <summary><see langword="null"/> is the whole context.</summary>
    public required int? RepetitionWindow { get; init; }

    public required double FrequencyPenalty { get; init; }

    public required double PresencePenalty { get; init; }

    /// <summary>A copy: the caller's dictionary may change meanwhile.</summary>
    public required KeyValuePair<int, float>[] LogitBias { get; init; }

    public required ulong Seed { get; init; }

    public required IReadOnlyList<string> StopStrings { get; init; }

    /// <summary>How many alternatives are reported; <see langword="null"/> is no report at all.</summary>
    public required int? LogProbabilities { get; init; }
}
