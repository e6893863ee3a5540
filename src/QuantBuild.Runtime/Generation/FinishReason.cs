namespace QuantBuild;

/// <summary>Why a text ended.</summary>
public enum FinishReason
{
    /// <summary>The model chose a token that ends texts.</summary>
    EndOfText,

    /// <summary>A stop string was complete.</summary>
    StopString,

    /// <summary><see cref="GenerationOptions.MaxTokens"/> were generated.</summary>
    MaxTokens,

    /// <summary>The text has as many tokens as it may have: <see cref="LanguageModel.ContextLength"/>.</summary>
    ContextFull,
}
