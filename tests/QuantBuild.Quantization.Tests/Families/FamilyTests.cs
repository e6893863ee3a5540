using System.Globalization;

namespace QuantBuild.Quantization.Tests.Families;

/// <summary>Both forward passes against an independent one in float64, for a small model of each family.</summary>
public sealed class FamilyTests
{
    // Of the largest logit. Torch computes in float32; measured: up to 3e-6.
    private const double TorchTolerance = 2e-5;

    // The runtime keeps keys and values in half precision; measured: up to 2e-3.
    private const double RuntimeTolerance = 4e-3;

    public FamilyTests() => NativeLibraries.Load();

    public static TheoryData<string> Names { get; } = [.. FamilyReference.All.Select(family => family.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void The_logits_of_torch_are_those_of_the_reference(string name)
    {
        using FamilyModel model = FamilyModel.Of(name);
        AssertNear(name, model.Expected, QuantizedSample.TorchLogits(model.Tokens, null, model.Folder.Path), TorchTolerance);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void The_logits_of_the_runtime_are_those_of_the_reference_and_do_not_depend_on_what_is_computed_at_once(string name)
    {
        using FamilyModel model = FamilyModel.Of(name);
        using LanguageModel runtime = LanguageModel.Load(model.FloatArtifact(), new LoadOptions { FloatActivations = true });
        float[] logits = runtime.Logits(model.Tokens);
        AssertNear(name, model.Expected, logits, RuntimeTolerance);
        int vocabulary = runtime.Config.VocabularySize;
        foreach (int length in new[] { 1, 6, 33 })
        {
            Assert.Equal(logits[..(length * vocabulary)], runtime.Logits(model.Tokens.AsSpan(0, length)));
        }
    }

    private static void AssertNear(string name, double[] expected, float[] actual, double tolerance)
    {
        Assert.Equal(expected.Length, actual.Length);
        double largest = expected.Max(Math.Abs), difference = expected.Zip(actual, (e, a) => Math.Abs(e - a)).Max() / largest;
        if (Environment.GetEnvironmentVariable("QB_SHOW") is { } file) File.AppendAllText(file, string.Create(CultureInfo.InvariantCulture, $"{name} {difference:E2} of {largest:F2}\n"));
        Assert.InRange(difference, 0, tolerance);
    }
}
