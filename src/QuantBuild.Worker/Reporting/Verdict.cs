namespace QuantBuild.Worker.Reporting;

/// <summary>What to think of an artifact, in one line.</summary>
internal static class Verdict
{
    // By how much perplexity may rise: what users of 8-bit, 4-bit and 3-bit models are used to.
    private const double Lossless = 0.005;
    private const double Small = 0.03;
    private const double Noticeable = 0.1;

    /// <summary>The line, and whether it is bad news.</summary>
    /// <param name="quality">What was measured.</param>
    /// <param name="artifactBytes">Bytes of the artifact.</param>
    /// <param name="originalBytes">Bytes of the model's tensors.</param>
    public static (string Text, bool IsBad) Of(QualityFigures? quality, long artifactBytes, long originalBytes)
    {
        string size = $"{Number.Bytes(originalBytes)} of weights became a file of {Number.Bytes(artifactBytes)}.";
        if (quality is null) return ($"Nobody knows what this cost: quality was not measured. {size}", true);
        double increase = quality.PerplexityIncrease;
        string loss = increase switch
        {
            <= Lossless => "Practically lossless",
            <= Small => "A small loss",
            <= Noticeable => "A noticeable loss",
            _ => "A heavy loss",
        };
        return ($"{loss}: perplexity {(increase < 0 ? "fell" : "rose")} by {Number.Percent(Math.Abs(increase), 2)}. {size}", !(increase <= Noticeable));
    }
}
