namespace QuantBuild;

/// <summary>Which text quality figures are from.</summary>
public enum EvaluationText
{
    /// <summary>The text that <c>EvaluationData</c> names.</summary>
    EvaluationData,

    /// <summary>The last tenth of the calibration text, on which nothing was calibrated.</summary>
    HeldOut,
}

/// <summary>
/// What quantization cost: the quantized model against the float one on the same windows of a text, which do not overlap. A window's first token,
/// which nothing predicts, is not counted.
/// </summary>
/// <param name="FloatPerplexity">Perplexity of the model before quantization: exp of the mean negative log-likelihood of a token.</param>
/// <param name="Perplexity">Perplexity of the quantized model.</param>
/// <param name="KlDivergence">Mean over tokens of KL(float || quantized) of the distributions of the next token, in nats; 0 is no change.</param>
/// <param name="Top1Agreement">Share of the tokens before which both models think the same next token the likeliest, from 0 to 1.</param>
/// <param name="EvaluationTokens">How many tokens were predicted.</param>
/// <param name="EvaluationContext">Tokens of a window.</param>
/// <param name="EvaluatedOn">The text.</param>
/// <param name="LayerErrors">
/// For each decoder layer, ||Y_q - Y|| / ||Y|| of the residual stream after it (Frobenius norms over all tokens). The stream carries the errors of
/// the layers before: where it rises most, most is lost.
/// </param>
public sealed record QualityFigures(
    double FloatPerplexity,
    double Perplexity,
    double KlDivergence,
    double Top1Agreement,
    long EvaluationTokens,
    int EvaluationContext,
    EvaluationText EvaluatedOn,
    IReadOnlyList<double> LayerErrors)
{
    /// <summary>By how much the perplexity rose, as a ratio: 0.02 is 2%.</summary>
    public double PerplexityIncrease => (Perplexity / FloatPerplexity) - 1;
}
