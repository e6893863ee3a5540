namespace QuantBuild;

/// <summary>How the frequencies of the rotary embedding were changed so that a model reads longer texts than it was first trained on.</summary>
public enum RopeScalingKind
{
    /// <summary>Positions are divided by the factor (Chen et al., 2023, arXiv:2306.15595).</summary>
    Linear,

    /// <summary>Only texts beyond the model's context turn slower, and no text is longer than that here: the frequencies stay (NTK-aware scaling, "dynamic").</summary>
    Dynamic,

    /// <summary>Low frequencies are divided by the factor, high ones stay, and those between are mixed (Llama 3.1).</summary>
    Llama3,

    /// <summary>The same with limits given as numbers of rotations, and a factor for the scores (Peng et al., 2023, arXiv:2309.00071).</summary>
    Yarn,

    /// <summary>Each frequency is divided by a factor of its own, of which there are two lists: one for texts within the original context, one for longer ones (Ding et al., 2024, arXiv:2402.13753).</summary>
    LongRope,
}

/// <summary>The scaling of a rotary embedding.</summary>
/// <param name="Kind">Which.</param>
public sealed record RopeScaling(RopeScalingKind Kind)
{
    /// <summary>By how much texts are longer.</summary>
    public double Factor { get; init; } = 1;

    /// <summary>Tokens of the context that the model was first trained on.</summary>
    public int OriginalContext { get; init; }

    /// <summary>Llama 3: rotations in the original context below which a frequency is divided by the factor.</summary>
    public double LowFrequencyFactor { get; init; } = 1;

    /// <summary>Llama 3: rotations in the original context above which a frequency stays.</summary>
    public double HighFrequencyFactor { get; init; } = 4;

    /// <summary>YaRN: rotations in the original context above which a frequency stays.</summary>
    public double BetaFast { get; init; } = 32;

    /// <summary>YaRN: rotations in the original context below which a frequency is divided by the factor.</summary>
    public double BetaSlow { get; init; } = 1;

    /// <summary>YaRN: whether the two limits are rounded to whole dimensions.</summary>
    public bool Truncates { get; init; } = true;

    /// <summary>LongRoPE: the factor of each frequency for texts within the original context.</summary>
    public IReadOnlyList<double> ShortFactors { get; init; } = [];

    /// <summary>LongRoPE: the factor of each frequency for texts that may be longer.</summary>
    public IReadOnlyList<double> LongFactors { get; init; } = [];

    /// <summary>What cosine and sine are multiplied by.</summary>
    public double AttentionFactor { get; init; } = 1;

    /// <summary>LongRoPE: what they are multiplied by with the long factors, where that is another.</summary>
    public double? LongAttentionFactor { get; init; }

    /// <summary>Whether texts of so many tokens need the long factors.</summary>
    /// <param name="context">Tokens that a text may have.</param>
    public bool IsLong(int context) => Kind == RopeScalingKind.LongRope && context > OriginalContext;

    /// <summary>What cosine and sine are multiplied by in texts of up to <paramref name="context"/> tokens.</summary>
    public double AttentionFactorFor(int context) => IsLong(context) ? LongAttentionFactor ?? AttentionFactor : AttentionFactor;

    /// <summary>The frequencies, changed.</summary>
    /// <param name="frequencies">As they are without scaling: the i-th of n is base^(-i/n).</param>
    /// <param name="theta">The base.</param>
    /// <param name="context">Tokens that a text may have.</param>
    public double[] Apply(double[] frequencies, double theta, int context) => Kind switch
    {
        RopeScalingKind.Linear => [.. frequencies.Select(frequency => frequency / Factor)],
        RopeScalingKind.Llama3 => [.. frequencies.Select(Llama3)],
        RopeScalingKind.Yarn => Yarn(frequencies, theta),
        RopeScalingKind.LongRope => [.. frequencies.Zip(IsLong(context) ? LongFactors : ShortFactors, (frequency, factor) => frequency / factor)],
        _ => frequencies,
    };

    private double Llama3(double frequency)
    {
        double rotations = OriginalContext * frequency / (2 * Math.PI);
        if (rotations > HighFrequencyFactor) return frequency;
        if (rotations < LowFrequencyFactor) return frequency / Factor;
        double share = (rotations - LowFrequencyFactor) / (HighFrequencyFactor - LowFrequencyFactor);
        return ((1 - share) * frequency / Factor) + (share * frequency);
    }

    private double[] Yarn(double[] frequencies, double theta)
    {
        int dimensions = 2 * frequencies.Length;
        // The dimension that turns so often in the original context.
        double Dimension(double rotations) => dimensions * Math.Log(OriginalContext / (rotations * 2 * Math.PI)) / (2 * Math.Log(theta));
        double low = Dimension(BetaFast), high = Dimension(BetaSlow);
        if (Truncates) (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(low, 0), Math.Min(high, dimensions - 1));
        if (low == high) high += 0.001;
        return
        [
            .. frequencies.Select((frequency, i) =>
            {
                double divided = Math.Min(1, Math.Max(0, (i - low) / (high - low)));
                return (divided * frequency / Factor) + ((1 - divided) * frequency);
            }),
        ];
    }
}
