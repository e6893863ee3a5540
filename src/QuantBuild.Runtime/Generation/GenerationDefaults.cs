using System.Globalization;
using System.Text.Json;
using QuantBuild.Generation;

namespace QuantBuild;

/// <summary>What a model's <c>generation_config.json</c> says.</summary>
public sealed record GenerationDefaults
{
    private const int StandardMaxTokens = 256;

    /// <summary><c>max_new_tokens</c>.</summary>
    public int? MaxTokens { get; init; }

    /// <summary><c>do_sample</c>: whether a token is drawn; else the likeliest is taken.</summary>
    public bool Sample { get; init; }

    /// <summary><c>temperature</c>.</summary>
    public double? Temperature { get; init; }

    /// <summary><c>top_k</c>.</summary>
    public int? TopK { get; init; }

    /// <summary><c>typical_p</c>.</summary>
    public double? TypicalP { get; init; }

    /// <summary><c>top_p</c>.</summary>
    public double? TopP { get; init; }

    /// <summary><c>min_p</c>.</summary>
    public double? MinP { get; init; }

    /// <summary><c>repetition_penalty</c>.</summary>
    public double? RepetitionPenalty { get; init; }

    /// <summary><c>eos_token_id</c>: tokens that end a text, besides those of <c>config.json</c>.</summary>
    public IReadOnlyList<int> EosTokenIds { get; init; } = [];

