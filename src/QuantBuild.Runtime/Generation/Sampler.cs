using System.Numerics.Tensors;
using QuantBuild.Constraints;
using QuantBuild.Decoding;

namespace QuantBuild.Generation;

/// <summary>
/// Chooses one token after another from logits. The stages, in this order: log-probabilities, if they are to be reported; logit bias; repetition, then
/// frequency and presence penalties; at temperature 0 the likeliest token, else temperature, top-k, typical-p, top-p, min-p, and a draw among what is left. Each
/// of these cuts renormalizes what the one before it left. Bias and penalties come in the order of llama.cpp, and so do the cuts; temperature comes before
/// them, as in Hugging Face transformers. Ties go to the smaller id, and what is drawn is laid out in an order that the logits fix, up to 1,024 tokens from the most probable on, so that a seed fixes the text.
/// </summary>
/// <remarks>
/// The largest logits are often enough: top-k needs no others, and top-p, min-p and the draw itself none that lie behind what they reach. Where that hangs on the last digits of a sum, all logits decide:
/// a text is the same with and without the lists that devices make.
/// </remarks>
/// <param name="settings">How to choose.</param>
/// <param name="prompt">The tokens of the prompt, which the repetition penalty looks at.</param>
internal sealed class Sampler(SamplingSettings settings, ReadOnlySpan<int> prompt)
{
    private readonly Penalties penalties = new(settings, prompt);
    private readonly Candidates candidates = new();
    private SplitMix random = new(settings.Seed);

    private readonly LogitChanges changes = new() { Bias = settings.LogitBias, RepetitionPenalty = settings.RepetitionPenalty, Temperature = settings.Temperature };

    // Buffers of the vocabulary's size, made when they are first needed.
    private double[] weights = [];
    private float[] unchanged = [];

    /// <summary>The next token. It becomes part of the context only when it is given to <see cref="Accept"/>.</summary>
    /// <param name="logits">[vocabulary]; bias and penalties are applied in place. A token whose logit is negative infinity is never chosen.</param>
    /// <exception cref="QuantBuildException">QB4006: the logit bias forbids every token that is left.</exception>
    public TokenChoice Choose(Span<float> logits)
    {
        if (settings.LogProbabilities is not null) Keep(logits);
        foreach ((int token, float bias) in settings.LogitBias) logits[token] += bias;
        penalties.Apply(logits);
        return ChooseChanged(logits);
    }

    /// <summary>The same, of logits with their <see cref="Changes"/>.</summary>
    public TokenChoice ChooseChanged(ReadOnlySpan<float> logits)
    {
        int best = TensorPrimitives.IndexOfMax(logits);
        if (float.IsNegativeInfinity(logits[best]))
        {
            throw new QuantBuildException(
                DiagnosticIds.OptionInvalid,
                "GenerationOptions.LogitBias leaves no token that may come next: all of them have negative infinity, expected one at least that has not. " +
                "Forbid fewer tokens, or make them unlikely with a finite bias such as -100.");
        }

        int chosen = settings.Temperature == 0 ? best : Draw(logits, logits[best]);
        return new TokenChoice(chosen, settings.LogProbabilities is { } alternatives ? LogProbabilities(chosen, alternatives) : null);
    }

    /// <summary>Whether <see cref="TryChoose"/> can choose at all. It does not report log-probabilities, and knows no entropy of all tokens.</summary>
    public bool TakesLists { get; } =
        settings.LogProbabilities is null && (settings.Temperature == 0 || (settings.TopK > 0 ? settings.TopK <= LargestLogits.Capacity : settings.TypicalP == 1));

    /// <summary>What is done to the next logits before a token is chosen.</summary>
    /// <param name="mask">The tokens that may come.</param>
    public LogitChanges Changes(TokenMask? mask)
    {
        changes.Mask = mask;
        penalties.Write(changes);
        return changes;
    }

