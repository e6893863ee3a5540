namespace QuantBuild.Quantization.Tests;

/// <summary>Widths that a budget chooses, from the request to the artifact.</summary>
public sealed class BudgetTests
{
    [Fact]
    public void Bits_for_each_weight_are_met_and_each_layer_has_a_width_of_its_own()
    {
        using TemporaryFolder folder = new();
        List<string> said = [];
        WorkerRequest request = Request(folder, new QuantizationSpec { Method = QuantizationMethod.Rtn, TargetBitsPerWeight = 3.5m });
        ModelQuantizer.Run(request, message => said.Add(message.Text), CancellationToken.None);
        using Artifact artifact = Artifact.Open(request.ArtifactPath);
        artifact.VerifyChecksums();
        LinearShape[] linears = [.. Enumerable.Range(0, artifact.Config.Layers).SelectMany(artifact.Config.Linears)];
        long bytes = linears.Sum(linear => artifact.File.Tensors.Values.Where(t => t.Name.StartsWith(linear.Name + ".", StringComparison.Ordinal)).Sum(t => t.ByteLength));
        double bitsPerWeight = 8.0 * bytes / linears.Sum(linear => (double)linear.Inputs * linear.Outputs);
        Assert.InRange(bitsPerWeight, 3.45, 3.5);
        Assert.True(artifact.Manifest.Layers.Values.Select(format => ((IntAffineFormat)format).Bits).Distinct().Count() > 1);
        Assert.Equal("3.5", artifact.Manifest.Spec["TargetBitsPerWeight"]);
        Assert.Contains(said, text => text.StartsWith("widths: ", StringComparison.Ordinal) && text.EndsWith(FormattableString.Invariant($"; {bitsPerWeight:F2} bits per weight"), StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(6_200_000, "")]
    [InlineData(4_000_000, "lm_head: GroupSize=64; embed_tokens: Bits=4")]
    public void A_size_is_met_by_the_whole_file_and_nearly_used_up(long size, string overrides)
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = Request(folder, new QuantizationSpec { Method = QuantizationMethod.Rtn, TargetSize = size, Override = overrides });
        ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        // One linear's step from a width to the next, and the reserve for the header.
        Assert.InRange(new FileInfo(request.ArtifactPath).Length, size - 60_000, size);
    }

    [Fact]
    public void What_beside_the_linears_an_artifact_holds_is_foreseen_closely()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder.File("evaluation.txt"), File.ReadAllText(SampleFiles.Evaluation)[..4000]);
        WorkerRequest request = Request(folder, new QuantizationSpec { Method = QuantizationMethod.Rtn }) with { EvaluationFile = folder.File("evaluation.txt") };
        ArtifactManifest manifest = ModelQuantizer.Run(request, _ => { }, CancellationToken.None);
        ModelFolder model = ModelFolder.Open(request.ModelPath);
        using ModelWeights weights = ModelWeights.Open(model);
        QuantizationPlan plan = new(model.Config, request.Spec);
        long besides = new FileInfo(request.ArtifactPath).Length - plan.Quantized.Sum(linear => PackedSize.Of(plan[linear]!, linear));
        ArtifactManifest longest = manifest with { Quality = ArtifactSize.LongestQuality(model.Config), Checksums = new Dictionary<string, string>() };
        Assert.InRange(ArtifactSize.BesideLinears(plan, weights, File.ReadAllBytes(model.TokenizerFile), longest) - besides, 0, 40_000);
    }

    [Fact]
    public void A_run_that_goes_on_keeps_the_widths_and_measures_nothing()
    {
        using TemporaryFolder whole = new(), halved = new();
        QuantizationSpec spec = new() { TargetBitsPerWeight = 3.2m };
        WorkerRequest expected = Request(whole, spec);
        ModelQuantizer.Run(expected, _ => { }, CancellationToken.None);

        WorkerRequest request = Request(halved, spec);
        using CancellationTokenSource ended = new();
        Assert.ThrowsAny<OperationCanceledException>(() => ModelQuantizer.Run(
            request,
            message =>
            {
                if (message.Text.StartsWith("layer 2 of", StringComparison.Ordinal)) ended.Cancel();
            },
            ended.Token));
        string widths = Path.Combine(new ModelCache(halved.Path).WorkFolder(QuantizedSample.Fingerprint), WidthChooser.FileName);
        DateTime written = File.GetLastWriteTimeUtc(widths);

        List<string> said = [];
        ModelQuantizer.Run(
            request,
            message =>
            {
                said.Add(message.Text);
                if (message.Text.StartsWith("layer 3 of", StringComparison.Ordinal)) Assert.Equal(written, File.GetLastWriteTimeUtc(widths));
            },
            CancellationToken.None);
        Assert.DoesNotContain(said, text => text.StartsWith("measuring", StringComparison.Ordinal));
        Assert.Contains(said, text => text.StartsWith("widths: ", StringComparison.Ordinal));
        Assert.Equal(2, said.Count(text => text.EndsWith("(made before)", StringComparison.Ordinal)));
        Assert.True(File.ReadAllBytes(expected.ArtifactPath).AsSpan().SequenceEqual(File.ReadAllBytes(request.ArtifactPath)));
    }

    [Theory]
    [InlineData("TargetBitsPerWeight", "2.1")]
    [InlineData("TargetSize", "5MB")]
    public void A_budget_that_cannot_be_met_is_QB0009_before_any_work(string name, string value)
    {
        using TemporaryFolder folder = new();
        QuantizationSpec spec = QuantizationSpec.FromMetadata(n => n == name ? value : null);
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelQuantizer.Run(Request(folder, spec), _ => { }, CancellationToken.None));
        Assert.Equal(DiagnosticIds.BudgetTooSmall, error.Id);
        Assert.False(Directory.Exists(Path.Combine(folder.Path, "work")));
    }

    [Fact]
    public void A_budget_without_a_text_is_QB3004_by_its_name()
    {
        using TemporaryFolder folder = new();
        WorkerRequest request = Request(folder, new QuantizationSpec { Method = QuantizationMethod.Rtn, TargetSize = 6_200_000 }) with { CalibrationFile = null };
        QuantBuildException error = Assert.Throws<QuantBuildException>(() => ModelQuantizer.Run(request, _ => { }, CancellationToken.None));
        Assert.Equal(DiagnosticIds.CalibrationRequired, error.Id);
        Assert.Contains("TargetSize=\"6.2MB\"", error.Message, StringComparison.Ordinal);
    }

    // Any widths will do, so little is measured on.
    private static WorkerRequest Request(TemporaryFolder folder, QuantizationSpec spec) => QuantizedSample.RequestIn(folder.Path, spec with { CalibrationSamples = 4, CalibrationContext = 128 });
}
