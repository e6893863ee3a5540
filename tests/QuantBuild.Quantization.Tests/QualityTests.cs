namespace QuantBuild.Quantization.Tests;

/// <summary>
/// What quantization costs the sample model, on a part of both texts that is large enough to tell the methods apart; docs/quality.md has the whole. By KL divergence, which spreads far
/// less from one text to another than perplexity does.
/// </summary>
public sealed class QualityTests
{
    [Theory]
    [InlineData(4, 0.004)]
    [InlineData(3, 0.016)]
    public void Gptq_stays_near_the_float_model_and_beats_rounding(int bits, double most)
    {
        double gptq = KlDivergence(QuantizationMethod.Gptq, bits);
        Assert.InRange(gptq, 0, most);
        Assert.InRange(gptq, 0, 0.75 * KlDivergence(QuantizationMethod.Rtn, bits));
    }

    [Fact]
    public void At_2_bits_Gptq_beats_rounding_and_learned_rounding_beats_Gptq_after_a_third_of_its_steps()
    {
        double gptq = KlDivergence(QuantizationMethod.Gptq, bits: 2);
        Assert.InRange(gptq, 0, 0.09);
        Assert.InRange(gptq, 0, 0.75 * KlDivergence(QuantizationMethod.Rtn, bits: 2));
        Assert.InRange(KlDivergence(QuantizationMethod.AutoRound, bits: 2), 0, 0.9 * gptq);
    }

    private static double KlDivergence(QuantizationMethod method, int bits)
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder.File("evaluation.txt"), File.ReadAllText(SampleFiles.Evaluation)[..10_000]);
        // Short windows: a step of learned rounding takes so many, whatever their length.
        QuantizationSpec spec = new() { Method = method, Bits = bits, CalibrationSamples = 64, CalibrationContext = 128, EvaluationContext = 128, Iterations = 66 };
        WorkerRequest request = QuantizedSample.RequestIn(folder.File("cache"), spec) with
        {
            CalibrationFile = SampleFiles.Calibration,
            EvaluationFile = folder.File("evaluation.txt"),
        };
        QualityFigures quality = ModelQuantizer.Run(request, _ => { }, CancellationToken.None).Quality!;
        // What the model's README says of a longer text and longer windows is 50.6.
        Assert.InRange(quality.FloatPerplexity, 57, 60);
        return quality.KlDivergence;
    }
}
