namespace QuantBuild.Quantization.Tests;

/// <summary>When the quantizer warns, and when it does not.</summary>
public sealed class CalibrationChecksTests
{
    private static readonly DecoderConfig Config = ModelFolder.Open(SampleFiles.Model).Config;

    [Theory]
    [InlineData(2, true)]
    [InlineData(3, true)]
    [InlineData(4, false)]
    [InlineData(8, false)]
    public void Two_and_three_bits_are_warned_of_where_rounding_is_not_learned(int bits, bool expected)
    {
        Assert.Equal(expected, CalibrationChecks.LowBits(new QuantizationSpec { Bits = bits })?.Id == DiagnosticIds.BitsLow);
        Assert.Null(CalibrationChecks.LowBits(new QuantizationSpec { Method = QuantizationMethod.AutoRound, Bits = bits }));
    }

    [Fact]
    public void What_helps_at_low_bits_is_what_is_not_done_yet()
    {
        string coarse = CalibrationChecks.LowBits(new QuantizationSpec { Method = QuantizationMethod.Rtn, Bits = 2, GroupSize = -1 })!.Text;
        Assert.Contains("Bits=\"2\" and GroupSize=\"PerChannel\"", coarse, StringComparison.Ordinal);
        Assert.Contains("Method=\"AutoRound\" with CalibrationData, or Bits=\"4\", or GroupSize=\"32\" helps", coarse, StringComparison.Ordinal);
        string fine = CalibrationChecks.LowBits(new QuantizationSpec { Bits = 3, GroupSize = 32 })!.Text;
        Assert.Contains("learned. Method=\"AutoRound\", or Bits=\"4\" helps", fine, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(31, 128, true)]
    [InlineData(32, 128, false)]
    [InlineData(4, 4, false)]
    [InlineData(3, 4, true)]
    public void A_text_of_fewer_windows_than_wanted_is_short_unless_so_few_were_asked_for(int windows, int samples, bool expected)
    {
        BuildWarning? warning = CalibrationChecks.Short(new QuantizationSpec { CalibrationSamples = samples }, Windows(windows * 64, 64), (windows * 64) + 5);
        Assert.Equal(expected, warning?.Id == DiagnosticIds.CalibrationShort);
        if (windows == 31) Assert.Contains("1,989 tokens give 31 windows of 64, and 32 windows (2,048 tokens) are wanted", warning!.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void The_share_of_repeated_runs_is_counted_token_by_token()
    {
        Assert.Equal(0, CalibrationChecks.RepeatedShare([1, 2, 3]));
        Assert.Equal(0, CalibrationChecks.RepeatedShare([.. Enumerable.Range(0, 1000)]));
        // 20 tokens over and over: of 993 runs, 20 are new.
        Assert.Equal(973.0 / 993, CalibrationChecks.RepeatedShare([.. Enumerable.Range(0, 1000).Select(i => i % 20)]), 1e-12);
        // 16 tokens and again the same: 25 runs, of which the last 9 stood before.
        Assert.Equal(9.0 / 25, CalibrationChecks.RepeatedShare([.. Enumerable.Range(0, 32).Select(i => i % 16)]), 1e-12);
    }

    [Fact]
    public void A_text_of_one_sentence_is_repetitive_and_the_sample_text_is_not()
    {
        TextTokenizer tokenizer = TextTokenizer.Load(File.ReadAllBytes(Path.Combine(SampleFiles.Model, "tokenizer.json")), "tokenizer.json");
        TokenWindows sentence = new(tokenizer.Encode(string.Concat(Enumerable.Repeat("It was a dark and stormy night. ", 500))), 512);
        BuildWarning warning = CalibrationChecks.Repetitive(sentence)!;
        Assert.Equal(DiagnosticIds.CalibrationRepetitive, warning.Id);
        Assert.Contains("at most 25%", warning.Text, StringComparison.Ordinal);
        Assert.Null(CalibrationChecks.Repetitive(new TokenWindows(tokenizer.Encode(File.ReadAllText(SampleFiles.Calibration)), 512)));
    }

    [Theory]
    [InlineData(10, 19, false)]
    [InlineData(19, 10, false)]
    [InlineData(10, 21, true)]
    [InlineData(21, 10, true)]
    public void Texts_are_far_apart_where_one_is_more_than_twice_as_hard_as_the_other(double calibration, double evaluation, bool expected) =>
        Assert.Equal(expected, CalibrationChecks.Far(calibration, evaluation)?.Id == DiagnosticIds.CalibrationFarFromEvaluation);

    [Fact]
    public void The_sample_of_a_text_is_spread_over_it()
    {
        TokenWindows sample = CalibrationChecks.Sample(Windows(100 * 128, 128))!;
        Assert.Equal(8, sample.Count);
        Assert.Equal([0, 12, 25, 37, 50, 62, 75, 87], sample.Tokens.ToArray().Where((_, i) => i % 128 == 0).Select(token => token / 128));
        Assert.Null(CalibrationChecks.Sample(Windows(64 * 7, 64)));
        Assert.Null(CalibrationChecks.Sample(null));
    }

    [Theory]
    [InlineData(9, 512, 0)] // no whole window in a tenth
    [InlineData(10, 512, 1)]
    [InlineData(39, 512, 3)]
    [InlineData(70, 64, 0)] // 448 tokens say too little
    [InlineData(80, 64, 1)]
    [InlineData(1000, 512, 64)] // not more than that
    public void The_last_tenth_of_the_windows_is_held_out_where_it_is_enough(int windows, int length, int evaluationWindows)
    {
        int[] tokens = [.. Enumerable.Range(0, (windows * length) + 3)];
        (IReadOnlyList<int> kept, TokenWindows? heldOut) = Texts.HoldOut(tokens, length, new QuantizationSpec(), Config);
        Assert.Equal(evaluationWindows, heldOut?.Count ?? 0);
        if (heldOut is null)
        {
            Assert.Equal(tokens, kept);
            return;
        }

        // What is held out follows what is kept, and nothing is in both.
        Assert.Equal(512, heldOut.Length);
        Assert.Equal(kept.Count, heldOut.Tokens[0]);
        Assert.Equal(Math.Min(windows / 10, 64) * length, (windows * length) - kept.Count);
    }

    [Fact]
    public void A_method_without_calibration_is_measured_on_the_same_tenth_as_one_with_it()
    {
        TextTokenizer tokenizer = TextTokenizer.Load(File.ReadAllBytes(Path.Combine(SampleFiles.Model, "tokenizer.json")), "tokenizer.json");
        WorkerRequest request = QuantizedSample.RequestIn("cache", new QuantizationSpec()) with { CalibrationFile = SampleFiles.Calibration };
        Texts gptq = Texts.Read(request, Config, tokenizer), rtn = Texts.Read(request with { Spec = new() { Method = QuantizationMethod.Rtn } }, Config, tokenizer);
        Assert.Equal(EvaluationText.HeldOut, gptq.EvaluatedOn);
        Assert.Equal(gptq.Evaluation!.Tokens, rtn.Evaluation!.Tokens);
        Assert.Null(rtn.Calibration);
        Texts declared = Texts.Read(request with { EvaluationFile = SampleFiles.Evaluation }, Config, tokenizer);
        Assert.Equal(EvaluationText.EvaluationData, declared.EvaluatedOn);
        Assert.True(declared.Calibration!.Count >= gptq.Calibration!.Count);
        Assert.Empty(CalibrationChecks.Before(new QuantizationSpec(), gptq));
    }

    [Fact]
    public void Nothing_to_measure_on_is_warned_of_with_the_reason()
    {
        QuantizationSpec spec = new() { Method = QuantizationMethod.Rtn };
        BuildWarning none = Assert.Single(CalibrationChecks.Before(spec, new Texts(null, 0, null, EvaluationText.HeldOut)));
        Assert.Equal(DiagnosticIds.EvaluationAbsent, none.Id);
        Assert.Contains("neither EvaluationData nor CalibrationData", none.Text, StringComparison.Ordinal);
        BuildWarning little = Assert.Single(CalibrationChecks.Before(spec, new Texts(null, 1234, null, EvaluationText.HeldOut)));
        Assert.Contains("1,234 tokens, is too short", little.Text, StringComparison.Ordinal);
    }

    private static TokenWindows Windows(int tokens, int length) => new([.. Enumerable.Range(0, tokens)], length);
}
