using System.Diagnostics;
using QuantBuild.Cuda.Emulator;
using QuantBuild.Runtime.Tests;
using Xunit.Abstractions;

namespace QuantBuild.Cuda.Tests.Decoding;

/// <summary>The sample model on the emulated GPU.</summary>
public sealed class SampleTests(ITestOutputHelper output) : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void The_sample_model_continues_a_text_as_on_the_processor()
    {
        const string prompt = "The old house stood at the end of the road, and nobody had lived in it for";
        string path = TestArtifact.WriteSample(folder.File("m"), new TestArtifact.Rounding(4, 128, false, true));
        using TestGpu gpu = new();
        using LanguageModel expected = LanguageModel.Load(path, new LoadOptions { Device = "cpu" });
        using LanguageModel actual = LanguageModel.Load(path, new LoadOptions { Device = "cuda:0", Backend = gpu.Backend });
        GenerationOptions greedy = new() { MaxTokens = 64, Temperature = 0 };
        string right = expected.Generate(prompt, greedy);
        long start = Stopwatch.GetTimestamp();
        Assert.Equal(right, actual.Generate(prompt, greedy));
        output.WriteLine($"{Stopwatch.GetElapsedTime(start).TotalSeconds:f1} s, {gpu.Machine.LaneInstructions / 1e6:f0} million lane instructions, {gpu.Machine.GraphLaunches} graphs");
        // All single tokens but the first of each length are steps that were captured.
        Assert.InRange(gpu.Machine.GraphLaunches, 55, 64);
        Assert.Empty(gpu.Violations);

        int[] tokens = [.. expected.Tokenizer.Encode(right).Take(40)];
        float[] first = expected.Logits(tokens), second = actual.Logits(tokens);
        float largest = first.Max(Math.Abs);
        Assert.InRange(first.Zip(second, (a, b) => Math.Abs(a - b)).Max() / largest, 0, 2e-2);
    }
}
