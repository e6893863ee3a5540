using System.Runtime.InteropServices;
using QuantBuild.Quantization.Tests.Families;
using TorchSharp;

namespace QuantBuild.Quantization.Tests;

/// <summary>Passes back through a layer: their errors, what they keep, and what they do where memory runs out.</summary>
public sealed class BackwardTests
{
    public BackwardTests() => NativeLibraries.Load();

    [Fact]
    public void Gradients_are_those_of_leaves_and_of_what_was_made_on_the_way()
    {
        using torch.Tensor x = torch.tensor(new[] { 1f, 2f, 3f }).requires_grad_(), y = x * x, z = y * y;
        torch.Tensor[] found = Backward.Gradients(z, [x, y], torch.tensor(new[] { 1f, 10f, 100f }));
        Assert.Equal([4f, 320f, 10800f], found[0].data<float>().ToArray());
        Assert.Equal([2f, 80f, 1800f], found[1].data<float>().ToArray());
    }

    [Fact]
    public void An_error_on_the_way_back_is_an_exception_and_not_the_end_of_the_process()
    {
        using torch.Tensor x = torch.ones(3).requires_grad_(), y = x.exp(), z = y * y;
        using (torch.no_grad()) y.zero_();
        Assert.Contains("modified by an inplace operation", Assert.ThrowsAny<ExternalException>(() => Backward.Gradients(z, [x], torch.ones(3))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Qwen3Moe")]
    [InlineData("Llama2")]
    public void What_a_measurement_keeps_on_disk_is_what_was_reckoned_and_smaller_pieces_say_the_same(string family)
    {
        using IDisposable noGradient = torch.no_grad();
        using FamilyModel model = FamilyModel.Of(family);
        using ModelWeights weights = ModelWeights.Open(model.Folder);
        QuantizationPlan plan = new(model.Folder.Config, new QuantizationSpec { TargetBitsPerWeight = 4, GroupSize = 16 });
        TokenWindows windows = new(model.Tokens, 9);
        using TemporaryFolder folder = new();
        using ActivationStore onDisk = new(folder.Path, 0);
        IReadOnlyDictionary<string, double[]> whole = new Sensitivity(plan, weights, OnCpu.One, onDisk, CancellationToken.None).Measure(windows);
        Assert.Equal(Sensitivity.ActivationBytes(model.Folder.Config, windows), onDisk.PeakFileBytes);
        Assert.Empty(Directory.GetFiles(folder.Path));

        DeviceMemory little = new(_ => { });
        little.InPieces(windows.Count, windows.Length, (_, count) => count > 2 ? throw OnCpu.OutOfMemory : count);
        IReadOnlyDictionary<string, double[]> inPieces = new Sensitivity(plan, weights, new Devices(torch.CPU, little), ActivationStore.InMemory, CancellationToken.None).Measure(windows);
        Assert.Equal(whole.Keys, inPieces.Keys);
        Assert.All(whole, linear => Assert.All(linear.Value.Zip(inPieces[linear.Key]), pair => Assert.InRange(pair.Second / pair.First, 0.999, 1.001)));
    }
}
