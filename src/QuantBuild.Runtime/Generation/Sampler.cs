using System.Numerics.Tensors;

namespace QuantBuild.Generation;

/// <summary>
/// Chooses one token after another from logits. The stages, in this order: log-probabilities, if they are to be reported; logit bias; repetition, then
/// frequency and presence penalties; at temperature 0 the likeliest token, else temperature, top-k, typical-p, top-p, min-p, and a draw among what is left. Each
/// of these cuts renormalizes what the one before it left. Bias and penalties come in the order of llama.cpp, and so do the cuts; temperature comes before
/// them, as in Hugging Face transformers. Ties go to the smaller id, so that a seed fixes the text.
/// </summary>
/// <param name="settings">How to choose.</param>
/// <param name="prompt">The tokens of the prompt, which the repetition penalty looks at.</param>
internal sealed class Sampler(SamplingSettings settings, ReadOnlySpan<int> prompt)
{
    private readonly Penalties penalties = new(settings, prompt);
    private readonly Candidates candidates = new();
    private SplitMix random = new(settings.Seed);

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
        int best = TensorPrimitives.IndexOfMax<float>(logits);
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

    /// <summary>Adds a token to the context that penalties look at.</summary>
    public void Accept(int token) => penalties.Accept(token);

    private int Draw(ReadOnlySpan<float> logits, float largest)
    {
        // The weight of all that is left; the most probable token weighs 1.
        double total = settings.TopK > 0 && settings.TopK < logits.Length ? TakeTop(logits, largest) : TakeAll(logits, largest);
        if (settings.TypicalP < 1) total = KeepTypical(logits, largest, total);
        if (settings.TopP < 1) candidates.KeepFirst(settings.TopP * total);
        if (settings.MinP > 0) candidates.KeepHeavy(settings.MinP * HeaviestWeight());
        return candidates.At(random.NextDouble());
    }

    /// <summary>The k most probable tokens as candidates, with the logarithms of their weights as keys.</summary>
    private double TakeTop(ReadOnlySpan<float> logits, float largest)
    {
        candidates.TakeTop(logits, settings.TopK);
        foreach (ref Candidate item in candidates.Items)
        {
            item.Key = LogWeight(logits[item.Token], largest);
            item.Weight = Math.Exp(item.Key);
        }

        candidates.KeepHeavy(double.Epsilon);
        return candidates.Weight;
    }

    /// <summary>All tokens as candidates, with the logarithms of their weights as keys.</summary>
    private double TakeAll(ReadOnlySpan<float> logits, float largest)
    {
        ReadOnlySpan<double> weight = Weights(logits, largest, settings.Temperature);
        double total = TensorPrimitives.Sum(weight);
        // All tokens that weigh less than this weigh less than 1 - p together: the others reach top-p without them.
        double least = settings.TypicalP < 1 ? 0 : (1 - settings.TopP) * total / weight.Length;
        least = Math.Max(least, double.Epsilon);
        candidates.Clear(weight.Length);
        for (int id = 0; id < weight.Length; id++)
        {
            if (weight[id] >= least) candidates.Add(id, LogWeight(logits[id], largest), weight[id]);
        }

        return total;
    }

    /// <summary>
    /// Typical-p (Meister et al. 2022, equation 4): the tokens whose information is nearest to the entropy. With weights w = e^l of the sum W, a token's information is
    /// ln W - l, and the entropy ln W - Σ w·l / W.
    /// </summary>
    private double KeepTypical(ReadOnlySpan<float> logits, float largest, double total)
    {
        double expected = 0;
        foreach (ref readonly Candidate item in candidates.Items) expected += item.Weight * item.Key;
        expected /= total;
        foreach (ref Candidate item in candidates.Items) item.Key = -Math.Abs(item.Key - expected);
        candidates.KeepFirst(settings.TypicalP * total);
        foreach (ref Candidate item in candidates.Items) item.Key = LogWeight(logits[item.Token], largest);
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
