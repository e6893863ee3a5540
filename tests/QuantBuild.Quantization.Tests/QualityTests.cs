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
        using TemporaryFolder folder = new();
        string text = File.ReadAllText(SampleFiles.Evaluation);
        File.WriteAllText(folder.File("evaluation.txt"), text[..(text.Length / 2)]);

        double Lost(QuantizationMethod method)
        {
            QuantizationSpec spec = new() { Method = method, Bits = bits, CalibrationSamples = 32 };
            WorkerRequest request = QuantizedSample.RequestIn(folder.File(method.ToString()), spec) with
            {
                CalibrationFile = SampleFiles.Calibration,
                EvaluationFile = folder.File("evaluation.txt"),
            };
            QualityFigures quality = ModelQuantizer.Run(request, _ => { }, CancellationToken.None).Quality!;
            // What the sample's README says of its start.
            Assert.InRange(quality.FloatPerplexity, 49, 52);
            return (quality.Perplexity / quality.FloatPerplexity) - 1;
        }

        double gptq = Lost(QuantizationMethod.Gptq);
        Assert.InRange(gptq, 0, mostLost);
        Assert.True(gptq < Lost(QuantizationMethod.Rtn));
    }
}
