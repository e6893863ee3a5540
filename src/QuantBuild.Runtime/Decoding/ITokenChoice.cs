using QuantBuild.Constraints;

namespace QuantBuild.Decoding;

/// <summary>The choice of a text's next token, made where its logits are: a device gives no more of them than it takes.</summary>
internal interface ITokenChoice
{
    /// <summary>What is done to the logits before <see cref="TryChoose"/> sees the largest; <see langword="null"/> where that could not choose by them.</summary>
    LogitChanges? Changes();

    /// <summary>Chooses by the largest logits.</summary>
    /// <param name="largest">Of the logits with their changes.</param>
    /// <returns>Whether they are enough. If not, <see cref="Choose"/> follows.</returns>
    bool TryChoose(in LargestLogits largest);

    /// <summary>Chooses by all logits.</summary>
    /// <param name="logits">[vocabulary]; may be changed.</param>
    /// <param name="isChanged">Whether <see cref="Changes"/> are made already.</param>
    void Choose(Span<float> logits, bool isChanged);
}

/// <summary>What is done to a token's logits before the next one is chosen, in this order. A token is in each part at most once.</summary>
internal sealed class LogitChanges
{
    /// <summary>The tokens that may come; the others have negative infinity. <see langword="null"/> is all.</summary>
    public TokenMask? Mask { get; set; }

    /// <summary>What is added to tokens.</summary>
    public required KeyValuePair<int, float>[] Bias { get; init; }

    /// <summary>Tokens whose logits are divided by <see cref="RepetitionPenalty"/>, or multiplied by it where they are negative.</summary>
    public List<int> Repeated { get; } = [];

    public required double RepetitionPenalty { get; init; }

    /// <summary>What is taken from tokens.</summary>
    public List<KeyValuePair<int, float>> Lowered { get; } = [];

    /// <summary>What logits are divided by in the weights of <see cref="LargestLogits.Rest"/>; 0 is 1.</summary>
    public required double Temperature { get; init; }
}

/// <summary>The largest of a token's logits.</summary>
/// <param name="entries">All logits that are above the bound; larger ones first, and of equals the smaller token.</param>
/// <param name="bound">What all other logits are at most: negative infinity where there are none that could be chosen.</param>
/// <param name="rest">Σ e^((logit - largest) / temperature) of all others, right to a part in <see cref="RestPrecision"/>; no number where some logit is none.</param>
internal readonly ref struct LargestLogits(ReadOnlySpan<LogitEntry> entries, float bound, float rest)
{
    /// <summary>Entries at most.</summary>
    public const int Capacity = 1024;

    /// <summary>
    /// In float32, 256 numbers of a vocabulary of 262,144 that are added one after the other have an error of 2^-16 of their sum, the sums of the threads after that 2^-18, and exponentials of 2^-17 down to
    /// where they weigh nothing: together less than half of this.
    /// </summary>
    public const int RestPrecision = 1 << 14;

    public ReadOnlySpan<LogitEntry> Entries { get; } = entries;

    public float Bound { get; } = bound;

    public float Rest { get; } = rest;
}

/// <summary>A token and its logit.</summary>
/// <param name="Logit">The logit.</param>
/// <param name="Token">Its id.</param>
internal readonly record struct LogitEntry(float Logit, int Token);
