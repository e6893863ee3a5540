namespace QuantBuild.Quantization.Tests;

/// <summary>
/// What quantization costs the sample model, on half of the evaluation text and with a quarter of the calibration text, so that it is quick; docs/quality.md
/// has the whole.
/// </summary>
public sealed class QualityTests
{
    [Theory]
    [InlineData(4, 0.005)]
    [InlineData(3, 0.02)]
    [InlineData(2, 0.12)]
    public void Gptq_stays_near_the_float_model_and_beats_rounding(int bits, double mostLost)
    {
        double Lost(QuantizationMethod method)
        {
            QualityFigures quality = QualityOf(new() { Method = method, Bits = bits, CalibrationSamples = 32 });
            // What the sample's README says of its start.
            Assert.InRange(quality.FloatPerplexity, 49, 52);
            return (quality.Perplexity / quality.FloatPerplexity) - 1;
        }

        double gptq = Lost(QuantizationMethod.Gptq);
        Assert.InRange(gptq, 0, mostLost);
        Assert.True(gptq < Lost(QuantizationMethod.Rtn));
    }

    [Fact]
    public void Learned_rounding_beats_Gptq_at_2_bits_after_a_third_of_its_steps()
    {
        QuantizationSpec spec = new() { Bits = 2, CalibrationSamples = 32, Iterations = 66 };
        double gptq = QualityOf(spec).KlDivergence, learned = QualityOf(spec with { Method = QuantizationMethod.AutoRound }).KlDivergence;
        Assert.InRange(learned, 0, 0.9 * gptq);
    }

    private static QualityFigures QualityOf(QuantizationSpec spec)
    {
        using TemporaryFolder folder = new();
        string text = File.ReadAllText(SampleFiles.Evaluation);
        File.WriteAllText(folder.File("evaluation.txt"), text[..(text.Length / 2)]);
        WorkerRequest request = QuantizedSample.RequestIn(folder.File("cache"), spec) with
        {
            CalibrationFile = SampleFiles.Calibration,
            EvaluationFile = folder.File("evaluation.txt"),
        };
        return ModelQuantizer.Run(request, _ => { }, CancellationToken.None).Quality!;
    }
}