    /// <summary>The next token by the largest logits, where they prove which one <see cref="ChooseChanged"/> would choose.</summary>
    /// <returns>Whether they do; if not, nothing is changed.</returns>
    public bool TryChoose(in LargestLogits largest, out TokenChoice choice)
    {
        choice = default;
        // Where the largest is no number, or another one is none, all logits say what comes of it.
        if (largest.Entries.IsEmpty || !float.IsFinite(largest.Entries[0].Logit) || !float.IsFinite(largest.Rest)) return false;
        int chosen = largest.Entries[0].Token;
        if (settings.Temperature != 0)
        {
            SplitMix before = random;
            if (Draw(largest) is not { } drawn)
            {
                random = before;
                return false;
            }

            chosen = drawn;
        }

        choice = new TokenChoice(chosen, null);
        return true;
    }

    /// <summary>Adds a token to the context that penalties look at.</summary>
    public void Accept(int token) => penalties.Accept(token);

    private int Draw(ReadOnlySpan<float> logits, float largest)
    {
        double point = random.NextDouble();
        if (settings.TopK > 0 && settings.TopK < logits.Length) return Cut(TakeTop(logits, largest), largest, point);
        double total = TakeAll(logits, largest, point);
        if (HasCuts) return Cut(total, largest, point);
        candidates.KeepFirst(Math.Max(double.Epsilon, point * total));
        return candidates.Last();
    }

    /// <summary>The same of a list; nothing where it does not prove what comes of all logits.</summary>
    private int? Draw(in LargestLogits list)
    {
        double point = random.NextDouble();
        float largest = list.Entries[0].Logit;
        bool isTop = settings.TopK > 0;
        if (isTop && list.Entries.Length < settings.TopK && !float.IsNegativeInfinity(list.Bound)) return null;
        candidates.Clear(list.Entries.Length);
        foreach ((float logit, int token) in isTop && settings.TopK < list.Entries.Length ? list.Entries[..settings.TopK] : list.Entries)
        {
            double key = LogWeight(logit, largest), weight = Math.Exp(key);
            if (weight > 0) candidates.Add(token, logit, key, weight);
        }

        double total = candidates.Weight;
        if (isTop) return Cut(total, largest, point);
        total += list.Rest;
        double error = (list.Rest / (double)LargestLogits.RestPrecision) + (total * SumPrecision);
        if (!HasCuts) return candidates.TryKeepFirst(point * total, error) ? candidates.Items[^1].Token : null;
        // One of these cuts there is, for without top-k all tokens have a part in typical-p.
        if (settings.TopP < 1) return candidates.TryKeepFirst(settings.TopP * total, error) ? DrawFromLeft(point) : null;
        return Math.Exp(LogWeight(list.Bound, largest)) < settings.MinP * (1 - (2 * SumPrecision)) ? DrawFromLeft(point) : null;
    }

    // Sums in double precision are right to this part of them, in whatever order.
    private const double SumPrecision = 1e-10;

    private bool HasCuts => settings.TypicalP < 1 || settings.TopP < 1 || settings.MinP > 0;

    /// <param name="total">The weight of all that is left; the most probable token weighs 1.</param>
    /// <param name="largest">That token's logit.</param>
    /// <param name="point">Where between 0 and 1 of what is left in the end the token is.</param>
    private int Cut(double total, float largest, double point)
    {
        if (settings.TypicalP < 1) total = KeepTypical(largest, total);
        if (settings.TopP < 1) candidates.KeepFirst(settings.TopP * total);
        return DrawFromLeft(point);
    }

    private int DrawFromLeft(double point)
    {
        candidates.Settle();
        if (settings.MinP > 0) candidates.KeepHeavy(settings.MinP * HeaviestWeight());
        return candidates.At(point);
    }

    /// <summary>The k most probable tokens as candidates, with the logarithms of their weights as keys.</summary>
    private double TakeTop(ReadOnlySpan<float> logits, float largest)
    {
        candidates.TakeTop(logits, settings.TopK);
        foreach (ref Candidate item in candidates.Items)
        {
            item.Key = LogWeight(item.Logit, largest);
            item.Weight = Math.Exp(item.Key);
        }

        candidates.KeepHeavy(double.Epsilon);
        candidates.Settle();
        return candidates.Weight;
    }

