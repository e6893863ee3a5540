namespace QuantBuild.Worker.Tests;

/// <summary>Warnings and gates as a build hears them from the real worker.</summary>
public sealed class WarningTests
{
    private static readonly QuantizationSpec LowBits = SampleBuild.Quick with { CalibrationSamples = 64 };

    [Fact]
    public void Every_mistake_in_the_texts_is_warned_of_once_and_kept_in_the_record()
    {
        using SampleBuild build = new(LowBits);
        // Some windows of one sentence over and over, nothing like prose.
        string text = build.Write("sentence.txt", string.Concat(Enumerable.Repeat("xq7 ZZ%% --- }}{{ 0x1F, ", 60)));
        using SampleBuild repetitive = new(LowBits) { Request = build.Request with { CalibrationFile = text } };
        string[] expected =
        [
            DiagnosticIds.BitsLow, DiagnosticIds.CalibrationShort, DiagnosticIds.CalibrationRepetitive, DiagnosticIds.CalibrationFarFromEvaluation,
        ];
        Assert.Equal(expected, Warnings(repetitive.Run()));
        Assert.Equal(expected, BuildFindings.Read(build.Request.BuildRecordPath).Warnings.Select(warning => warning.Id));
    }

    [Fact]
    public void A_build_with_nothing_to_measure_on_is_warned_of_once()
    {
        using SampleBuild build = new(new QuantizationSpec { Method = QuantizationMethod.Rtn });
        using SampleBuild blind = new(build.Request.Spec) { Request = build.Request with { CalibrationFile = null, EvaluationFile = null } };
        Assert.Equal([DiagnosticIds.EvaluationAbsent], Warnings(blind.Run()));
    }

    [Fact]
    public void Sound_texts_and_widths_are_not_warned_of()
    {
        using SampleBuild build = new(SampleBuild.Quick with { Bits = 4 });
        Assert.Empty(Warnings(build.Run()));
    }

    [Theory]
    [InlineData("0.001%", null, "MaxPerplexityIncrease allows 0.001%")]
    [InlineData(null, "0.0001", "MaxKlDivergence allows 0.0001")]
    public void A_gate_that_is_exceeded_is_one_error_and_keeps_the_artifact_that_was_there(string? increase, string? divergence, string says)
    {
        using SampleBuild build = new(SampleBuild.Quick with { Bits = 2 });
        Directory.CreateDirectory(Path.GetDirectoryName(build.Request.ArtifactPath)!);
        File.WriteAllText(build.Request.ArtifactPath, "the last good one");
        using SampleBuild gated = new(build.Request.Spec)
        {
            Request = build.Request with
            {
                Gates = QualityGates.FromMetadata(name => name == nameof(QualityGates.MaxPerplexityIncrease) ? increase : divergence),
            },
        };
        using WorkerProcess worker = gated.Start();
        WorkerMessage error = Assert.Single(worker.ReadToEnd().Select(line => WorkerMessage.TryParse(line)!), message => message.Kind == WorkerMessageKind.Error);
        Assert.Equal(1, worker.Wait());
        Assert.Equal(DiagnosticIds.QualityGateExceeded, error.Code);
        Assert.Contains(says, error.Text, StringComparison.Ordinal);
        Assert.Equal("the last good one", File.ReadAllText(build.Request.ArtifactPath));
        Assert.Empty(build.HalfWritten);
    }

    private static IEnumerable<string?> Warnings(IEnumerable<WorkerMessage> messages) =>
        messages.Where(message => message.Kind == WorkerMessageKind.Warning).Select(message => message.Code);
}
