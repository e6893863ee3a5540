namespace QuantBuild.Generation;

/// <summary>Generation options with nothing left open.</summary>
internal sealed record SamplingSettings(
    int MaxTokens, double Temperature, int TopK, double TopP, double MinP, ulong Seed, IReadOnlyList<string> StopStrings);