    /// <summary>Tokens as candidates, with the logarithms of their weights as keys: all that no cut, or the draw, would leave out.</summary>
    /// <returns>The weight of all tokens.</returns>
    private double TakeAll(ReadOnlySpan<float> logits, float largest, double point)
    {
        ReadOnlySpan<double> weight = Weights(logits, largest, settings.Temperature);
        double total = TensorPrimitives.Sum(weight), least = double.Epsilon;
        if (settings.TypicalP == 1)
        {
            // All tokens that weigh less than this weigh less than 1 - p together: the others reach p, of top-p or of the draw, without them.
            if (!HasCuts || settings.TopP < 1) least = Math.Max(least, (1 - (HasCuts ? settings.TopP : point)) * total / weight.Length);
            least = Math.Max(least, settings.MinP * (1 - SumPrecision));
        }

        candidates.Clear(weight.Length);
        for (int id = 0; id < weight.Length; id++)
        {
            if (weight[id] >= least) candidates.Add(id, logits[id], LogWeight(logits[id], largest), weight[id]);
        }

        return total;
    }

    /// <summary>
    /// Typical-p (Meister et al. 2022, equation 4): the tokens whose information is nearest to the entropy. With weights w = e^l of the sum W, a token's information is
    /// ln W - l, and the entropy ln W - Σ w·l / W.
    /// </summary>
    private double KeepTypical(float largest, double total)
    {
        double expected = 0;
        foreach (ref readonly Candidate item in candidates.Items) expected += item.Weight * item.Key;
        expected /= total;
        foreach (ref Candidate item in candidates.Items) item.Key = -Math.Abs(item.Key - expected);
        candidates.KeepFirst(settings.TypicalP * total);
        foreach (ref Candidate item in candidates.Items) item.Key = LogWeight(item.Logit, largest);
        return candidates.Weight;
    }

    private double HeaviestWeight()
    {
        double heaviest = 0;
        foreach (ref readonly Candidate item in candidates.Items) heaviest = Math.Max(heaviest, item.Weight);
        return heaviest;
    }

    // What candidates are ordered by. It is equal for equal logits; their weights need not be, to the last bit: the exponential of a vector may differ from that of
    // a number.
    private double LogWeight(float logit, float largest) => ((double)logit - largest) / settings.Temperature;

    /// <summary>exp((logits - largest) / temperature), in double precision.</summary>
    private Span<double> Weights(ReadOnlySpan<float> logits, float largest, double temperature)
    {
        if (weights.Length < logits.Length) weights = new double[logits.Length];
        Span<double> weight = weights.AsSpan(0, logits.Length);
        TensorPrimitives.ConvertTruncating(logits, weight);
        TensorPrimitives.Subtract(weight, (double)largest, weight);
        if (temperature != 1) TensorPrimitives.Divide(weight, temperature, weight);
        TensorPrimitives.Exp<double>(weight, weight);
        return weight;
    }

    private void Keep(ReadOnlySpan<float> logits)
    {
        if (unchanged.Length != logits.Length) unchanged = new float[logits.Length];
        logits.CopyTo(unchanged);
    }

    /// <summary>Of the logits as they were before bias and penalties.</summary>
    private TokenLogProbabilities LogProbabilities(int chosen, int alternatives)
    {
        float largest = TensorPrimitives.Max<float>(unchanged);
        double logOfSum = largest + Math.Log(TensorPrimitives.Sum<double>(Weights(unchanged, largest, temperature: 1)));
        candidates.TakeTop(unchanged, alternatives);
        TokenLogProbability[] likeliest = new TokenLogProbability[candidates.Items.Length];
        for (int i = 0; i < likeliest.Length; i++) likeliest[i] = new TokenLogProbability(candidates.Items[i].Token, candidates.Items[i].Key - logOfSum);
        // Larger first, and of equals the smaller id.
        Array.Sort(likeliest, (a, b) => a.LogProbability != b.LogProbability ? b.LogProbability.CompareTo(a.LogProbability) : a.Token.CompareTo(b.Token));
        return new TokenLogProbabilities(new TokenLogProbability(chosen, unchanged[chosen] - logOfSum), likeliest);
    }
}

/// <summary>The choice of a token.</summary>
/// <param name="Token">Its id.</param>
/// <param name="LogProbabilities">What was to be reported of it; <see langword="null"/> if nothing was.</param>
internal readonly record struct TokenChoice(int Token, TokenLogProbabilities? LogProbabilities);
