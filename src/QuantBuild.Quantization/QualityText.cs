using System.Globalization;

namespace QuantBuild.Quantization;

/// <summary>Quality figures in words.</summary>
public static class QualityText
{
    /// <summary>What quantization cost, in one line.</summary>
    public static string Of(QualityFigures quality)
    {
        ArgumentNullException.ThrowIfNull(quality);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"perplexity {quality.FloatPerplexity:F2} -> {quality.Perplexity:F2} ({quality.PerplexityIncrease:+0.00%;-0.00%}), " +
            $"KL divergence {quality.KlDivergence:F4} nats, top-1 agreement {100 * quality.Top1Agreement:F1}%");
    }

    /// <summary>Where quantization cost it, in one line.</summary>
    internal static string LayersOf(QualityFigures quality)
    {
        IReadOnlyList<double> errors = quality.LayerErrors;
        double Rise(int layer) => errors[layer] - (layer == 0 ? 0 : errors[layer - 1]);
        int worst = Enumerable.Range(0, errors.Count).MaxBy(Rise);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"error of the residual stream: {100 * errors[^1]:F2}% after all {errors.Count} layers; it rises most in layer {worst + 1}, by {100 * Rise(worst):F2} points");
    }
}
