namespace QuantBuild;

/// <summary>What happens where a text no longer fits the model's context.</summary>
public enum ContextOverflow
{
    /// <summary>A prompt that is too long is an error, QB4005; a text that fills the context ends there.</summary>
    Stop,

    /// <summary>
    /// The oldest tokens are forgotten: half of the context stays, and the token that begins texts. What stays is computed anew, so that the model sees it as a text of its own.
    /// </summary>
    Shift,
}