    /// <summary>Reads the file.</summary>
    /// <param name="json">The file's text, or <see langword="null"/> where the model has none.</param>
    /// <param name="source">What to call the file in errors: its path, or that of the artifact.</param>
    /// <param name="diagnosticId">The id of the error: QB2003 for a model's file, QB4002 for an artifact.</param>
    /// <exception cref="QuantBuildException">The id: it is not JSON of the expected kind.</exception>
    public static GenerationDefaults Parse(string? json, string source, string diagnosticId)
    {
        if (json is null) return new GenerationDefaults();
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement root = document.RootElement;
            JsonElement? Member(string name) =>
                root.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
            return new GenerationDefaults
            {
                MaxTokens = Member("max_new_tokens")?.GetInt32(),
                Sample = Member("do_sample")?.GetBoolean() ?? false,
                Temperature = Member("temperature")?.GetDouble(),
                TopK = Member("top_k")?.GetInt32(),
                TypicalP = Member("typical_p")?.GetDouble(),
                TopP = Member("top_p")?.GetDouble(),
                MinP = Member("min_p")?.GetDouble(),
                RepetitionPenalty = Member("repetition_penalty")?.GetDouble(),
                EosTokenIds = Member("eos_token_id") is not { } eos ? []
                    : eos.ValueKind == JsonValueKind.Array ? [.. eos.EnumerateArray().Select(id => id.GetInt32())]
                    : [eos.GetInt32()],
            };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            throw new QuantBuildException(
                diagnosticId,
                $"{source}: generation_config.json cannot be read: {e.Message} Correct the model's file, or copy it again from where the model came from, and build.", e);
        }
    }

    /// <summary>Completes the options that a caller gave.</summary>
    /// <param name="options">The options; what they leave open, the model decides.</param>
    /// <param name="vocabularySize">The number of tokens that a logit bias may be about.</param>
    /// <exception cref="QuantBuildException">QB4006: a value is out of its range.</exception>
    internal SamplingSettings Complete(GenerationOptions? options, int vocabularySize)
    {
        options ??= new GenerationOptions();
        SamplingSettings settings = new()
        {
            MaxTokens = options.MaxTokens ?? MaxTokens ?? StandardMaxTokens,
            Temperature = options.Temperature ?? (Sample ? Temperature ?? 1 : 0),
            TopK = options.TopK ?? TopK ?? 0,
            TypicalP = options.TypicalP ?? TypicalP ?? 1,
            TopP = options.TopP ?? TopP ?? 1,
            MinP = options.MinP ?? MinP ?? 0,
            RepetitionPenalty = options.RepetitionPenalty ?? RepetitionPenalty ?? 1,
            RepetitionWindow = options.RepetitionWindow,
            FrequencyPenalty = options.FrequencyPenalty ?? 0,
            PresencePenalty = options.PresencePenalty ?? 0,
            LogitBias = options.LogitBias is null ? [] : [.. options.LogitBias],
            Seed = options.Seed ?? (ulong)Random.Shared.NextInt64(),
            StopStrings = options.StopStrings,
            LogProbabilities = options.LogProbabilities,
        };
        Check(settings.MaxTokens >= 1, nameof(GenerationOptions.MaxTokens), settings.MaxTokens, "at least 1");
        Check(settings.Temperature >= 0 && double.IsFinite(settings.Temperature), nameof(GenerationOptions.Temperature), settings.Temperature, "at least 0");
        Check(settings.TopK >= 0, nameof(GenerationOptions.TopK), settings.TopK, "at least 0, where 0 is all");
        Check(settings.TypicalP is > 0 and <= 1, nameof(GenerationOptions.TypicalP), settings.TypicalP, "above 0 and at most 1, where 1 is all");
        Check(settings.TopP is > 0 and <= 1, nameof(GenerationOptions.TopP), settings.TopP, "above 0 and at most 1, where 1 is all");
        Check(settings.MinP is >= 0 and <= 1, nameof(GenerationOptions.MinP), settings.MinP, "from 0 to 1, where 0 is all");
        Check(
            settings.RepetitionPenalty > 0 && double.IsFinite(settings.RepetitionPenalty),
            nameof(GenerationOptions.RepetitionPenalty), settings.RepetitionPenalty, "above 0, where 1 is none");
        Check(settings.RepetitionWindow is null or >= 1, nameof(GenerationOptions.RepetitionWindow), settings.RepetitionWindow ?? 0, "at least 1");
        Check(
            double.IsFinite(settings.FrequencyPenalty), nameof(GenerationOptions.FrequencyPenalty), settings.FrequencyPenalty, "a finite number, where 0 is none");
        Check(double.IsFinite(settings.PresencePenalty), nameof(GenerationOptions.PresencePenalty), settings.PresencePenalty, "a finite number, where 0 is none");
        foreach ((int token, float bias) in settings.LogitBias)
        {
            string name = $"{nameof(GenerationOptions.LogitBias)}[{token}]";
            Check((uint)token < (uint)vocabularySize, name, bias, $"tokens from 0 to {vocabularySize - 1} alone");
            Check(bias < float.PositiveInfinity, name, bias, "a finite number, or negative infinity, which forbids the token");
        }

        Check(
            settings.StopStrings is not null && settings.StopStrings.All(s => !string.IsNullOrEmpty(s)),
            nameof(GenerationOptions.StopStrings), "a list with an empty text", "a list of texts that are not empty");
        Check(options.StopTokens is not null, nameof(GenerationOptions.StopTokens), "null", "a list of tokens");
        foreach (int token in options.StopTokens!)
        {
            Check((uint)token < (uint)vocabularySize, nameof(GenerationOptions.StopTokens), token, $"tokens from 0 to {vocabularySize - 1} alone");
        }

        Check(Enum.IsDefined(options.ContextOverflow), nameof(GenerationOptions.ContextOverflow), options.ContextOverflow, string.Join(" or ", Enum.GetNames<ContextOverflow>()));
        Check(settings.LogProbabilities is null or >= 0, nameof(GenerationOptions.LogProbabilities), settings.LogProbabilities ?? 0, "at least 0");
        // Of so many there are no others.
        return settings.TopK >= vocabularySize ? settings with { TopK = 0 } : settings;
    }

    private static void Check(bool holds, string name, object actual, string expected)
    {
        if (holds) return;
        throw new QuantBuildException(
            DiagnosticIds.OptionInvalid,
            $"GenerationOptions.{name} is {Convert.ToString(actual, CultureInfo.InvariantCulture)}, expected {expected}. " +
            "Set it so, or leave it out for the model's own value.");
    }
}
